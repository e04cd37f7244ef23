// SPDX-License-Identifier: MIT
import test from 'ava';
import {seeds, story} from './story.ts';
import {type SimNode, World} from './world.ts';

test('two nodes that come online are linked within a second', (t) => {
  const world = new World(1, 2);
  for (const node of world.nodes) world.connect(node);
  world.run(1_000);
  t.deepEqual(world.pairsDown(), []);
  world.checkPorts();
});

for (const seed of seeds(25)) {
  test(`after cuts, kills and restarts all pairs are up within 10 s of healing (seed ${seed})`, (t) => {
    const world = new World(seed, 4);
    for (const node of world.nodes) world.connect(node);
    for (let walk = 0; walk < 4; walk++) {
      world.weather = {latency: [10, 800], loss: 0.2, twice: 0.2};
      for (let step = 0; step < 12; step++) {
        fault(world);
        world.run(world.random() * 8_000);
        world.checkPorts();
      }
      heal(world);
      world.run(10_000);
      t.deepEqual(world.pairsDown(), [], `${walk}: ${story(world)}`);
      world.checkPorts();
    }
    for (const node of world.nodes) world.input(node, (manager) => manager.stop(world.now));
    t.true(world.nodes.every((node) => node.ports.size === 0 && node.carrying.size === 0));
  });
}

/** One random fault, or its repair. */
function fault(world: World): void {
  const pick = () => world.nodes[Math.floor(world.random() * world.nodes.length)]!;
  const [a, b, what] = [pick(), pick(), world.random()];
  if (what < 0.5 && a !== b) world.setCut(a, b, !world.isCut(a, b));
  else if (what < 0.65) world.kill(a);
  else if (what < 0.85) world.restart(a);
  else if (a.online) world.disconnect(a, world.random() < 0.5);
  else world.connect(a);
}

function heal(world: World): void {
  world.weather = {latency: [20, 200], loss: 0, twice: 0.1};
  for (const [i, a] of world.nodes.entries()) for (const b of world.nodes.slice(i + 1)) world.setCut(a, b, false);
  for (const node of world.nodes) {
    world.restart(node);
    world.connect(node);
  }
}

for (const seed of seeds(5)) {
  test(`a node of another version is told from all, tried once a minute, linked after its update, and harms no other link (seed ${seed})`, (t) => {
    const world = new World(seed, 5);
    const stranger = world.nodes[seed % 5]!;
    stranger.version = 2;
    for (const node of world.nodes) world.connect(node);
    world.run(5_000);
    const others = world.nodes.filter((node) => node !== stranger);
    t.is(world.pairsDown().length, others.length);
    t.true(world.pairsDown().every((pair) => pair.split('-').includes(stranger.name)));
    const both = (node: SimNode) => [[node, stranger] as const, [stranger, node] as const];
    for (const [a, b] of others.flatMap(both)) t.is(world.error(a, b), 'unsupported-version');
    const ups = () => world.log.filter((line) => line.includes('-> up:')).length;
    const tries = () => others.flatMap(both).reduce((sum, [a, b]) => sum + offers(world, a, b), 0);
    const before = [ups(), tries()] as const;
    world.run(600_000);
    t.is(ups(), before[0], 'no link comes or goes');
    const perPair = (tries() - before[1]) / others.length;
    t.true(perPair >= 5 && perPair <= 22, `${perPair} offers for each pair in 10 minutes`);
    world.kill(stranger);
    stranger.version = 1;
    world.run(35_000);
    world.restart(stranger);
    world.run(5_000);
    t.deepEqual(world.pairsDown(), [], story(world));
    world.checkPorts();
  });
}

test('twelve nodes that start at once form the whole mesh, eight offers at a time', (t) => {
  const world = new World(7, 12);
  for (const node of world.nodes) world.connect(node);
  world.run(5_000);
  t.deepEqual(world.pairsDown(), []);
  world.checkPorts();
});

for (const seed of seeds(10)) {
  test(`offers that cross on a slow server end in one link for each pair (seed ${seed})`, (t) => {
    const world = new World(seed, 4);
    // The smaller id's offer is under way when the larger gives up waiting for it.
    world.weather = {latency: [1_900, 2_300], ordered: true, loss: 0, twice: 0};
    for (const node of world.nodes) world.connect(node);
    world.run(12_000);
    const crossed = world.nodes.flatMap((a) =>
      world.nodes.filter((b) => offers(world, a, b) > 0 && offers(world, b, a) > 0),
    );
    t.true(crossed.length > 0);
    world.run(8_000);
    t.deepEqual(world.pairsDown(), [], story(world));
    world.checkPorts();
    t.is(
      world.nodes.reduce((sum, node) => sum + node.carrying.size, 0),
      12,
    );
  });
}

test('every offer ever sent, sent again, changes nothing', (t) => {
  const world = new World(3, 3);
  for (const node of world.nodes) world.connect(node);
  world.run(2_000);
  const [a, b] = world.nodes as [(typeof world.nodes)[0], (typeof world.nodes)[0]];
  world.setCut(a, b, true);
  world.run(40_000);
  world.setCut(a, b, false);
  world.run(10_000);
  t.deepEqual(world.pairsDown(), []);
  const ports = world.nodes.map((node) => [...node.carrying]);
  const recorded = world.sent.filter(({signal}) => signal.type === 'offer');
  t.true(recorded.length > 3);
  for (const {from, to, signal} of recorded) {
    const node = world.nodes.find((one) => one.jid === to)!;
    world.input(node, (manager) => manager.handleSignal(from, signal, world.now));
  }
  world.run(5_000);
  t.deepEqual(
    world.nodes.map((node) => [...node.carrying]),
    ports,
  );
});

test('links stay up while the XMPP server is dead, and none is made anew when it returns', (t) => {
  const world = new World(4, 4);
  for (const node of world.nodes) world.connect(node);
  world.run(3_000);
  const ports = world.nodes.map((node) => [...node.carrying]);
  for (const node of world.nodes) world.disconnect(node);
  world.run(300_000);
  for (const node of world.nodes) world.connect(node);
  world.run(20_000);
  t.deepEqual(
    world.nodes.map((node) => [...node.carrying]),
    ports,
  );
  t.deepEqual(world.pairsDown(), []);
});

test('a pair that cannot reach each other tries on at its back-off, and no faster', (t) => {
  const world = new World(5, 2);
  const [a, b] = world.nodes as [(typeof world.nodes)[0], (typeof world.nodes)[0]];
  world.setCut(a, b, true);
  for (const node of world.nodes) world.connect(node);
  world.run(600_000);
  // A try takes 10 s and a back-off up to 4 s.
  t.true(a.opened > 40 && a.opened < 66, `${a.opened}`);
  world.checkPorts();
  world.setCut(a, b, false);
  world.run(10_000);
  t.deepEqual(world.pairsDown(), []);
});

function offers(world: World, from: {jid: string}, to: {jid: string}): number {
  return world.sent.filter((one) => one.from === from.jid && one.to === to.jid && one.signal.type === 'offer').length;
}
