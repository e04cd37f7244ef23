// SPDX-License-Identifier: MIT
// `ipop status` for people.

import type {NetworkStatus, PeerStatus, Status} from '../status/types.ts';
import {bytesText, durationText, ordinal, printable, table} from './table.ts';

/** Drops that protect the LANs; told in the text because they are no problem. */
const GUARDS = [
  ['guard-dhcp', 'DHCP'],
  ['guard-ra', 'router advertisement'],
  ['guard-unparsed', 'unreadable IPv6'],
] as const;

/** A header, the peers and what guards held back for each network, then the problems. */
export function statusText(status: Status): string {
  const networks = status.networks.map((network) => networkText(status, network));
  const several = status.networks.length > 1;
  const health = status.health.map(({code, network, text}) => {
    const where = several && network !== '' ? `${printable(network)}: ` : '';
    return `! ${printable(code)}   ${where}${printable(text, 320)}\n`;
  });
  return networks.join('\n') + health.join('');
}

function networkText(status: Status, network: NetworkStatus): string {
  const peers = network.peers.map((peer) => peerRow(peer));
  const shown =
    peers.length > 0
      ? table([['PEER', 'STATE', 'PATH', 'CARRIAGE', 'RX', 'TX', 'MACS', 'SINCE'], ...peers])
      : 'no peers yet\n';
  return `${headerOf(status, network)}\n${shown}${movingText(network)}${guardText(network)}`;
}

function headerOf({version, uptimeSec, node}: Status, {network, bridge, xmpp}: NetworkStatus): string {
  const bridged =
    bridge.state === 'unbridged' ? 'none' : `${bridge.name}${bridge.state === 'joined' ? '' : ' (not joined)'}`;
  const parts = [
    `ipop ${version}`,
    `network ${network}`,
    `node ${node.name} (${node.id.slice(0, 8)})`,
    `up ${durationText(uptimeSec)}`,
    `bridge ${bridged}`,
    `tap ${bridge.tap}${bridge.state === 'no-tap' ? ' (missing)' : ''} mtu ${bridge.mtuBytes}`,
    `xmpp ${xmpp.state} (${xmpp.jid})`,
  ];
  return parts.map((part) => printable(part, 96)).join('  ');
}

function peerRow(peer: PeerStatus): string[] {
  const {name, id, state, path, traffic, macs} = peer;
  const isUp = state === 'up';
  return [
    name === '' ? id.slice(0, 8) : `${printable(name, 32)} ${id.slice(0, 8)}`,
    stateText(peer),
    path ? `${path.kind} ${path.remote}` : '-',
    path?.carriage ?? '-',
    isUp ? bytesText(traffic.rxBytes) : '-',
    isUp ? bytesText(traffic.txBytes) : '-',
    isUp ? `${macs}` : '-',
    sinceText(peer),
  ];
}

/** Links that are about to go another way, and why. */
function movingText({peers}: NetworkStatus): string {
  const lines = peers.flatMap(({name, id, moving}) => {
    const who = name === '' ? id.slice(0, 8) : printable(name, 32);
    return moving === undefined ? [] : [`${who} is moving to a new path: ${printable(moving, 160)}\n`];
  });
  return lines.join('');
}

function stateText({state, attempts, present, moving}: PeerStatus): string {
  if (state === 'backoff') return `backoff (${ordinal(Math.max(1, attempts))})`;
  if (state === 'up' && moving !== undefined) return 'up, moving';
  if (state === 'up') return state;
  return present ? state : 'away';
}

function sinceText({state, sinceSec, retryInSec, error}: PeerStatus): string {
  if (state !== 'backoff' && !(state === 'idle' && error && retryInSec !== undefined)) return durationText(sinceSec);
  return `retry in ${durationText(retryInSec ?? 0)}${error ? `: ${error.text}` : ''}`;
}

/** Sums over the tap and all links: a drop is counted where the frame came in. */
function guardText({bridge, peers}: NetworkStatus): string {
  const traffics = [bridge.traffic, ...peers.map((peer) => peer.traffic)];
  const held = GUARDS.flatMap(([reason, what]) => {
    const count = traffics.reduce((sum, {drops}) => sum + (drops[reason] ?? 0), 0);
    return count > 0 ? [`${count} ${what}`] : [];
  });
  return held.length > 0 ? `kept from crossing: ${held.join(', ')}\n` : '';
}
