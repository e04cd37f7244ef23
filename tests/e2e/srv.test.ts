// SPDX-License-Identifier: MIT
// Nodes whose configuration names no server find it by the DNS (RFC 6120, 3.2; XEP-0368).
//
//   server host (Prosody, coturn, two name servers) --- [ internet ] --+-- [ office ] masquerade -- h1   its name server has SRV records
//                                                                      +-- [ boat ] masquerade -- h1     its own has none

import {readFileSync} from 'node:fs';
import {startDnsmasq} from '../lab/dnsmasq.ts';
import {Internet} from '../lab/internet.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import type {Proc} from '../lab/proc.ts';
import {ping} from '../lab/tools.ts';
import {allLinked, endWith, labTest, LINKS_MS, TWO_SITES, worldOf} from './kit.ts';

const DOMAIN = 'example.org';
const TARGET = `xmpp.${DOMAIN}`;

const world = worldOf(import.meta.filename, TWO_SITES);

function startNameServer(address: string, ...records: readonly string[]): Promise<Proc> {
  return startDnsmasq(world().internet.server, `dns-${address}`, /started, version/, [
    '--log-queries',
    '--no-resolv',
    '--no-hosts',
    `--listen-address=${address}`,
    ...records,
  ]);
}

/** The same node, on a router that asks this name server. */
function asking(node: IpopNode, nameServer: string): IpopNode {
  const file = node.world.lab.file(`${node.name}/resolv.conf`, `nameserver ${nameServer}\n`);
  // The program's own view of the file: each command in a network namespace has a mount namespace of its own.
  const under = ['sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', file];
  return new IpopNode(node.world, node.site, {...node.options, options: {server: undefined}, under});
}

labTest(
  'without a server in the configuration one is found by SRV records, or by the domain where there are none',
  async (t) => {
    await startNameServer(
      Internet.SERVER,
      `--srv-host=_xmpp-client._tcp.${DOMAIN},${TARGET},5222,5,5`,
      `--address=/${TARGET}/${Internet.SERVER}`,
    );
    await startNameServer(Internet.SERVER_2, `--host-record=${DOMAIN},${Internet.SERVER}`, `--local=/${DOMAIN}/`);
    const [office, boat] = groupOf(world());
    const nodes = endWith(t, [asking(office!, Internet.SERVER), asking(boat!, Internet.SERVER_2)]);
    for (const node of nodes) node.start();
    await allLinked(nodes, LINKS_MS);
    const [bySrv, byDomain] = nodes.map((node) => readFileSync(node.logFile, 'utf8'));
    t.regex(bySrv!, new RegExp(`connected to ${Internet.SERVER}:5222 `), 'STARTTLS, as its record says');
    t.regex(byDomain!, new RegExp(`connected to ${Internet.SERVER}:5223 `), 'what is tried first');
    const [from, to] = nodes.map((node) => node.site.hosts[0]!);
    t.true((await ping(from!.ns, to!.address)).received > 0);
  },
);
