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
