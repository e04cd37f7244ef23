// SPDX-License-Identifier: MIT
// What one network says of itself, in the words of status/.

import {answerOf, type IpopError} from './base/errors.ts';
import type {Millis} from './base/time.ts';
import {macText} from './l2switch/frame.ts';
import type {PortId} from './native/datapath.ts';
import type {Native} from './native/native.ts';
import type {Network} from './network.ts';
import type {NetworkParts} from './status/snapshot.ts';
import type {ErrorStatus, FdbEntryStatus} from './status/types.ts';
import {pathOf} from './tincan/link-manager.ts';

/** The network's parts of `ipop status`. */
export function partsOf(network: Network, native: Native, now: Millis): NetworkParts {
  const {config, fdb, links, lan} = network;
  const {entries, limit, evicted, moved} = fdb.counters();
  const macs = countByPort(network, now);
  return {
    network: config.network,
    xmpp: xmppOf(network, now),
    bridge: {
      name: config.bridge.name ?? '',
      tap: config.bridge.tap,
      mtuBytes: config.bridge.mtuBytes,
      state: lan.state?.name ?? 'no-tap',
      ...errorOf(lan.state && 'error' in lan.state ? lan.state.error : undefined, network.lanSince, now),
      ...(lan.port === undefined ? {} : {port: lan.port}),
    },
    peers: links.peers(now),
    fdb: {entries, limit, evicted, moved},
    macsOf: (port) => macs.get(port) ?? 0,
    countersOf: (port) => answerOf(() => native.portCounters(port)),
    pathOf: (port) => answerOf(() => pathOf(native.linkInfo(port))),
  };
}

/** The network's lines of `ipop fdb`, in the order of the table. */
export function fdbOf(network: Network, now: Millis): FdbEntryStatus[] {
  const names = new Map<PortId, string>();
  for (const {port, name, id} of network.links.peers(now))
    if (port !== undefined) names.set(port, name || id.slice(0, 8));
  return network.fdb.entries(now).map(({vlan, mac, port, ageMs}) => ({
    network: network.config.network,
    vlan,
    mac: macText(mac),
    port: port === network.lan.port ? 'lan' : (names.get(port) ?? `port ${port}`),
    ageSec: Math.floor(ageMs / 1000),
  }));
}

function xmppOf(network: Network, now: Millis): NetworkParts['xmpp'] {
  const {config, xmpp, session} = network;
  const {state, error, retryAt, since} = xmpp;
  const {server} = session;
  const twin = network.twin(now);
  return {
    state,
    jid: config.account.jid,
    room: config.room.jid,
    ...(server === undefined ? {} : {server}),
    ...errorOf(error, since, now),
    ...(twin ? {twin: {jid: twin.jid, agoSec: Math.floor(twin.agoMs / 1000)}} : {}),
    ...(retryAt === undefined ? {} : {retryInSec: Math.max(0, Math.ceil((retryAt - now) / 1000))}),
  };
}

function errorOf(error: IpopError | undefined, since: Millis, now: Millis): {error?: ErrorStatus} {
  if (!error) return {};
  return {error: {code: error.code, text: error.message, agoSec: Math.max(0, Math.floor((now - since) / 1000))}};
}

function countByPort({fdb}: Network, now: Millis): Map<PortId, number> {
  const counts = new Map<PortId, number>();
  for (const {port} of fdb.entries(now)) counts.set(port, (counts.get(port) ?? 0) + 1);
  return counts;
}
