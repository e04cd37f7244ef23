// SPDX-License-Identifier: MIT
// What is wrong, and the way out. One rule a code; docs/TROUBLESHOOTING.md has a section for each.

import {REFUSAL_CODES, shortId} from '../tincan/identity.ts';
import {UNSUPPORTED_VERSION} from '../tincan/version.ts';
import type {HealthItem, NetworkStatus, PeerStatus, Status} from './types.ts';

type Judged = Omit<Status, 'health'>;
type Severity = HealthItem['severity'];

/** Every code with its severity. error: the exit code of `ipop status` is not 0. */
export const HEALTH_CODES = {
  'config-wrong': 'error',
  'few-descriptors': 'error',
  'identity-twice': 'error',
  'clock-wrong': 'error',
  'xmpp-certificate': 'error',
  'xmpp-auth': 'error',
  'xmpp-offline': 'error',
  'room-waiting': 'error',
  'no-tap': 'error',
  'no-bridge': 'error',
  'signature-refused': 'error',
  'unsupported-version': 'error',
  'peer-down': 'error',
  'no-peers': 'warning',
  'relay-in-use': 'warning',
  'link-loss': 'warning',
  'state-not-stored': 'warning',
  'records-dropped': 'warning',
} as const satisfies Readonly<Record<string, Severity>>;

/** Failures that are nothing but the other node of our identity. */
const TWIN_CODES = ['conflict', 'nick-conflict'];
/** Of a room that its owner has yet to make, or to let us in. */
const ROOM_OWNER_CODES = ['room-missing', 'not-a-member'];
/** Ends of a stream (ipop.h) that mean the certificate; other TLS failures are the network's or the server's. */
const CERTIFICATE_CODES = ['tls-name', 'tls-expired', 'tls-pin', 'tls-unknown-ca', 'tls-self-signed', 'ca-file'];
/** Failed logins (RFC 6120 section 6.5, and the session's own) that trying again does not cure. */
const AUTH_CODES = [
  'not-authorized',
  'account-disabled',
  'credentials-expired',
  'login-refused',
  'no-mechanism',
  'scram',
  'server-signature',
];

/** A link or a connection needs several. */
export const FEW_DESCRIPTORS = 8;

/** The sentence for the log and for health. */
export function fewDescriptors(free: number, limit: number): string {
  const left = free === 0 ? `no file descriptor of ${limit} is left` : `${free} of ${limit} file descriptors are left`;
  return `${left}: new links and connections fail until there are more; raise the limit (ulimit -n, LimitNOFILE=)`;
}

export type HealthCode = keyof typeof HEALTH_CODES;

/** All problems, worst first: in the order of HEALTH_CODES, then of networks and peers. */
export function healthOf(status: Judged): HealthItem[] {
  const items: HealthItem[] = [];
  const add = (code: HealthCode, network: string, text: string) =>
    items.push({code, severity: HEALTH_CODES[code], network, text});
  for (const network of status.networks) {
    judgeXmpp(network, (code, text) => add(code, network.network, text));
    judgeBridge(network, (code, text) => add(code, network.network, text));
    judgePeers(network, (code, text) => add(code, network.network, text));
  }
  const [wrong, ...others] = status.configProblems ?? [];
  if (wrong !== undefined) {
    const more = others.length > 0 ? ` (and ${others.length} more)` : '';
    add('config-wrong', '', `${wrong}${more}: what runs is not what the file says; correct it, then ipop reload`);
  }
  if (status.stateProblem !== undefined) {
    const way = 'free space there, or make the folder writable; until then peers may refuse this node after a restart';
    add('state-not-stored', '', `${status.stateProblem}: ${way}`);
  }
  const {recordsDropped, descriptorsFree, descriptorLimit} = status.process;
  if (descriptorsFree < FEW_DESCRIPTORS) add('few-descriptors', '', fewDescriptors(descriptorsFree, descriptorLimit));
  if (recordsDropped > 0) {
    const text = `${recordsDropped} records from native were lost because the daemon was too slow: see whether the CPU is overloaded`;
    add('records-dropped', '', text);
  }
  const codes = Object.keys(HEALTH_CODES);
  // Stable: what has one code stays in the order of networks and peers.
  return items.sort((a, b) => codes.indexOf(a.code) - codes.indexOf(b.code));
}

/** 0: every peer that is there is linked, XMPP and bridge are well; 1: no link is up; 2: a link is up, but something is wrong. */
export function exitCodeOf(status: Status): 0 | 1 | 2 {
  const isUp = status.networks.some((network) => network.peers.some((peer) => peer.state === 'up'));
  if (!isUp) return 1;
  return status.health.some((item) => item.severity === 'error') ? 2 : 0;
}

type Add = (code: HealthCode, text: string) => void;

function judgeXmpp({xmpp, peers}: NetworkStatus, add: Add): void {
  const {error, jid, server, twin} = xmpp;
  if (twin) {
    const account = twin.jid === jid ? 'by this very account' : `by account ${twin.jid || 'unknown'}`;
    const way = 'stop one of both, remove identity.key from its state folder and start it again';
    add('identity-twice', `another node uses this node's identity, ${account} (${twin.agoSec} s ago): ${way}`);
    if (TWIN_CODES.includes(error?.code ?? '')) return;
  }
  if (xmpp.state === 'online') return;
  const retry = xmpp.retryInSec === undefined ? '' : `; next try in ${xmpp.retryInSec} s`;
  const cause = error ? error.text : `state is ${xmpp.state}`;
  if (xmpp.state === 'waiting') {
    const way = ROOM_OWNER_CODES.includes(error?.code ?? '')
      ? `; the node with option owner does so once it is online and lists ${jid} as a member`
      : '';
    return add('room-waiting', `${cause}${way}${retry}`);
  }
  if (error?.code === 'tls-not-yet-valid') {
    return add('clock-wrong', `${cause}: waiting for this machine's clock to be set (NTP)${retry}`);
  }
  if (error && CERTIFICATE_CODES.includes(error.code)) {
    return add(
      'xmpp-certificate',
      `${cause}: check the server's certificate, options ca_file and pin, and this machine's clock${retry}`,
    );
  }
  if (error && AUTH_CODES.includes(error.code)) {
    return add('xmpp-auth', `${cause}: check options jid and password of account ${jid}${retry}`);
  }
  const where = server === undefined ? '' : ` (last server ${server})`;
  const links = peers.some((peer) => peer.state === 'up')
    ? 'links that are up stay, new ones must wait'
    : 'peers cannot be found';
  add('xmpp-offline', `${cause}${where}: ${links}${retry}`);
}

function judgeBridge({bridge}: NetworkStatus, add: Add): void {
  const cause = bridge.error ? `: ${bridge.error.text}` : '';
  if (bridge.state === 'no-tap')
    add(
      'no-tap',
      `${bridge.error?.text ?? `tap ${bridge.tap} cannot be made`}: is the tun module loaded, the name free?`,
    );
  if (bridge.state === 'no-bridge') {
    add(
      'no-bridge',
      `tap ${bridge.tap} is not in bridge ${bridge.name}${cause}: make the bridge, or correct option bridge`,
    );
  }
}

function judgePeers({peers, xmpp}: NetworkStatus, add: Add): void {
  for (const peer of peers) {
    const {error, state, present} = peer;
    const name = nameOf(peer);
    if (error && REFUSAL_CODES.includes(error.code)) {
      add(
        'signature-refused',
        `${name}: ${error.text}: compare node ids at both ends; if they are right, someone tampers with signals`,
      );
    }
    if (state !== 'up' && error?.code === UNSUPPORTED_VERSION) add('unsupported-version', `${name}: ${error.text}`);
    else if (present && state !== 'up')
      add('peer-down', `${name} is in the room but not linked (${state})${whyDown(peer)}`);
    if (peer.path?.throttled) {
      add(
        'link-loss',
        `${name}: more than a tenth of what is sent is lost (now ${(peer.path.lossPermille ?? 0) / 10} %), so all but TCP is held at 256 kbit/s: something sends more than the line carries (option up_kbit), or the line is bad`,
      );
    }
    if (peer.path?.kind === 'relay') {
      add(
        'relay-in-use',
        `${name}: no direct path worked (usually a NAT that takes a new port for each destination), traffic passes relay ${relayOf(peer)}: open UDP at one end for a direct one`,
      );
    }
  }
  const alone = !peers.some((peer) => peer.present || peer.state === 'up');
  if (alone && xmpp.state === 'online') {
    add('no-peers', `no other node is in room ${xmpp.room}: start one, or check that its option room is the same`);
  }
}

function whyDown({error, retryInSec, attempts}: PeerStatus): string {
  const tries = attempts > 1 ? ` after ${attempts} tries` : '';
  const cause = error ? `${tries}: ${error.text}` : tries;
  return retryInSec === undefined ? cause : `${cause}; next try in ${retryInSec} s`;
}

/** The end of the pair that is at the relay is not told apart: both are shown. */
function relayOf({path}: PeerStatus): string {
  return `${path?.local} - ${path?.remote}`;
}

/** Its account, as long as it has not proved a name of its own. */
function nameOf({name, jid, id}: PeerStatus): string {
  return `${name || jid} (${shortId(id)})`;
}
