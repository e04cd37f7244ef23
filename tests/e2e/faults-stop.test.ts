// SPDX-License-Identifier: MIT
// SIGTERM at any moment: a few here, many in tests/full.

import {groupOf} from '../lab/ipopd.ts';
import {endWith, labTest, TWO_SITES, worldOf} from './kit.ts';
import {stopAtMoments} from './stop-moments.ts';

const world = worldOf(import.meta.filename, TWO_SITES);

labTest('SIGTERM at eight moments of a start ends it cleanly within 5 s', async (t) => {
  const nodes = endWith(t, groupOf(world(), 'stop@conference.example.org'));
  await stopAtMoments(t, nodes, 8);
});
