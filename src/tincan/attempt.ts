// SPDX-License-Identifier: MIT
// One native link of a peer, from "open" on: how far it is, and what both sides have told each other about it so far.
//
//   gathering ── our description is signalled ──► checking ── native is up, hellos of both sides ──► joined
//      │ 5 s                                          │ 10 s, 12 s in all; hello 5 s after up

import {type Deadline, earliest, type Millis} from '../base/time.ts';
import type {LinkDescription, LinkInfo, LinkRole, PortId} from '../native/datapath.ts';
import {refuseCandidate} from './candidate.ts';
import {type ControlMessage, writeMessage} from './hello.ts';
import {shortId} from './identity.ts';
import {ATTEMPT_MS, CANDIDATES, CHECKING_MS, GATHERING_MS, HELLO_MS, RESEND_MS, RESENDS} from './limits.ts';
import type {LinkEffect, NodeId, OwnSignal, SignedDescription} from './types.ts';
import {otherVersion, PROTOCOL_VERSION} from './version.ts';
import type {Voice} from './voice.ts';

export interface AttemptStart {
  readonly key: string;
  readonly role: LinkRole;
  /** The offer's nonce. */
  readonly sid: string;
  /** The offer's generation. */
  readonly generation: number;
  readonly startedAt: Millis;
}

/** What an attempt needs of its link. */
export interface AttemptDeps {
  emit(effect: LinkEffect): void;
  readonly voice: Pick<Voice, 'say'>;
  isOverlay(address: string): boolean;
  log(level: 'debug', text: string): void;
}

/** What a hello says of this side. */
export interface HelloSettings {
  readonly self: {readonly id: NodeId};
  readonly carriage: 'auto' | 'srtp';
}

/** Why an attempt came to nothing. */
export interface Failure {
  readonly code: string;
  readonly text: string;
}

/** Keeps the order of native's calls and of signals right: description first, then candidates, each once, at most 32 a side. */
export class Attempt {
  readonly start: AttemptStart;
  /** Absent until native has opened it. */
  port: PortId | undefined;
  /** Native says it is up. */
  info: LinkInfo | undefined;
  /** Our hello went out. */
  saidHello = false;
  /** The peer's hello came. */
  greeted = false;
  /** Both sides can and want the express carriage. */
  express = false;
  /** The peer moves links without a break, and says on each when it takes frames. */
  canMove = false;
  /** The peer takes frames on it. */
  peerReady = false;
  /** The peer's, signed. */
  peerBoot = 0;
  readonly #deps: AttemptDeps;
  #deadline: Millis;
  #resendAt: Millis | undefined;
  #remote: LinkDescription | undefined;
  /** Our signed description; from then on the peer can know of the attempt. */
  #signed: SignedDescription | undefined;
  #resends = 0;
  readonly #local: string[] = [];
  readonly #remoteCandidates: string[] = [];

  constructor(deps: AttemptDeps, start: AttemptStart) {
    this.#deps = deps;
    this.start = start;
    this.#deadline = start.startedAt + GATHERING_MS;
  }

  get phase(): 'gathering' | 'checking' | 'joined' {
    if (!this.#signed) return 'gathering';
    return this.saidHello && this.greeted ? 'joined' : 'checking';
  }

  opened(port: PortId): void {
    this.port = port;
    this.#applyRemote();
  }

  /** The description of the peer's offer. */
  setOffer({description, boot}: SignedDescription): void {
    this.peerBoot = boot;
    this.#remote = description;
    this.#applyRemote();
  }

  /** The peer's answer to our offer, once. */
  setAnswer(answer: SignedDescription, now: Millis): void {
    this.#deadline = Math.min(this.start.startedAt + ATTEMPT_MS, now + CHECKING_MS);
    this.#resendAt = undefined;
    this.setOffer(answer);
  }

  /** Sends our description, then what candidates there are. */
  describe(signed: SignedDescription, now: Millis): void {
    const {startedAt, role} = this.start;
    const limit = startedAt + ATTEMPT_MS;
    this.#deadline = role === 'answer' ? Math.min(limit, now + CHECKING_MS) : limit;
    this.#resendAt = now + RESEND_MS;
    this.#signed = signed;
    this.#send();
  }

  /** Sends description and candidates again, a few times at most: the peer ignores what it has. */
  resend(): void {
    if (this.#signed && this.#resends++ < RESENDS) this.#send();
  }

  /** Native is up: nothing needs to be sent again. */
  handleUp(info: LinkInfo): void {
    this.info = info;
    this.#resendAt = undefined;
  }

  /** Sends our hello; the peer's, and that it is ready, is waited for. */
  sayHello({self, carriage}: HelloSettings, now: Millis): void {
    this.saidHello = true;
    this.#deadline = now + HELLO_MS;
    const {generation} = this.start;
    const carriages = carriage === 'srtp' ? {} : {carriages: ['express']};
    this.send({type: 'hello', version: PROTOCOL_VERSION, id: self.id, generation, ...carriages, moves: true});
  }

  /** The peer's hello; only the first counts. Returns what is wrong with it. */
  handleHello(hello: ControlMessage & {type: 'hello'}, peer: NodeId, {carriage}: HelloSettings): Failure | undefined {
    if (this.greeted) return undefined;
    const {version, id, generation, carriages, moves} = hello;
    if (version !== PROTOCOL_VERSION) {
      const {code, message: text} = otherVersion(version);
      return {code, text};
    }
    if (id !== peer || generation !== this.start.generation) {
      const text = `Cannot use the link: its hello is of node ${shortId(id)}, generation ${generation}`;
      return {code: 'wrong-hello', text};
    }
    this.greeted = true;
    this.express = carriages?.includes('express') === true && carriage !== 'srtp';
    this.canMove = moves === true;
    return undefined;
  }

  /** On the control channel. */
  send(message: ControlMessage): void {
    const {port} = this;
    if (port !== undefined) this.#deps.emit({type: 'send-message', port, message: writeMessage(message)});
  }

  /** Sends again what is due. Returns why its time is over, if it is. */
  handleTimeout(now: Millis): Failure | undefined {
    if (this.#deadline <= now) return this.#late();
    if (this.#resendAt !== undefined && this.#resendAt <= now) {
      this.#resendAt = now + RESEND_MS;
      this.resend();
    }
    return undefined;
  }

  /** When it ends or sends again by itself; `what` names the link. */
  nextTimeout(what: string): Deadline | undefined {
    const resend = this.#resendAt === undefined ? undefined : {at: this.#resendAt, reason: `${what} description again`};
    return earliest({at: this.#deadline, reason: `${what} ${this.phase} limit`}, resend);
  }

  /** A candidate of ours: signalled unless policy refuses it. */
  addLocal(line: string): void {
    if (!this.#admit(this.#local, line, 'local')) return;
    if (this.#signed) this.#sendCandidate(line);
  }

  /** A candidate of the peer: kept until native can take it. */
  addRemote(line: string): void {
    if (!this.#admit(this.#remoteCandidates, line, 'remote')) return;
    if (this.#remote && this.port !== undefined)
      this.#deps.emit({type: 'add-candidate', port: this.port, candidate: line});
  }

  get hasRemote(): boolean {
    return this.#remote !== undefined;
  }

  /** An offer of ours that the peer has not answered. */
  get isOpenOffer(): boolean {
    return this.start.role === 'offer' && !this.#remote;
  }

  /** Whether the peer can know of it, so that it is worth telling it the end. */
  get wasSignalled(): boolean {
    return this.#signed !== undefined || this.start.role === 'answer';
  }

  /** Whether a signal of ours that was not delivered is the end of it: an unanswered offer, or an answer before "up". */
  isEndedBy(lost: OwnSignal): boolean {
    return lost.type === this.start.role && !this.info && !(lost.type === 'offer' && this.hasRemote);
  }

  #late(): Failure {
    if (!this.#signed) return {code: 'gathering-timeout', text: 'Native did not describe the link within 5 s'};
    if (this.greeted && this.saidHello) {
      return {code: 'ready-timeout', text: 'The peer did not say within 5 s that it takes frames on the link'};
    }
    if (this.info) return {code: 'hello-timeout', text: 'The peer did not say hello on the link within 5 s'};
    if (this.isOpenOffer) return {code: 'no-answer', text: 'The peer did not answer the offer within 12 s'};
    return {code: 'checking-timeout', text: 'No path to the peer worked within 10 s'};
  }

  #applyRemote(): void {
    const {port} = this;
    if (port === undefined || !this.#remote) return;
    this.#deps.emit({type: 'set-remote', port, remote: this.#remote});
    for (const candidate of this.#remoteCandidates) this.#deps.emit({type: 'add-candidate', port, candidate});
  }

  #send(): void {
    const {role, sid} = this.start;
    if (this.#signed) this.#deps.voice.say({type: role, sid, signed: this.#signed});
    for (const candidate of this.#local) this.#sendCandidate(candidate);
  }

  #sendCandidate(candidate: string): void {
    this.#deps.voice.say({type: 'candidate', sid: this.start.sid, candidate});
  }

  #admit(list: string[], line: string, side: string): boolean {
    if (list.includes(line)) return false;
    const reason =
      list.length >= CANDIDATES ? 'too many' : refuseCandidate(line, (address) => this.#deps.isOverlay(address));
    if (reason) this.#deps.log('debug', `${side} candidate dropped (${reason})`);
    else list.push(line);
    return !reason;
  }
}
