// SPDX-License-Identifier: MIT
// What the TypeScript half asks of the native half, typed. `native.ts` does it through the C ABI (native/include/ipop.h, where units,
// bounds and errnos are), `fake.ts` in memory; both pass tests/contract. Every method throws NativeError when the call fails.

import type {TextMap} from '../base/text-map.ts';
import type {SrvRecord} from '../xmpp/servers.ts';

/** A tap, memory port or link; never reused. */
export type PortId = number;
export type SwitchId = number;

/** Where a rule leads: a port, or one of these. */
export const OUT_DROP = 0;
export const OUT_FLOOD = -1;
export const OUT_RULES = -2;

export type Miss = 'source' | 'moved' | 'destination';

/** A frame that waits for a decision: its first bytes, VLAN tag included. */
export interface Upcall {
  readonly id: number;
  readonly port: PortId;
  /** 0: untagged. */
  readonly vlan: number;
  readonly miss: Miss;
  readonly head: Uint8Array;
  readonly frameLength: number;
}

/** One cached decision and its use. `undefined`: never. */
export interface RuleUse {
  /** 12 lower-case hex digits. */
  readonly mac: string;
  readonly vlan: number;
  readonly out: number;
  /** Since a frame came from this address. */
  readonly sourceIdleMs: number | undefined;
  /** Since a frame went to it. */
  readonly destinationIdleMs: number | undefined;
  readonly hits: number;
}

export interface PortCounters {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly upcalls: number;
  /** By reason (`DROP_NAMES`); only those that are not zero. */
  readonly drops: Readonly<Record<string, number>>;
}

/** ipop.h's enum ipop_drop, in its order, as people read them. */
export const DROP_NAMES = [
  'guard-dhcp',
  'guard-ra',
  'guard-unparsed',
  'reserved-address',
  'source-group',
  'source-zero',
  'same-port',
  'split-horizon',
  'policy',
  'upcall-limited',
  'upcall-full',
  'upcall-timeout',
  'port-disabled',
  'no-port',
  'malformed',
  'link-closed',
  'link-full',
  'tap-write',
  'carriage-malformed',
  'fragment-timeout',
  'fragment-full',
  'fragment-mismatch',
  'oversize',
  'seal-invalid',
  'seal-replayed',
  'seal-epoch',
  'queue-early',
  'circuit-breaker',
] as const;

/** Offer or answer side of a link. */
export type LinkRole = 'offer' | 'answer';

/** One side's ICE and DTLS parameters. */
export interface LinkDescription {
  readonly ufrag: string;
  readonly pwd: string;
  /** sha-256, upper-case hex with colons. */
  readonly fingerprint: string;
  readonly setup: 'actpass' | 'active' | 'passive';
}

/** What native reports, in order. */
export type NativeEvent =
  | {readonly type: 'upcall'; readonly sw: SwitchId; readonly upcall: Upcall}
  | {readonly type: 'port-gone'; readonly port: PortId; readonly text: string}
  | {readonly type: 'link-local'; readonly link: PortId; readonly local: LinkDescription}
  | {readonly type: 'link-candidate'; readonly link: PortId; readonly candidate: string}
  | {readonly type: 'link-gathered'; readonly link: PortId}
  | {readonly type: 'link-up'; readonly link: PortId; readonly info: LinkInfo}
  | {readonly type: 'link-lost'; readonly link: PortId; readonly code: string; readonly text: string}
  /** The link's path is gone or soon will be, though the link is not lost yet. */
  | {readonly type: 'link-moved'; readonly link: PortId; readonly code: string; readonly text: string}
  | {readonly type: 'link-message'; readonly link: PortId; readonly message: Uint8Array}
  | {readonly type: 'stream-open'; readonly stream: number; readonly info: TextMap}
  | {readonly type: 'stream-data'; readonly stream: number; readonly data: Uint8Array}
  | {readonly type: 'stream-closed'; readonly stream: number; readonly code: string; readonly text: string}
  | {readonly type: 'ctl-request'; readonly connection: number; readonly request: string}
  | {readonly type: 'pbkdf2'; readonly request: number; readonly key: Uint8Array}
  | {readonly type: 'interfaces'}
  | {
      readonly type: 'srv';
      readonly request: number;
      readonly records: readonly SrvRecord[];
      /** No name server answered. */
      readonly error: {readonly code: string; readonly text: string} | undefined;
    }
  /** Records were lost before this one: read the state anew. */
  | {readonly type: 'gap'; readonly missed: number};

export interface LinkInfo {
  /** new, connecting, up or lost. */
  readonly state: string;
  readonly local: string;
  readonly remote: string;
  readonly localType: string;
  readonly remoteType: string;
  readonly carriage: string;
  readonly carriageWhy: string;
  readonly cipher: string;
  readonly datagramBytes: number;
  readonly rtpSent: number;
  readonly rtpReceived: number;
  readonly ssrcChanges: number;
  readonly silentMs: number;
  /** No interface has the local address any more. */
  readonly localGone: boolean;
  /** Of what was sent lately; undefined: too little to say. */
  readonly lossPermille: number | undefined;
  /** So much was lost for so long that all but TCP is held down (RFC 8084). */
  readonly throttled: boolean;
}

/** Rates in kbit/s, 0: no limit; `dscp`: 0-63. */
export interface LinkShape {
  readonly upKbit: number;
  readonly downKbit: number;
  readonly dscp: number;
}

/** Switches and their ports. */
export interface Datapath {
  openSwitch(): SwitchId;
  closeSwitch(sw: SwitchId): void;
  openTap(sw: SwitchId, name: string, mtuBytes: number): PortId;
  openMemory(sw: SwitchId, isLink: boolean): PortId;
  writeMemory(port: PortId, frame: Uint8Array): void;
  readMemory(port: PortId): Uint8Array | undefined;
  enablePort(port: PortId, on: boolean): void;
  /** While a link moves: `port` receives for `of` and gets no floods, and its rules lead to `of`, which stands for itself again. */
  standIn(port: PortId, of: PortId): void;
  closePort(port: PortId): void;
  portCounters(port: PortId): PortCounters;
  setRule(sw: SwitchId, mac: string, vlan: number, out: number): void;
  /** False when there was none. */
  deleteRule(sw: SwitchId, mac: string, vlan: number): boolean;
  flushRules(sw: SwitchId, port?: PortId): number;
  dumpRules(sw: SwitchId): RuleUse[];
  /** False when it had timed out. */
  finishUpcall(sw: SwitchId, id: number, out: number): boolean;
}

/** Links. */
export interface LinkPath {
  openLink(sw: SwitchId, role: LinkRole, servers: readonly string[]): PortId;
  setRemote(link: PortId, remote: LinkDescription): void;
  addCandidate(link: PortId, candidate: string): void;
  sendMessage(link: PortId, message: Uint8Array): void;
  /** Begins with the express carriage on a link that is up; `local` and `peer` are node ids. */
  startExpress(link: PortId, local: string, peer: string, generation: number): void;
  /** How all links of a switch share a line, those to come too; counts at once. */
  shapeLinks(sw: SwitchId, shape: LinkShape): void;
  linkInfo(link: PortId): LinkInfo;
  closeLink(link: PortId): void;
}

/** A failed native call: negated errno and native's sentence. */
export class NativeError extends Error {
  /** Positive errno. */
  readonly errno: number;
  /** The C function. */
  readonly call: string;

  constructor(call: string, errno: number, message: string) {
    super(message);
    this.name = 'NativeError';
    this.call = call;
    this.errno = errno;
  }
}
