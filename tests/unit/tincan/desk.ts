// SPDX-License-Identifier: MIT
// One link manager on a desk: the test plays XMPP, native and the peer.

import {utf8} from '../../../src/base/bytes.ts';
import {IpopError} from '../../../src/base/errors.ts';
import type {LinkInfo} from '../../../src/native/datapath.ts';
import {signDescription} from '../../../src/tincan/identity.ts';
import {LinkManager, type LinkManagerOptions} from '../../../src/tincan/link-manager.ts';
import type {LinkEffect, Signal, SignedDescription} from '../../../src/tincan/types.ts';
import {UP} from '../../sim/node.ts';
import {newIdentity, sha256, verifyEd25519} from '../../sim/world.ts';
import {type Identity, offerOf} from './signed.ts';

export const [low, high] = [newIdentity(), newIdentity()].sort((a, b) => (a.id < b.id ? -1 : 1)) as [
  Identity,
  Identity,
];
export const INFO: LinkInfo = {...UP, local: '192.0.2.2:5000', remote: '198.51.100.7:41022'};
export const LOCAL = offerOf(low, high.id).description;
export const JID = 'peer@example.org/ipop-1';
export const HOST = 'candidate:1 1 UDP 2122317823 192.0.2.2 5000 typ host';

/** One manager, whose peer and native half the test plays. */
export class Desk {
  readonly manager: LinkManager;
  /** What native says of a link when it is asked. */
  readonly infos = new Map<number, LinkInfo>();
  readonly log: string[] = [];
  now = 0;
  sid = '';
  sent!: SignedDescription;
  readonly #peer: Identity;
  readonly #self: Identity;
  #seen: LinkEffect[] = [];
  #key = '';

  constructor(self: Identity, peer: Identity, options: LinkManagerOptions = {}, random = () => 0.9) {
    this.#self = self;
    this.#peer = peer;
    let bytes = 0;
    this.manager = new LinkManager(
      {
        self: {id: self.id, name: 'office', publicKey: self.publicKey, boot: 1_700_000_000},
        network: 'home@rooms.example.org',
        servers: {stun: [], turn: []},
        carriage: 'auto',
        sign: self.sign,
        verify: verifyEd25519,
        sha256,
        randomBytes: (length) => Uint8Array.from({length}, () => bytes++ & 255),
        random,
        infoOf: (port) => this.infos.get(port),
        isOverlay: (address) => address.startsWith('10.9.'),
        log: (_level, text) => void this.log.push(text),
      },
      options,
    );
  }

  get peer() {
    return this.manager.peers(this.now)[0]!;
  }

  get state() {
    return this.peer.state;
  }

  online(now: number): void {
    this.now = now;
    this.manager.handleMemberOnline({id: this.#peer.id, jid: JID}, now);
  }

  gathering(port: number, now: number): void {
    this.online(now);
    this.opened(port, now);
  }

  offered(port: number, now: number): void {
    this.gathering(port, now);
    this.manager.handleLocal(port, LOCAL, now);
    this.take();
  }

  checking(port: number, now: number): void {
    this.offered(port, now);
    const answer = this.answer();
    this.signal({type: 'answer', sid: answer.nonce, signed: answer}, now);
    this.take();
  }

  up(port: number, now: number): void {
    this.checking(port, now);
    this.manager.handleUp(port, INFO, now);
    this.manager.handleMessage(port, this.hello(), now);
    this.take();
  }

  opened(port: number, now: number): void {
    this.#look();
    this.manager.handleOpened(this.#key, port, now);
  }

  /** The offer in progress is undeliverable, and the next one is made. */
  failOnce(): void {
    this.manager.handleSignalFailed(
      JID,
      {type: 'offer', sid: this.sid, signed: this.sent},
      new IpopError('x', 'x'),
      this.now,
    );
    if (this.peer.attempts === 4) return;
    this.runUntil(this.now + 4_000);
    this.opened(this.now, this.now);
    this.manager.handleLocal(this.now, LOCAL, this.now);
    this.take();
  }

  runUntil(end: number): void {
    for (let next = this.manager.nextTimeout(); next && next.at <= end; next = this.manager.nextTimeout()) {
      this.now = Math.max(this.now, next.at);
      this.manager.handleTimeout(this.now);
      if (this.peer.state === 'gathering') break;
    }
    this.now = end;
  }

  signal(signal: Signal, now: number): void {
    this.now = now;
    this.manager.handleSignal(JID, signal, now);
  }

  hello(changes: object = {}): Uint8Array {
    return utf8(
      JSON.stringify({type: 'hello', version: 1, id: this.#peer.id, generation: this.sent.generation, ...changes}),
    );
  }

  offer(changes: Partial<SignedDescription>): SignedDescription {
    return offerOf(this.#peer, this.#self.id, changes);
  }

  answer(): SignedDescription {
    const {nonce, generation} = this.sent;
    const description = {...this.offer({}).description, setup: 'active' as const};
    const {signature: _, ...unsigned} = this.offer({role: 'answer', nonce, generation, description});
    return signDescription(unsigned, this.#peer.sign);
  }

  take(): LinkEffect[] {
    this.#look();
    return this.#seen.splice(0);
  }

  /** Notes what our own offers were. */
  #look(): void {
    for (const effect of this.manager.drain()) {
      this.#seen.push(effect);
      if (effect.type === 'open') this.#key = effect.key;
      if (effect.type !== 'signal' || effect.signal.type !== 'offer') continue;
      this.sid = effect.signal.sid;
      this.sent = effect.signal.signed;
    }
  }
}

export function brief(effect: LinkEffect): string {
  if (effect.type === 'open') return `open ${effect.role}`;
  if (effect.type !== 'signal') return effect.type;
  const {signal} = effect;
  return signal.type === 'terminate' ? `signal terminate ${signal.reason}` : `signal ${signal.type}`;
}
