// SPDX-License-Identifier: MIT
// The main job over a WAN of 50 ms and 1 % loss each way.
//
//            server host (Prosody, coturn)
//                     |
//                [ internet ]
//        w1 |                   w3 |
//         WAN 25 ms, 1 %           |
//           |                      |
//      [ office ]               [ boat ]
//     masquerade                masquerade
//           |                      |
//          h1                     h1

import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import {blast, iperf3, ping} from '../lab/tools.ts';
import {introduce} from './frames.ts';
import {labTest, networkOf, peerOf, startAll, TWO_SITES, worldOf} from './kit.ts';

const WAN = {delayMs: 25, loss: 0.01, seed: 3};
const [office, boat] = TWO_SITES;
const world = worldOf(import.meta.filename, [{...office!, wan: WAN}, boat!]);
let nodes: readonly IpopNode[] = [];

labTest('a link comes up over 50 ms and 1 % loss, and is direct', async (t) => {
  nodes = groupOf(world());
  const start = performance.now();
  await startAll(nodes);
  t.log(`up after ${((performance.now() - start) / 1000).toFixed(1)} s`);
  t.is(peerOf(await networkOf(nodes[0]!), 'boat')?.path?.kind, 'direct');
});

labTest('a ping across takes the path’s time, and loses no more than the path', async (t) => {
  const [from, to] = [world().site('office').hosts[0]!, world().site('boat').hosts[0]!];
  await introduce(from, to);
  const {received, rttMs, leastRttMs} = await ping(from.ns, to.address, {count: 50});
  t.log(`${received} of 50, ${leastRttMs} ms at least, ${rttMs} ms on average`);
  t.true(leastRttMs! >= 50 && leastRttMs! < 60, `${leastRttMs} ms`);
  // 2 % of the round trips: more than 6 lost of 50 in one of 10 000 runs.
  t.true(received >= 44, `${received} of 50`);
});

labTest('TCP goes both ways over a path that loses 1 %, and no link is lost for it', async (t) => {
  const [from, to] = [world().site('office').hosts[0]!, world().site('boat').hosts[0]!];
  const before = await Promise.all(nodes.map(networkOf));
  for (const [a, b] of [
    [from, to],
    [to, from],
  ] as const) {
    const {mbps, retransmits} = await iperf3(a.ns, b.ns, b.address, 4);
    t.log(`${a.name} to ${b.name}: ${mbps.toFixed(1)} Mbit/s, ${retransmits} retransmits`);
    // Mathis: 1.22 * 1116 bytes / (50 ms * sqrt(0.01)) = 2.2 Mbit/s for Reno; cubic is no worse.
    t.true(mbps > 0.8, `${mbps} Mbit/s`);
    t.true(retransmits > 0, 'the path did lose some');
  }
  const after = await Promise.all(nodes.map(networkOf));
  after.forEach((network, i) => {
    t.is(network.peers[0]?.state, 'up');
    t.true(network.peers[0]!.sinceSec >= before[i]!.peers[0]!.sinceSec, 'the same link all the while');
  });
});

labTest('a stream of datagrams loses no more than the path does', async (t) => {
  const [from, to] = [world().site('office').hosts[0]!, world().site('boat').hosts[0]!];
  const {sent, received} = await blast(from.ns, to.ns, to.address, {pps: 1_000, seconds: 4, bytes: 800});
  const share = 1 - received / sent;
  t.log(`${received} of ${sent} arrived`);
  t.true(share > 0.002 && share < 0.02, `${(100 * share).toFixed(2)} % lost`);
});
