// SPDX-License-Identifier: MIT
// A test that passes, and one that fails after a ping.
//
//   [ office-h1 ] --- [ office ] masquerade --- [ internet ] --- [ server ] 203.0.113.10

import {Internet} from '../../lab/internet.ts';
import {ping} from '../../lab/tools.ts';
import {labTest, TWO_SITES, worldOf} from '../kit.ts';

const world = worldOf(import.meta.filename, [TWO_SITES[0]!]);

labTest('this passes', async (t) => {
  t.is((await ping(world().site('office').router, Internet.SERVER)).received, 3);
});

labTest('this fails', async (t) => {
  t.is((await ping(world().site('office').hosts[0]!.ns, Internet.SERVER, {count: 5})).received, 0);
});
