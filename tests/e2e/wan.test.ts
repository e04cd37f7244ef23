// SPDX-License-Identifier: MIT
// The lab's WAN proves itself, without ipop: what it is told is what crosses it, and every frame that does not is counted by its reason.
//
//   [ near ] 10.0.0.1 --- WAN --- 10.0.0.2 [ far ]

import test from 'ava';
import {Lab, whyNot} from '../lab/lab.ts';
import {Netns} from '../lab/netns.ts';
import {blast, iperf3, ping} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import {bursts, wan, type Wan, type WanCounters} from '../lab/wan.ts';
import {labTest} from './kit.ts';

const FAR = '10.0.0.2';
/** Kernel and scheduler on a busy machine, for a round trip. */
const SLACK_MS = 5;

let lab: Lab;
let near: Netns;
let far: Netns;
let line: Wan;

test.before(async () => {
  if (whyNot() !== undefined) return;
  lab = Lab.open();
  [near, far] = [Netns.create(lab, 'near'), Netns.create(lab, 'far')];
  line = await wan(lab, [near, 'eth0'], [far, 'eth0'], {seed: 5});
  near.ip('addr add 10.0.0.1/24 dev eth0');
  far.ip(`addr add ${FAR}/24 dev eth0`);
});
test.after.always(() => lab?.close());

/** Waits until nothing is under way and returns the counters; every frame is accounted for. */
async function settled(): Promise<{up: WanCounters; down: WanCounters}> {
  return await until('an empty line', 5_000, async () => {
    const now = await line.counters();
    if (now.up.underWay + now.down.underWay > 0) return undefined;
    for (const one of [now.up, now.down]) {
      const drops = Object.values(one.drops).reduce((sum, count) => sum + count, 0);
      if (one.arrived + one.duplicated !== one.delivered + drops)
        throw new Error(`not accounted for: ${JSON.stringify(one)}`);
    }
    return now;
  });
}

/** How far a direction's counters went. */
function since<T extends WanCounters>(
  before: T,
  after: T,
): {delivered: number; loss: number; burst: number; queue: number} {
  return {
    delivered: after.delivered - before.delivered,
    loss: after.drops.loss - before.drops.loss,
    burst: after.drops.burst - before.drops.burst,
    queue: after.drops.queue - before.drops.queue,
  };
}

labTest('a WAN that is told nothing lets everything pass at once', async (t) => {
  await line.change({});
  const {received, leastRttMs} = await ping(near, FAR, {count: 5});
  t.is(received, 5);
  t.true(leastRttMs! < SLACK_MS, `${leastRttMs} ms`);
  t.true((await ping(near, FAR, {count: 1, size: 1472, df: true})).received === 1, 'full frames, too');
});

labTest('the round trip is the delay there and the delay back', async (t) => {
  await line.change({up: {delayMs: 40}, down: {delayMs: 10}});
  const {received, leastRttMs} = await ping(near, FAR, {count: 10});
  t.is(received, 10);
  t.true(leastRttMs! >= 50 && leastRttMs! < 50 + SLACK_MS, `${leastRttMs} ms`);
});

labTest('TCP gets what the bottleneck has, each direction its own', async (t) => {
  await line.change({delayMs: 5, up: {rateMbps: 50}, down: {rateMbps: 20}});
  for (const [from, to, address, mbps] of [
    [near, far, FAR, 50],
    [far, near, '10.0.0.1', 20],
  ] as const) {
    const result = await iperf3(from, to, address, 2);
    t.log(`${result.mbps.toFixed(1)} of ${mbps} Mbit/s`);
    // 40 bytes of headers with timestamps 52, and Ethernet's 14, of 1514.
    t.true(result.mbps < mbps && result.mbps > 0.8 * mbps, `${result.mbps} Mbit/s`);
  }
});

labTest('more than the bottleneck takes is dropped, counted, and nothing else is', async (t) => {
  await line.change({up: {rateMbps: 8, queueBytes: 20_000}});
  const before = await settled();
  // 8 Mbit/s are 4 000 such frames (250 bytes on the line) a second; the queue holds 80.
  const {sent, received, buckets} = await blast(near, far, FAR, {pps: 10_000, seconds: 1, bytes: 208});
  const {queue, loss, burst} = since(before.up, (await settled()).up);
  const seconds = (buckets.at(-1)![0] + 100) / 1000;
  t.log(`${received} of ${sent} arrived in ${seconds} s, ${queue} dropped by the queue`);
  t.deepEqual([loss, burst], [0, 0]);
  t.true(queue >= sent - received && received + queue <= sent + 5, 'ARP and the like apart');
  t.true(received <= 4_000 * seconds + 80, 'no more than the rate');
  // A sender that others hold up leaves the line idle.
  t.true(received > 0.6 * 4_000 * seconds, 'and most of it');
});

labTest('what is lost at the far end is what was counted as lost, and as much as was asked for', async (t) => {
  await line.change({up: {loss: 0.02}});
  const before = await settled();
  const {sent, received} = await blast(near, far, FAR, {pps: 10_000, seconds: 2});
  const {loss} = since(before.up, (await settled()).up);
  t.log(`${sent - received} of ${sent} lost`);
  // 400 expected, standard deviation 20. ARP may be hit, too.
  t.true(Math.abs(loss - (sent - received)) <= 2, `${loss} counted, ${sent - received} missing`);
  t.true(loss > 300 && loss < 500, `${loss}`);
});

labTest('losses in bursts come in bursts', async (t) => {
  await line.change({up: {burst: bursts(0.05, 20)}});
  const before = await settled();
  const {sent, received, longestGapMs} = await blast(near, far, FAR, {pps: 2_000, seconds: 2});
  const {burst, loss} = since(before.up, (await settled()).up);
  t.log(`${burst} of ${sent} lost, longest gap ${longestGapMs} ms`);
  t.is(loss, 0);
  t.true(Math.abs(burst - (sent - received)) <= 2);
  // 200 expected, in 10 bursts or so.
  t.true(burst > 40 && burst < 600, `${burst}`);
  t.true(longestGapMs >= 8, `a burst of 20 lasts 10 ms, the longest gap was ${longestGapMs}`);
});

labTest('frames are duplicated and overtake each other in the share that was asked for', async (t) => {
  await line.change({delayMs: 5, up: {duplicate: 0.2, reorder: {share: 0.2, byMs: 150}}});
  const before = (await settled()).up;
  const {stdout} = await near.run(['ping', '-n', '-c', '60', '-i', '0.02', '-W', '2', FAR]);
  const after = (await settled()).up;
  const order = [...stdout.matchAll(/icmp_seq=(\d+) /g)].map((match) => Number(match[1]));
  t.is(new Set(order).size, 60, 'all came');
  t.true(
    order.some((sequence, i) => i > 0 && sequence < order[i - 1]!),
    'one was overtaken',
  );
  t.regex(stdout, /\(DUP!\)/);
  const [twice, late] = [after.duplicated - before.duplicated, after.reordered - before.reordered];
  t.true(twice > 2 && twice < 30, `${twice} twice`);
  t.true(late > 2 && late < 30, `${late} late`);
});

labTest('without a bottleneck TCP is as fast as the machine allows, and every frame crosses alone', async (t) => {
  await line.change({delayMs: 1});
  const before = await line.counters();
  const {mbps} = await iperf3(near, far, FAR, 2);
  const after = await line.counters();
  const lost = after.up.drops;
  t.log(`${mbps.toFixed(0)} Mbit/s, ${after.cpuMs - before.cpuMs} ms CPU, ${after.up.late - before.up.late} late`);
  t.true(mbps > 300, `${mbps} Mbit/s`);
  t.is(lost.oversize, 0, 'no super-packets come');
});

labTest('a WAN is told in words what it cannot be', async (t) => {
  await t.throwsAsync(line.change({loss: -1}), {message: 'loss -1: 0 or more is wanted.'});
  await t.throwsAsync(line.change({queueBytes: 1}), {message: 'queueBytes 1: needs rateMbps.'});
  t.throws(() => bursts(2, 3), {message: /share between 0 and 1/});
  await t.throwsAsync(line.change({delayMs: 1, jitterMs: 2}), {message: /jitter '2000000': at most the delay/});
});
