// SPDX-License-Identifier: MIT
// What the simulations' tests share.

import type {World} from './world.ts';

/** What the nodes logged in the last 12 s. */
export function story(world: World): string {
  return world.log.filter((line) => Number(line.split(' ')[0]) > world.now - 12_000).join('\n');
}

/** SEED=n runs that one alone. */
export function seeds(count: number): number[] {
  const one = process.env['SEED'];
  return one ? [Number(one)] : Array.from({length: count}, (_, i) => i + 1);
}
