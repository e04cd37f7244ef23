// SPDX-License-Identifier: MIT
// Links that are up move to another path: make before break, so what is sent meanwhile arrives.

import test from 'ava';
import {seeds, story} from './story.ts';
import {type SimNode, World} from './world.ts';

/** Nodes that are all linked, and rested long enough to move. */
function linked(seed: number, count: number, prepare: (world: World) => unknown = () => undefined): World {
  const world = new World(seed, count);
  prepare(world);
  for (const node of world.nodes) world.connect(node);
  world.run(15_000);
  if (world.pairsDown().length > 0) throw new Error(`not all are linked: ${story(world)}`);
  return world;
}

/** Lets time pass, and tells of each instant at which frames would have been lost. */
function lossesWhile(world: World, ms: number): string[] {
  const lost: string[] = [];
  world.onStep = () => {
    const ways = world.waysLost();
    if (ways.length > 0) lost.push(`${world.now}: ${ways}`);
    world.checkPorts();
  };
  world.run(ms);
  world.onStep = undefined;
  return lost;
}

const carried = (world: World) => world.nodes.map((node) => [...node.carrying].sort());
const pairs = (world: World) =>
  world.nodes.flatMap((a) => world.nodes.filter((b) => a.id < b.id).map((b) => [a, b] as const));

for (const seed of seeds(10)) {
  test(`links that move, all at once and from both sides, lose nothing (seed ${seed})`, (t) => {
    const world = linked(seed, 4);
    world.weather = {latency: [10, 600], loss: 0.1, twice: 0.1};
    const before = carried(world);
    // Native may tell one side or both, at once or a little apart.
    for (const node of world.nodes) {
      if (world.random() < 0.7) world.later(world.random() * 3_000, () => world.tellMoved(node, 'peer-moved'));
    }
    world.later(0, () => world.tellMoved(world.nodes[0] as SimNode, 'peer-moved'));
    t.deepEqual(lossesWhile(world, 40_000), [], story(world));
    t.deepEqual(world.pairsDown(), []);
    const after = carried(world);
    t.true(after.every((ports, i) => ports.length === 3 && ports.some((port) => !before[i]?.includes(port))));
    t.true(
      world.nodes.every((node) => node.taking.size === 0 && node.ports.size === 3),
      'no link is left over',
    );
  });

  test(`offers to move that cross end in one new link for each pair, without loss (seed ${seed})`, (t) => {
    const world = linked(seed, 3);
    // The larger id begins 2 s later, when the smaller's offer is still on its way.
    world.weather = {latency: [1_900, 2_300], ordered: true, loss: 0, twice: 0};
    const opened = world.nodes.map((node) => node.opened);
    world.sent.length = 0;
    for (const node of world.nodes) world.tellMoved(node, 'peer-moved');
    t.deepEqual(lossesWhile(world, 30_000), [], story(world));
    const offers = world.sent.filter(({signal}) => signal.type === 'offer');
    t.true(pairs(world).some(([a, b]) => [a, b].every((one) => offers.some(({from}) => from === one.jid))));
    t.deepEqual(world.pairsDown(), []);
    // Each end opens one; the larger id of a pair perhaps a second, which it drops.
    t.true(
      world.nodes.every((node, i) => node.opened - (opened[i] ?? 0) <= 4),
      story(world),
    );
    t.true(world.nodes.every((node) => node.ports.size === 2));
  });

  test(`a node with traffic whose address changes is linked again within 12 s by links that last (seed ${seed})`, (t) => {
    const world = linked(seed, 4, (made) => (made.isBusy = true));
    const [mover] = world.nodes as [SimNode];
    const seen = world.random() < 0.5;
    world.readdress(mover, seen);
    world.run(seen ? 9_000 : 12_000);
    t.deepEqual([world.pairsDown(), world.waysLost()], [[], []], story(world));
    const ports = carried(world);
    t.deepEqual(lossesWhile(world, 60_000), [], story(world));
    t.deepEqual(carried(world), ports);
    t.is(mover.ports.size, 3);
  });

  test(`links by a relay become direct within 40 s once they can, without loss (seed ${seed})`, (t) => {
    const world = linked(seed, 3, (made) => {
      for (const [a, b] of pairs(made)) made.setBlocked(a, b, true);
    });
    t.true(pairs(world).every(([a, b]) => world.pathOf(a, b) === 'relay'));
    for (const [a, b] of pairs(world)) world.setBlocked(a, b, false);
    t.deepEqual(lossesWhile(world, 40_000), [], story(world));
    t.true(pairs(world).every(([a, b]) => world.pathOf(a, b) === 'direct' && world.pathOf(b, a) === 'direct'));
    t.deepEqual(world.pairsDown(), []);
    t.true(world.nodes.every((node) => node.ports.size === 2));
  });
}

test('a link that can only go by a relay stays as it is, and is tried less and less often', (t) => {
  const world = linked(1, 2, (made) => made.setBlocked(made.nodes[0] as SimNode, made.nodes[1] as SimNode, true));
  const before = carried(world);
  const tries: number[] = [];
  for (let minute = 0; minute < 60; minute++) {
    const sent = world.sent.length;
    t.deepEqual(lossesWhile(world, 60_000), []);
    tries.push(world.sent.slice(sent).filter(({signal}) => signal.type === 'offer').length);
  }
  t.deepEqual(carried(world), before);
  const count = (list: number[]) => list.reduce((sum, n) => sum + n, 0);
  t.log(tries.join(' '));
  t.true(count(tries.slice(0, 20)) >= 5 && count(tries.slice(0, 20)) <= 7, tries.join(' '));
  t.true(count(tries.slice(30)) >= 2 && count(tries.slice(30)) <= 4, tries.join(' '));
});

test('a move that cannot succeed leaves the link as it is, and ends after a minute', (t) => {
  const world = linked(1, 2);
  const before = carried(world);
  const [a] = world.nodes as [SimNode];
  world.weather = {...world.weather, loss: 1};
  world.tellMoved(a, 'peer-moved');
  t.deepEqual(lossesWhile(world, 120_000), []);
  t.deepEqual(carried(world), before);
  const offers = world.sent.filter(({signal}) => signal.type === 'offer').length;
  world.run(600_000);
  t.is(world.sent.filter(({signal}) => signal.type === 'offer').length, offers);
  t.is(a.ports.size, 1);
});

test('moves end well when signals are lost, doubled and late, paths cut, and nodes restarted', (t) => {
  for (const seed of seeds(10)) {
    const world = linked(seed, 4);
    world.weather = {latency: [10, 900], loss: 0.25, twice: 0.2};
    for (let step = 0; step < 20; step++) {
      const pick = () => world.nodes[Math.floor(world.random() * world.nodes.length)] as SimNode;
      const [one, other, what] = [pick(), pick(), world.random()];
      if (what < 0.4) world.tellMoved(one, world.random() < 0.5 ? 'peer-moved' : 'silent');
      else if (what < 0.6 && one.alive && one.online) world.readdress(one, world.random() < 0.5);
      else if (what < 0.75 && one !== other) world.setCut(one, other, !world.isCut(one, other));
      else if (what < 0.9 && one !== other) world.setBlocked(one, other, world.random() < 0.5);
      else if (one.alive) world.kill(one);
      else world.restart(one);
      world.run(world.random() * 6_000);
      world.checkPorts();
    }
    world.weather = {latency: [20, 200], loss: 0, twice: 0.1};
    for (const [a, b] of pairs(world)) world.setCut(a, b, false);
    for (const node of world.nodes) {
      world.restart(node);
      world.connect(node);
    }
    world.run(45_000);
    t.deepEqual([world.pairsDown(), world.waysLost()], [[], []], `seed ${seed}: ${story(world)}`);
    world.checkPorts();
    for (const node of world.nodes) world.input(node, (manager) => manager.stop(world.now));
    t.true(world.nodes.every((node) => node.ports.size + node.carrying.size + node.taking.size === 0));
  }
});
