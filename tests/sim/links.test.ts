// SPDX-License-Identifier: MIT
import test from 'ava';
import {World} from './world.ts';

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

function story(world: World): string {
  return world.log.filter((line) => Number(line.split(' ')[0]) > world.now - 12_000).join('\n');
}

/** SEED=n runs that one alone. */
function seeds(count: number): number[] {
  const one = process.env['SEED'];
  return one ? [Number(one)] : Array.from({length: count}, (_, i) => i + 1);
}
