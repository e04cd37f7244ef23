// SPDX-License-Identifier: MIT
// A site: a router with br-lan, its NAT and WAN firewall, and two LAN hosts that know nothing of ipop.
//
//   [ internet ] -- wan [ router ] br-lan -- h1, h2          or, with a carrier's NAT in front:
//   [ internet ] -- wan [ carrier ] cgn 100.64.n.1 -- wan [ router ] br-lan -- h1, h2
//                 ^ here a WAN with delay and loss can be (wan.ts)
//
// All sites are to become one Ethernet, so all LANs use one subnet: router n has 192.168.50.n and fd50::n,
// its hosts 192.168.50.n1 and .n2, fd50::n1 and ::n2.

import {startDnsmasq} from './dnsmasq.ts';
import {connect, Netns} from './netns.ts';
import {routerRules, type NatKind} from './nat.ts';
import type {Internet} from './internet.ts';
import type {Lab} from './lab.ts';
import type {Proc} from './proc.ts';
import {Wan, type WanOptions} from './wan.ts';

export interface SiteOptions {
  readonly name: string;
  /** 1 to 9; decides all addresses. */
  readonly index: number;
  readonly nat: NatKind;
  /** A carrier's NAT (CGNAT, 100.64.0.0/10) between router and internet. */
  readonly carrier?: NatKind;
  /** Default 2. */
  readonly hosts?: number;
  /** A WAN with delay and loss before the internet; `{}`: one that does nothing until it is changed. */
  readonly wan?: WanOptions;
}

export interface Host {
  readonly ns: Netns;
  readonly name: string;
  readonly address: string;
  readonly address6: string;
  readonly mac: string;
}

export class Site {
  readonly name: string;
  readonly index: number;
  readonly router: Netns;
  readonly hosts: readonly Host[];
  /** Address of the router's interface `wan`. */
  wanAddress: string;
  /** Address that the internet sees. */
  publicAddress: string;
  /** Has the public address: the router, or the carrier's NAT. */
  readonly outer: Netns;
  /** Address of the router on br-lan. */
  readonly lanAddress: string;
  #wan: Wan | undefined;

  /** Makes it. A WAN must be started before anything crosses. */
  constructor(
    lab: Lab,
    internet: Internet,
    readonly options: SiteOptions,
  ) {
    const {name, index, nat, carrier} = options;
    this.name = name;
    this.index = index;
    this.router = Netns.create(lab, name);
    this.router.sysctl([['net/ipv4/ip_forward', '1']]);
    const join = options.wan === undefined ? connect : this.#wanOf(lab, options.wan);
    if (carrier === undefined) {
      this.outer = this.router;
      this.publicAddress = internet.attach(this.router, index, join);
      this.wanAddress = this.publicAddress;
    } else {
      this.wanAddress = `100.64.${index}.2`;
      this.outer = Netns.create(lab, `carrier${index}`);
      this.publicAddress = attachByCarrier(internet, this.outer, this.router, {index, nat: carrier, join});
    }
    if (nat === 'udp-blocked' || carrier === 'udp-blocked') internet.blockUdp(index);
    this.lanAddress = `192.168.50.${index}`;
    this.router.ip(
      'link add br-lan type bridge stp_state 0 forward_delay 0',
      'link set br-lan up',
      `addr add ${this.lanAddress}/24 dev br-lan`,
      `addr add fd50::${index}/64 dev br-lan nodad`,
    );
    this.router.nft(routerRules({nat, inside: 'br-lan'}));
    this.hosts = Array.from({length: options.hosts ?? 2}, (_, i) => this.#addHost(lab, i + 1));
  }

  /** The WAN of its plan. */
  get wan(): Wan {
    if (this.#wan === undefined) throw new Error(`Site ${this.name} has no WAN in its plan.`);
    return this.#wan;
  }

  /** Its public address changes, as with a new lease: the old one is gone at once, and what a NAT knew of it. */
  readdress(internet: Internet): void {
    const address = internet.readdress(this.outer, this.index, this.publicAddress);
    if (this.wanAddress === this.publicAddress) this.wanAddress = address;
    this.publicAddress = address;
  }

  #wanOf(lab: Lab, options: WanOptions): typeof connect {
    return (far, farDevice, near, nearDevice) => {
      this.#wan = new Wan(lab, `${this.name}-wan`, [near, nearDevice], [far, farDevice], options);
    };
  }

  /** Starts a DHCP server on br-lan with an address range of this site's own. */
  startDhcp(): Promise<Proc> {
    const first = 200 + 5 * this.index;
    return startDnsmasq(this.router, 'dhcp', /DHCP, sockets bound exclusively|DHCP, IP range/, [
      '--log-dhcp',
      '--port=0',
      '--interface=br-lan',
      `--dhcp-range=192.168.50.${first},192.168.50.${first + 4},10m`,
      '--dhcp-authoritative',
      '--no-ping',
      `--dhcp-leasefile=${this.router.lab.dir}/${this.name}.leases`,
    ]);
  }

  #addHost(lab: Lab, number: number): Host {
    const label = `h${number}`;
    const ns = Netns.create(lab, `${this.name}-${label}`);
    const address = `192.168.50.${this.index}${number}`;
    const address6 = `fd50::${this.index}${number}`;
    connect(this.router, label, ns, 'eth0');
    this.router.ip(`link set ${label} master br-lan`);
    ns.ip(
      `addr add ${address}/24 dev eth0`,
      `addr add ${address6}/64 dev eth0 nodad`,
      `route add default via ${this.lanAddress}`,
    );
    return {ns, name: `${this.name}-${label}`, address, address6, mac: ns.mac('eth0')};
  }
}

function attachByCarrier(
  internet: Internet,
  carrier: Netns,
  router: Netns,
  {index, nat, join}: {readonly index: number; readonly nat: NatKind; readonly join: typeof connect},
): string {
  carrier.sysctl([['net/ipv4/ip_forward', '1']]);
  const address = internet.attach(carrier, index, join);
  router.sysctl([['net/ipv6/conf/default/disable_ipv6', '1']]);
  connect(carrier, 'cgn', router, 'wan');
  router.sysctl([['net/ipv6/conf/default/disable_ipv6', '0']]);
  carrier.ip(`addr add 100.64.${index}.1/24 dev cgn`);
  router.ip(`addr add 100.64.${index}.2/24 dev wan`, `route add default via 100.64.${index}.1`);
  carrier.nft(routerRules({nat, inside: 'cgn'}));
  return address;
}
