// SPDX-License-Identifier: MIT
// SIGTERM at 60 moments of one seed, over start, linking, running and stopping. MOMENTS=n: another number.

import {endWith, labTest, TWO_SITES, worldOf} from '../e2e/kit.ts';
import {stopAtMoments} from '../e2e/stop-moments.ts';
import {groupOf} from '../lab/ipopd.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
const MOMENTS = Number(process.env['MOMENTS'] ?? 60);

labTest(`SIGTERM at ${MOMENTS} moments ends a daemon within 5 s, with nothing left of it`, async (t) => {
  const nodes = endWith(t, groupOf(world(), 'stops@conference.example.org'));
  await stopAtMoments(t, nodes, MOMENTS);
});
