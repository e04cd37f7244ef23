// SPDX-License-Identifier: MIT
// Two sites with two LANs each: `home` on br-lan as everywhere, `work` on a bridge of its own, so two networks on each node.
//
//   office: br-lan -- h1 (192.168.50.11)     boat: br-lan -- h1 (192.168.50.31)     network home, tap ipop0, owned by office
//           br-work -- w (192.168.60.11)           br-work -- w (192.168.60.31)     network work, tap ipop1, owned by boat

import type {ExecutionContext} from 'ava';
import type {NetworkStatus, PeerStatus, Status} from '../../src/status/types.ts';
import {IpopNode, type NetworkOptions, type NodeOptions} from '../lab/ipopd.ts';
import {connect, Netns} from '../lab/netns.ts';
import type {Host, Site} from '../lab/site.ts';
import {ping} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import type {World} from '../lab/world.ts';
import {endWith, LINKS_MS} from './kit.ts';

export const ROOMS = {home: 'home@conference.example.org', work: 'work@conference.example.org'} as const;

const hosts = new Map<Site, Host>();

/** A site's second LAN, a bridge and one host, made when first asked for. */
function workHost(site: Site): Host {
  const host = hosts.get(site) ?? addWorkLan(site);
  hosts.set(site, host);
  return host;
}

function addWorkLan(site: Site): Host {
  const {router, index} = site;
  router.ip('link add br-work type bridge stp_state 0 forward_delay 0', 'link set br-work up');
  const ns = Netns.create(router.lab, `${site.name}-w`);
  connect(router, 'w', ns, 'eth0');
  router.ip('link set w master br-work');
  const address = `192.168.60.${index}1`;
  ns.ip(`addr add ${address}/24 dev eth0`);
  return {ns, name: `${site.name}-w`, address, address6: '', mac: ns.mac('eth0')};
}

/** Options of a node with both networks; office owns home, boat owns work. */
export function bothNetworks(world: World, name: 'office' | 'boat'): NodeOptions & {more: readonly [NetworkOptions]} {
  const other = name === 'office' ? 'boat' : 'office';
  const account = (user: string) => ({jid: world.xmpp.addAccount(user, 'secret'), password: 'secret'});
  const role = (owner: boolean, member: string) => (owner ? {owner, members: [`${member}@example.org`]} : {});
  return {
    ...account(name),
    room: ROOMS.home,
    ...role(name === 'office', other),
    more: [
      {
        ...account(`${name}-work`),
        network: 'work',
        room: ROOMS.work,
        ...role(name === 'boat', `${other}-work`),
        options: {bridge: 'br-work', tap: 'ipop1'},
      },
    ],
  };
}

export interface TwoLans {
  readonly office: IpopNode;
  readonly boat: IpopNode;
  /** Hosts of the second LAN. */
  readonly work: {readonly office: Host; readonly boat: Host};
}

/** Starts both nodes and waits until both networks are linked. */
export async function startBoth(t: ExecutionContext, world: World): Promise<TwoLans> {
  const [office, boat] = endWith(t, [
    new IpopNode(world, world.site('office'), bothNetworks(world, 'office')),
    new IpopNode(world, world.site('boat'), bothNetworks(world, 'boat')),
  ] as const);
  const work = {office: workHost(office.site), boat: workHost(boat.site)};
  office.start();
  boat.start();
  await Promise.all([office, boat].map((node) => node.waitLinks(2, LINKS_MS)));
  return {office, boat, work};
}

/** Waits until office's second LAN reaches boat's: a host that asked in vain just before asks again only after a second. */
export async function untilWorkWorks({office, boat}: TwoLans['work']): Promise<void> {
  await until(
    'an answer across network work',
    10_000,
    async () => (await ping(office.ns, boat.address)).received === 3,
  );
}

/** A node's network of that name; undefined when it has none, or does not answer. */
export async function networkNamed(node: IpopNode, name: string): Promise<NetworkStatus | undefined> {
  return (await node.status())?.networks.find(({network}) => network === name);
}

/** The one peer of a node's network. */
export async function peerIn(node: IpopNode, name: string): Promise<PeerStatus> {
  const peer = (await networkNamed(node, name))?.peers[0];
  if (peer === undefined) throw new Error(`${node.name} has no peer in ${name}`);
  return peer;
}

/** Waits until the network is as wanted. */
export async function untilNetwork(
  node: IpopNode,
  name: string,
  what: string,
  timeoutMs: number,
  wanted: (network: NetworkStatus | undefined, status: Status) => boolean,
): Promise<NetworkStatus | undefined> {
  let last: Status | undefined;
  const look = async () => {
    last = await node.status();
    const network = last?.networks.find((one) => one.network === name);
    return last && wanted(network, last) ? {network} : undefined;
  };
  try {
    return (await until(`${node.name}, ${name}: ${what}`, timeoutMs, look, 100)).network;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${JSON.stringify(last, undefined, 1)}`);
  }
}

/** Whether the network's link is up. */
export function isLinked(network: NetworkStatus | undefined): boolean {
  return network?.peers.some((peer) => peer.state === 'up') ?? false;
}
