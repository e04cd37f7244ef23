// SPDX-License-Identifier: MIT
// RTP sequence numbers have 16 bits: a receiver that missed more than 32 768 packets in a row refuses what follows for ever, unless
// the sender takes a new SSRC. Express has no such numbers: these links are by SRTP only,
// and have no relay to move to.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            cut in the internet
//                                       |
//                        server host (Prosody, coturn)

import test, {type ExecutionContext} from 'ava';
import {blast, type BlastResult} from '../lab/tools.ts';
import {labTest, TWO_SITES, worldOf} from './kit.ts';
import {Mesh, pair, passed, sec} from './mesh.ts';

const PPS = 16_000;
const LEAST_PPS = 15_000;
const LEAST_LOST = 40_000;
const BEFORE_MS = 2_000;
const HOLE_MS = 5_000;
const BACK_MS = 2_000;
const AFTER_MS = BACK_MS + 1_000;

const world = worldOf(import.meta.url, TWO_SITES);
let mesh: Mesh;

test.beforeEach(async () => {
  const env = {office: {IPOP_TEST_NO_SSRC_CHANGE: '1'}};
  mesh ??= await Mesh.up(world(), {env, every: {options: {carriage: 'srtp'}, turn: []}});
});
test.after.always(() => mesh?.close());

interface Hole extends BlastResult {
  /** How long the path was cut. */
  readonly cutMs: number;
}

/** Sends datagrams from one site to the other, cuts the path in their midst and heals it again. */
async function blackHole(t: ExecutionContext, from: string, to: string): Promise<Hole> {
  const {watcher} = mesh;
  const {internet} = world();
  const [a, b] = [world().site(from).publicAddress, world().site(to).publicAddress];
  const ends = pair(from, to);
  const since = ends.map((end) => watcher.since(end));
  t.deepEqual(
    ends.map((end) => watcher.peer(end)?.path?.kind),
    ['direct', 'direct'],
  );
  let cutMs = 0;
  const seconds = (BEFORE_MS + HOLE_MS + AFTER_MS) / 1000;
  const result = await blast(
    mesh.host(from).ns,
    mesh.host(to).ns,
    mesh.host(to).address,
    {pps: PPS, seconds},
    async () => {
      await passed(BEFORE_MS);
      const cutAt = performance.now();
      internet.cutPair(a, b);
      await passed(HOLE_MS);
      internet.healPair(a, b);
      cutMs = performance.now() - cutAt;
      await passed(BACK_MS);
      t.deepEqual(
        ends.map((end) => watcher.since(end)),
        since,
        'it is the same link still',
      );
    },
  );
  return {...result, cutMs};
}

labTest('after 5 s in a black hole at 15 000 datagrams/s a link carries again within 2 s', async (t) => {
  t.timeout(60_000);
  const {lost, longestGapMs, cutMs, sent, received} = await blackHole(t, 'boat', 'office');
  const rate = lost / (longestGapMs / 1000);
  t.log(`${sent} sent, ${received} received, ${lost} lost, ${Math.round(rate)} in each second without one`);
  t.log(`nothing came for ${sec(longestGapMs)}, the path was cut for ${sec(cutMs)}`);
  t.true(lost > LEAST_LOST);
  t.true(rate >= LEAST_PPS);
  t.true(longestGapMs <= cutMs + BACK_MS);
});

labTest('without a new SSRC it does not: the test above can fail', async (t) => {
  t.timeout(60_000);
  const {buckets, sent, received, cutMs} = await blackHole(t, 'office', 'boat');
  const lastMs = (buckets.at(-1)?.[0] ?? 0) + 100;
  t.log(
    `${sent} sent, ${received} received, the last one ${sec(lastMs)} after the first; the path was cut for ${sec(cutMs)}`,
  );
  t.true(sent - received > LEAST_LOST);
  // Nothing came within BACK_MS after the cut. Later the nodes may have made another link.
  const healedMs = BEFORE_MS + cutMs;
  t.deepEqual(
    buckets.filter(([atMs]) => atMs >= healedMs && atMs < healedMs + BACK_MS),
    [],
  );
});
