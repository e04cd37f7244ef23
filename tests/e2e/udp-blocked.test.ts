// SPDX-License-Identifier: MIT
// A site whose firewall lets no UDP pass. Links are UDP, relayed ones too: there is none, and both nodes say so until UDP passes.
//
//   server host (Prosody, coturn) --- [ internet ] --- [ office ] masquerade --- h1
//                                          |
//                                     UDP dropped
//                                          |
//                                       [ mute ] masquerade --- h1

import {groupOf} from '../lab/ipopd.ts';
import {ping} from '../lab/tools.ts';
import {allLinked, endWith, healthItem, labTest, peerOf, TWO_SITES, untilStatus, worldOf} from './kit.ts';

/** Two tries of 10 s each, and what lies between them. */
const FAILED_MS = 40_000;
/** Tries are at most a minute apart by then. */
const LATER_MS = 90_000;
const world = worldOf(import.meta.filename, [TWO_SITES[0]!, {name: 'mute', index: 2, nat: 'udp-blocked', hosts: 1}]);

labTest('where UDP is blocked there is no link, both nodes say why, and there is one once UDP passes', async (t) => {
  const nodes = endWith(t, groupOf(world()));
  for (const node of nodes) node.start();
  for (const [i, node] of nodes.entries()) {
    const other = nodes[1 - i]!.name;
    const {network, status} = await untilStatus(node, 'a try has failed', FAILED_MS, (now) => {
      return peerOf(now, other)?.error !== undefined;
    });
    t.is(network.xmpp.state, 'online', 'TCP goes through');
    t.not(peerOf(network, other)?.state, 'up');
    t.regex(healthItem(status, 'peer-down')?.text ?? '', new RegExp(`^${other} .*No path to the peer worked within`));
    t.is((await node.ipop('status')).code, 1, 'down');
  }
  world().internet.allowUdp(2);
  await allLinked(nodes, LATER_MS);
  const [from, to] = nodes.map((node) => node.site.hosts[0]!);
  t.true((await ping(from!.ns, to!.address)).received > 0);
});
