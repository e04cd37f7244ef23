// SPDX-License-Identifier: MIT
// One node of the simulation: its identity, its link manager, and what native would have open for it.

import {createHash, generateKeyPairSync, type KeyObject, sign, verify, createPublicKey} from 'node:crypto';
import type {LinkDescription, LinkInfo} from '../../src/native/datapath.ts';
import {nodeId} from '../../src/tincan/identity.ts';
import type {Signal} from '../../src/tincan/types.ts';
import type {LinkManager, LinkManagerDeps} from '../../src/tincan/link-manager.ts';

/** mulberry32: small and good enough to shuffle events. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** One end of a link. */
export interface Port {
  readonly number: number;
  readonly node: SimNode;
  readonly local: LinkDescription;
  remote: LinkDescription | undefined;
  candidates: number;
  up: boolean;
  /** Reported lost; only closing is left. */
  dead: boolean;
  /** Its node's address when it was opened: no other is told to the peer. */
  readonly address: number;
  /** It came up by the relay. */
  relayed: boolean;
  /** When something last came. */
  heardAt: number;
}

const PREFIX = Uint8Array.from([0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]);

export const sha256 = (data: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(data).digest());
export const verifyEd25519: LinkManagerDeps['verify'] = (key, data, signature) => {
  const der = Buffer.concat([PREFIX, key]);
  return verify(null, data, createPublicKey({key: der, format: 'der', type: 'spki'}), signature);
};

/** A key pair as the cores are handed it. */
export function newIdentity(): {id: string; publicKey: Uint8Array; sign: (data: Uint8Array) => Uint8Array} {
  const {publicKey, privateKey} = generateKeyPairSync('ed25519');
  const raw = new Uint8Array((publicKey as KeyObject).export({format: 'der', type: 'spki'})).slice(12);
  return {id: nodeId(raw, sha256), publicKey: raw, sign: (data) => new Uint8Array(sign(null, data, privateKey))};
}

export class SimNode {
  readonly identity = newIdentity();
  readonly name: string;
  readonly jid: string;
  boot = 1;
  /** Of the protocol; nodes of different ones read nothing but that of each other's offers and answers. */
  version = 1;
  alive = true;
  /** Its XMPP stream works. */
  online = false;
  manager!: LinkManager;
  /** Native's links of this node, by number. */
  readonly ports = new Map<number, Port>();
  /** Ports that carry frames. */
  readonly carrying = new Set<number>();
  /** Ports that take frames but send none: a new link, before the peer is ready, and an old one, a little after. */
  readonly taking = new Set<number>();
  /** A router's WAN address, as a number that grows. */
  address = 1;
  opened = 0;
  closed = 0;
  wakeups = 0;
  lastWake = -1;

  constructor(name: string) {
    this.name = name;
    this.jid = `${name}@sim/ipop-${this.identity.id.slice(0, 16)}`;
  }

  get id(): string {
    return this.identity.id;
  }
}

/** A link that is up, over SRTP. */
export const UP: LinkInfo = {
  state: 'up',
  local: '',
  remote: '',
  localType: 'host',
  remoteType: 'srflx',
  carriage: 'srtp',
  carriageWhy: '',
  cipher: '',
  datagramBytes: 0,
  rtpSent: 0,
  rtpReceived: 0,
  ssrcChanges: 0,
  silentMs: 0,
  localGone: false,
  lossPermille: undefined,
  throttled: false,
};

/** What native says of a link. */
export function infoOf(port: Port | undefined, now: number): LinkInfo | undefined {
  if (!port) return undefined;
  const {node, address, relayed, heardAt} = port;
  const remoteType = relayed ? 'relay' : 'srflx';
  const path = {local: `${node.name}:${address}`, remote: 'there:1', remoteType};
  return {...UP, ...path, localGone: address !== node.address, silentMs: now - heardAt};
}

/** Another version's offers and answers are not read. */
export function asReadBy(reader: SimNode, writer: SimNode, signal: Signal): Signal {
  const isDescription = signal.type === 'offer' || signal.type === 'answer';
  if (!isDescription || reader.version === writer.version) return signal;
  return {type: 'unsupported', sid: signal.sid, version: writer.version};
}
