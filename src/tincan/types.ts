// SPDX-License-Identifier: MIT
// Inputs and effects of link management. Signals are what peers exchange over XMPP (docs/PROTOCOL.md, "Signalling").

import type {LinkDescription, LinkRole, PortId} from '../native/datapath.ts';

/** 40 lower-case hex digits: the first 160 bits of SHA-256 of a node's Ed25519 public key. */
export type NodeId = string;

/** What both sides sign: one link's description, bound to everything that could be confused with it. */
export interface SignedDescription {
  readonly role: LinkRole;
  /** Who sends it. */
  readonly from: NodeId;
  readonly to: NodeId;
  readonly network: string;
  /** Higher after each start of the sender. */
  readonly boot: number;
  /** The offerer's count of tries with this peer since its boot. The answer repeats it. */
  readonly generation: number;
  /** 16 random bytes of the offerer, hex. The answer repeats it. */
  readonly nonce: string;
  readonly description: LinkDescription;
  /** 32 bytes, hex. */
  readonly publicKey: string;
  /** The sender's `option name`. */
  readonly name: string;
  /** 64 bytes, hex, over the byte string of docs/PROTOCOL.md. */
  readonly signature: string;
}

export type Signal =
  | {readonly type: 'offer'; readonly sid: string; readonly signed: SignedDescription}
  | {readonly type: 'answer'; readonly sid: string; readonly signed: SignedDescription}
  /** An offer or answer of another version of the protocol: received only. */
  | {readonly type: 'unsupported'; readonly sid: string; readonly version: number}
  | {readonly type: 'candidate'; readonly sid: string; readonly candidate: string}
  | {readonly type: 'terminate'; readonly sid: string; readonly reason: string; readonly text: string};

/** What we send. */
export type OwnSignal = Exclude<Signal, {readonly type: 'unsupported'}>;

/** What link management wants done, in order. `key` names a link before it has a port: the peer's id and the generation. */
export type LinkEffect =
  | {readonly type: 'open'; readonly key: string; readonly role: LinkRole; readonly servers: readonly string[]}
  | {readonly type: 'set-remote'; readonly port: PortId; readonly remote: LinkDescription}
  | {readonly type: 'add-candidate'; readonly port: PortId; readonly candidate: string}
  | {readonly type: 'send-message'; readonly port: PortId; readonly message: Uint8Array}
  /** Both sides can and want it: frames go by express as soon as it works. */
  | {readonly type: 'express'; readonly port: PortId; readonly peer: NodeId; readonly generation: number}
  | {readonly type: 'close'; readonly port: PortId}
  | {readonly type: 'signal'; readonly to: string; readonly signal: OwnSignal}
  /** The link carries frames from now on: enable its port, tell the switch. */
  | {readonly type: 'port-up'; readonly peer: NodeId; readonly port: PortId}
  /** It no longer does: tell the switch at once. */
  | {readonly type: 'port-down'; readonly peer: NodeId; readonly port: PortId}
  /** Another link to the peer can carry, but does not yet: frames are taken on it as if they came in at `of`. */
  | {readonly type: 'port-beside'; readonly port: PortId; readonly of: PortId}
  /** Frames go by `to` from now on, and are still taken at `from`, until that is closed. */
  | {readonly type: 'port-replaced'; readonly peer: NodeId; readonly from: PortId; readonly to: PortId}
  /** A path was lost: the XMPP stream may be dead too, so test it now. */
  | {readonly type: 'probe-session'};
