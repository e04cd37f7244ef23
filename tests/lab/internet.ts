// SPDX-License-Identifier: MIT
// The internet of a lab: a router that joins all sites and the server host, can cut paths, and counts what crosses.
//
//            server host 203.0.113.10, .11 (Prosody, coturn)
//                          | eth0
//                          | srv  203.0.113.1/24
//                   [ internet ]          one veth and one /30 of 198.51.100.0/24 for each site
//      w1 .5/30 |       w2 .9/30 |       w3 .13/30 |
//         wan .6           wan .10           wan .14
//        site 1            site 2            site 3 (or a carrier's NAT before it)
// A WAN with delay and loss, if a site has one, is in its veth (wan.ts).

import {connect, Netns} from './netns.ts';
import type {Lab} from './lab.ts';

const TABLE = `
table inet lab {
  set down { type ifname; }
  set noudp { type ifname; }
  set cut { type ipv4_addr . ipv4_addr; }
  set flows { type inet_proto . ipv4_addr . inet_service . ipv4_addr . inet_service; size 65535; flags dynamic; counter; }
  chain forward {
    type filter hook forward priority filter; policy accept
    iifname @down drop
    oifname @down drop
    meta l4proto udp iifname @noudp drop
    meta l4proto udp oifname @noudp drop
    ip saddr . ip daddr @cut drop
    meta l4proto { tcp, udp } update @flows { meta l4proto . ip saddr . th sport . ip daddr . th dport counter }
  }
}
`;

/** One direction of a conversation, as it crossed the internet. */
export interface Flow {
  readonly protocol: 'tcp' | 'udp';
  readonly from: {readonly address: string; readonly port: number};
  readonly to: {readonly address: string; readonly port: number};
  /** A super-packet of the kernel counts as one: compare bytes. */
  readonly packets: number;
  /** IP header included. */
  readonly bytes: number;
}

export class Internet {
  static readonly SERVER = '203.0.113.10';
  /** Second address of the server host, for RFC 5780. */
  static readonly SERVER_2 = '203.0.113.11';

  readonly ns: Netns;
  readonly server: Netns;

  constructor(lab: Lab) {
    this.ns = Netns.create(lab, 'internet');
    this.server = Netns.create(lab, 'server');
    for (const ns of [this.ns, this.server]) ns.sysctl([['net/ipv6/conf/default/disable_ipv6', '1']]);
    this.ns.sysctl([['net/ipv4/ip_forward', '1']]);
    connect(this.ns, 'srv', this.server, 'eth0');
    this.ns.ip('addr add 203.0.113.1/24 dev srv');
    this.server.ip(
      `addr add ${Internet.SERVER}/24 dev eth0`,
      `addr add ${Internet.SERVER_2}/24 dev eth0`,
      'route add default via 203.0.113.1',
    );
    this.ns.nft(TABLE);
  }

  /** Gives `router` its interface `wan` with a public address and the default route; `join` makes the path. Returns the address. */
  attach(router: Netns, index: number, join: typeof connect = connect): string {
    const address = `198.51.100.${4 * index + 2}`;
    const gateway = `198.51.100.${4 * index + 1}`;
    router.sysctl([['net/ipv6/conf/default/disable_ipv6', '1']]);
    join(this.ns, `w${index}`, router, 'wan');
    router.sysctl([['net/ipv6/conf/default/disable_ipv6', '0']]);
    this.ns.ip(`addr add ${gateway}/30 dev w${index}`);
    router.ip(`addr add ${address}/30 dev wan`, `route add default via ${gateway}`);
    return address;
  }

  /** Takes `old`, the public address of a site, away from its router and gives it another. Returns that. */
  readdress(router: Netns, index: number, old: string): string {
    const last = Number(old.split('.')[3]);
    // A /30 of the same site, beyond those that sites begin with.
    const next = last + 40;
    if (next > 254) throw new Error(`Site ${index} has used up its addresses.`);
    this.ns.ip(`addr del 198.51.100.${last - 1}/30 dev w${index}`, `addr add 198.51.100.${next - 1}/30 dev w${index}`);
    router.ip(
      `addr del ${old}/30 dev wan`,
      `addr add 198.51.100.${next}/30 dev wan`,
      `route replace default via 198.51.100.${next - 1}`,
    );
    return `198.51.100.${next}`;
  }

  /** Cuts a site (by its index) off from everything. Cutting twice is fine. */
  cutSite(index: number): void {
    this.ns.nft(`add element inet lab down { "w${index}" }`);
  }

  healSite(index: number): void {
    this.ns.nft(`add element inet lab down { "w${index}" }\ndelete element inet lab down { "w${index}" }`);
  }

  /** Lets no UDP pass from or to a site, silently. */
  blockUdp(index: number): void {
    this.ns.nft(`add element inet lab noudp { "w${index}" }`);
  }

  allowUdp(index: number): void {
    this.blockUdp(index);
    this.ns.nft(`delete element inet lab noudp { "w${index}" }`);
  }

  /** Cuts the path between two public addresses, both ways. */
  cutPair(a: string, b: string): void {
    this.ns.nft(`add element inet lab cut { ${a} . ${b}, ${b} . ${a} }`);
  }

  healPair(a: string, b: string): void {
    this.cutPair(a, b);
    this.ns.nft(`delete element inet lab cut { ${a} . ${b}, ${b} . ${a} }`);
  }

  /** Heals every cut. */
  healAll(): void {
    this.ns.nft('flush set inet lab down\nflush set inet lab cut');
  }

  /** Starts counting anew. */
  resetFlows(): void {
    this.ns.nft('flush set inet lab flows');
  }

  /** What has crossed since the last reset, the biggest first. */
  flows(): Flow[] {
    const listed = JSON.parse(this.ns.runSync(['nft', '-j', 'list', 'set', 'inet', 'lab', 'flows'])) as NftList;
    const elements = listed.nftables.flatMap((item) => item.set?.elem ?? []);
    return elements.map(({elem}) => toFlow(elem)).sort((a, b) => b.bytes - a.bytes);
  }
}

interface NftElement {
  readonly val: {readonly concat: readonly (string | number)[]};
  readonly counter: {readonly packets: number; readonly bytes: number};
}
interface NftList {
  readonly nftables: readonly {readonly set?: {readonly elem?: readonly {readonly elem: NftElement}[]}}[];
}

function toFlow({val, counter}: NftElement): Flow {
  const [protocol, fromAddress, fromPort, toAddress, toPort] = val.concat;
  return {
    protocol: protocol === 'tcp' ? 'tcp' : 'udp',
    from: {address: String(fromAddress), port: Number(fromPort)},
    to: {address: String(toAddress), port: Number(toPort)},
    packets: counter.packets,
    bytes: counter.bytes,
  };
}
