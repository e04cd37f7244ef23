// SPDX-License-Identifier: MIT
// Builds the public Status from what each part of the daemon says of itself.

import type {PortCounters, PortId} from '../native/datapath.ts';
import {healthOf} from './health.ts';
import type {NetworkStatus, PeerStatus, Status, TrafficStatus} from './types.ts';

/** A peer as link management knows it. */
export interface PeerPart extends Omit<PeerStatus, 'traffic' | 'macs'> {
  /** While it has a native link. */
  readonly port?: PortId;
}

export interface NetworkParts {
  readonly network: string;
  readonly xmpp: NetworkStatus['xmpp'];
  /** `port`: of the tap, while there is one. */
  readonly bridge: Omit<NetworkStatus['bridge'], 'macs' | 'traffic'> & {readonly port?: PortId};
  readonly peers: readonly PeerPart[];
  readonly fdb: NetworkStatus['fdb'];
  /** Addresses learned behind a port. */
  macsOf(port: PortId): number;
  /** undefined: the port has just gone. */
  countersOf(port: PortId): PortCounters | undefined;
  /** The path as it is now, if it can be told: ICE may have moved the link since it came up. */
  pathOf?(port: PortId): PeerStatus['path'] | undefined;
}

export interface StatusParts extends Pick<
  Status,
  'version' | 'uptimeSec' | 'node' | 'configProblems' | 'stateProblem' | 'process'
> {
  readonly networks: readonly NetworkParts[];
}

/** The whole status, health included. */
export function buildStatus(parts: StatusParts): Status {
  const {networks, ...rest} = parts;
  const status = {...rest, networks: networks.map(networkOf)};
  return {...status, health: healthOf(status)};
}

function networkOf(parts: NetworkParts): NetworkStatus {
  const {port: tap, ...bridge} = parts.bridge;
  const ports = [tap, ...parts.peers.map((peer) => peer.port)].filter((port) => port !== undefined);
  const counters = new Map(ports.map((port) => [port, parts.countersOf(port)]));
  const useOf = (port: PortId | undefined) => ({
    macs: port === undefined ? 0 : parts.macsOf(port),
    traffic: trafficOf(port === undefined ? undefined : counters.get(port)),
  });
  const peers = parts.peers.map(({port, ...peer}): PeerStatus => {
    const path = peer.state === 'up' && port !== undefined ? (parts.pathOf?.(port) ?? peer.path) : undefined;
    const {path: _, ...rest} = peer;
    return {...rest, ...(path ? {path} : {}), ...useOf(port)};
  });
  return {
    network: parts.network,
    xmpp: parts.xmpp,
    bridge: {...bridge, ...useOf(tap)},
    peers,
    fdb: parts.fdb,
    upcalls: [...counters.values()].reduce((sum, one) => sum + (one?.upcalls ?? 0), 0),
  };
}

function trafficOf(counters: PortCounters | undefined): TrafficStatus {
  if (!counters) return {rxFrames: 0, rxBytes: 0, txFrames: 0, txBytes: 0, drops: {}};
  const {rxFrames, rxBytes, txFrames, txBytes, drops} = counters;
  return {rxFrames, rxBytes, txFrames, txBytes, drops};
}
