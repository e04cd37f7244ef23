// SPDX-License-Identifier: MIT
// Parts of a daemon that is well, to be spoiled by tests.

import type {NetworkParts, PeerPart, StatusParts} from '../../../src/status/snapshot.ts';

/** A peer that is up; its id is one digit, its port is that number plus ten. */
export function peerPart(name: string, digit: number, changes: Partial<PeerPart> = {}): PeerPart {
  const up = (changes.state ?? 'up') === 'up';
  return {
    id: `${digit}`.repeat(40),
    name,
    jid: `${name}@example.org`,
    present: true,
    state: 'up',
    sinceSec: 10_500,
    attempts: 0,
    ...(up ? {path: {kind: 'direct', local: '192.0.2.2:5000', remote: '198.51.100.7:41022', carriage: 'srtp'}} : {}),
    ...(up ? {port: digit + 10} : {}),
    ...changes,
  };
}

export function healthyParts(changes: Partial<NetworkParts> = {}): StatusParts {
  const network: NetworkParts = {
    network: 'home',
    xmpp: {state: 'online', jid: 'office@example.org', server: '192.0.2.1:5223', room: 'home@rooms.example.org'},
    bridge: {name: 'br-lan', tap: 'ipop0', mtuBytes: 1500, state: 'joined', port: 1},
    peers: [peerPart('cabin', 1)],
    fdb: {entries: 17, limit: 4096, evicted: 0, moved: 0},
    macsOf: (port) => (port === 1 ? 3 : 14),
    countersOf: (port) => ({
      rxFrames: 1_000_000,
      rxBytes: 1_200_000_000,
      txFrames: 300_000,
      txBytes: 310_000_000,
      upcalls: 5,
      drops: port === 1 ? {'guard-dhcp': 12} : {},
    }),
    ...changes,
  };
  return {
    version: '0.1.0',
    uptimeSec: 10_800,
    node: {id: '0'.repeat(40), name: 'office'},
    networks: [network],
    process: {recordsQueued: 0, recordsDropped: 0, threads: 9, descriptorsFree: 8, descriptorLimit: 1024},
  };
}

export function withPeers(peers: PeerPart[]): StatusParts {
  return healthyParts({peers});
}
