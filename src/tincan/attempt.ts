// SPDX-License-Identifier: MIT
// One native link of a peer, from "open" on: what both sides have told each other about it so far.

import type {Millis} from '../base/time.ts';
import type {LinkDescription, LinkInfo, LinkRole, PortId} from '../native/datapath.ts';
import {refuseCandidate} from './candidate.ts';
import {CANDIDATES, RESENDS} from './limits.ts';
import type {LinkEffect, OwnSignal, SignedDescription} from './types.ts';

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
  signal(signal: OwnSignal): void;
  isOverlay(address: string): boolean;
  log(level: 'debug', text: string): void;
}

/** Keeps the order of native's calls and of signals right: description first, then candidates, each once, at most 32 a side. */
export class Attempt {
  readonly start: AttemptStart;
  /** Absent until native has opened it. */
  port: PortId | undefined;
  /** Native says it is up. */
  info: LinkInfo | undefined;
  /** The peer's hello came. */
  greeted = false;
  /** Both sides can and want the express carriage. */
  express = false;
  readonly #deps: AttemptDeps;
  #remote: LinkDescription | undefined;
  /** Our signed description; from then on the peer can know of the attempt. */
  #signed: SignedDescription | undefined;
  #resends = 0;
  readonly #local: string[] = [];
  readonly #remoteCandidates: string[] = [];

  constructor(deps: AttemptDeps, start: AttemptStart) {
    this.#deps = deps;
    this.start = start;
  }

  opened(port: PortId): void {
    this.port = port;
    this.#applyRemote();
  }

  /** The peer's description, once. */
  setRemote(remote: LinkDescription): void {
    this.#remote = remote;
    this.#applyRemote();
  }

  /** Sends our description, then what candidates there are. */
  describe(signed: SignedDescription): void {
    this.#signed = signed;
    this.#send();
  }

  /** Sends description and candidates again, a few times at most: the peer ignores what it has. */
  resend(): void {
    if (this.#signed && this.#resends++ < RESENDS) this.#send();
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

  #applyRemote(): void {
    const {port} = this;
    if (port === undefined || !this.#remote) return;
    this.#deps.emit({type: 'set-remote', port, remote: this.#remote});
    for (const candidate of this.#remoteCandidates) this.#deps.emit({type: 'add-candidate', port, candidate});
  }

  #send(): void {
    const {role, sid} = this.start;
    if (this.#signed) this.#deps.signal({type: role, sid, signed: this.#signed});
    for (const candidate of this.#local) this.#sendCandidate(candidate);
  }

  #sendCandidate(candidate: string): void {
    this.#deps.signal({type: 'candidate', sid: this.start.sid, candidate});
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
