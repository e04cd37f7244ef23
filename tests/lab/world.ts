// SPDX-License-Identifier: MIT
// A whole lab in one call: internet, certificate authority, XMPP server, STUN and TURN server, sites.

import {Ejabberd} from './ejabberd.ts';
import {Internet} from './internet.ts';
import type {Lab} from './lab.ts';
import {Authority} from './pki.ts';
import {Prosody} from './prosody.ts';
import {Site, type SiteOptions} from './site.ts';
import {TurnServer} from './turn-server.ts';
import {CERTIFICATE_NAMES, type XmppServer} from './xmpp-server.ts';

/** Three sites: office and boat can meet directly, cabin reaches either only through a relay. */
export const THREE_SITES: readonly SiteOptions[] = [
  {name: 'office', index: 1, nat: 'port-restricted'},
  {name: 'cabin', index: 2, nat: 'symmetric'},
  {name: 'boat', index: 3, nat: 'port-restricted', carrier: 'port-restricted'},
];

/** By the name that IPOP_LAB_SERVER has. */
const SERVERS: Readonly<Record<string, typeof Prosody | typeof Ejabberd>> = {prosody: Prosody, ejabberd: Ejabberd};

export class World {
  readonly internet: Internet;
  readonly authority: Authority;
  readonly xmpp: XmppServer;
  readonly turn: TurnServer;
  readonly sites: readonly Site[];

  private constructor(
    readonly lab: Lab,
    plan: readonly SiteOptions[],
  ) {
    this.internet = new Internet(lab);
    this.authority = new Authority(lab);
    const Server = SERVERS[process.env['IPOP_LAB_SERVER'] ?? 'prosody'];
    if (Server === undefined) throw new Error(`IPOP_LAB_SERVER: there are ${Object.keys(SERVERS).join(' and ')}.`);
    this.xmpp = new Server(lab, this.internet, this.authority.issue('xmpp', CERTIFICATE_NAMES));
    this.turn = new TurnServer(lab, this.internet);
    this.sites = plan.map((options) => new Site(lab, this.internet, options));
  }

  /** Builds it; both servers listen and every WAN forwards when it resolves. */
  static async build(lab: Lab, plan: readonly SiteOptions[] = THREE_SITES): Promise<World> {
    const world = new World(lab, plan);
    const wans = world.sites.filter((site) => site.options.wan !== undefined).map((site) => site.wan.start());
    await Promise.all([world.xmpp.start(), world.turn.start(), ...wans]);
    return world;
  }

  /** The site of that name. */
  site(name: string): Site {
    const site = this.sites.find((candidate) => candidate.name === name);
    if (site === undefined) throw new Error(`The lab has no site ${name}.`);
    return site;
  }

  /** Every two sites once, in the order of the plan. */
  pairs(): (readonly [Site, Site])[] {
    return this.sites.flatMap((a, i) => this.sites.slice(i + 1).map((b) => [a, b] as const));
  }
}
