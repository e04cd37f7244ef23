// SPDX-License-Identifier: MIT
// One peer's link.
//
//            turn came: open          description signalled         hellos of both sides
//     idle ───────────────► gathering ─────────────► checking ───────────────────► up
//     ▲  ▲   an offer came      │ 5 s                  │ 10 s, 12 s in all,         │ lost, bye, terminate
//     │  │   (from any state)   │ open failed          │ hello 5 s, terminate       │
//     │  │                      └────────────────┬─────┴────────────────────────────┘
//     │  └──────── the peer is not present ──────┤
//     └───────────────── time is up ───────── backoff          stop, from any state ──► closed (final)
//
// idle: waits for its turn, or, when the peer is not present, for the peer (the only state without a deadline).

import {IpopError} from '../base/errors.ts';
import type {Deadline, Millis} from '../base/time.ts';
import type {LinkDescription, LinkInfo, PortId} from '../native/datapath.ts';
import type {LinkStateName} from '../status/types.ts';
import {Attempt, type AttemptStart} from './attempt.ts';
import {backoffMs} from './backoff.ts';
import {Budget} from './budget.ts';
import {parseMessage, writeMessage} from './hello.ts';
import {checkDescription, type Generation, REFUSAL_CODES, shortId} from './identity.ts';
import {
  ATTEMPT_MS,
  CANDIDATES,
  CHECKING_MS,
  GATHERING_MS,
  HELLO_MS,
  OFFER_WAIT_MS,
  OFFERS_TAKEN_BURST,
  OFFERS_TAKEN_EVERY_MS,
  REFUSAL_SHOWN_MS,
  RESEND_MS,
  SETTLED_MS,
  VERSION_BACKOFF_MS,
} from './limits.ts';
import {deadlineOf, levelOf, type State} from './link-state.ts';
import {type LinkContext, newNonce, signOwn} from './link-context.ts';
import {chooseServers} from './servers.ts';
import type {NodeId, OwnSignal, Signal, SignedDescription} from './types.ts';
import {otherVersion, PROTOCOL_VERSION, refusedVersion, SPEAKS, UNSUPPORTED_VERSION} from './version.ts';

export interface LinkError {
  readonly code: string;
  readonly text: string;
  readonly at: Millis;
}

export class Link {
  readonly id: NodeId;
  /** Signed by the peer; empty until its first valid description. */
  name = '';
  /** Full JID, the last one known. */
  jid = '';
  present = false;
  /** Failed tries in a row. */
  attempts = 0;
  since: Millis;
  /** Last count of tries that was used in an offer. */
  generation: number;
  readonly #context: LinkContext;
  #state: State = {name: 'idle', dueAt: undefined};
  /** The last offer taken from the peer. */
  #taken: (Generation & {readonly nonce: string}) | undefined;
  readonly #offersTaken: Budget;
  #error: LinkError | undefined;
  #opens = 0;
  /** Candidates that overtook their offer: of the last such session only. */
  #early: {readonly sid: string; readonly candidates: string[]} = {sid: '', candidates: []};

  /** `generation`: offers count on from here. */
  constructor(context: LinkContext, id: NodeId, generation: number, now: Millis) {
    this.#context = context;
    this.id = id;
    this.generation = generation;
    this.since = now;
    this.#offersTaken = new Budget(OFFERS_TAKEN_BURST, OFFERS_TAKEN_EVERY_MS, now);
  }

  // ---- the peer's presence

  /** It entered the room, or its stream came back: tries at once. */
  handleOnline(jid: string, now: Millis): void {
    const moved = this.jid !== jid;
    this.jid = jid;
    this.present = true;
    const state = this.#state;
    if (state.name === 'closed' || state.name === 'up') return;
    this.attempts = 0;
    if (state.name === 'idle' || state.name === 'backoff') return this.#wait('peer is online', now);
    if (!state.attempt.isOpenOffer && !moved) return;
    if (state.attempt.hasRemote && state.attempt.start.role === 'offer') return;
    if (!moved) return state.attempt.resend();
    // What was sent went to its former stream.
    this.#discard();
    this.#wait('peer has a new address', now);
  }

  /** It left. A link that is up stays: only its XMPP may be down. */
  handleOffline(now: Millis): void {
    this.present = false;
    const {name} = this.#state;
    if (name === 'idle' || name === 'backoff')
      this.#transition({name: 'idle', dueAt: undefined}, 'peer is offline', now);
  }

  /** Local addresses changed: a new try may work, so it comes within half a second. */
  handleInterfacesChanged(now: Millis): void {
    if (this.#state.name !== 'backoff' || this.#error?.code === UNSUPPORTED_VERSION) return;
    const until = Math.min(this.#state.until, now + backoffMs(1, this.#context.random));
    this.#state = {name: 'backoff', until};
  }

  // ---- signals

  handleSignal(signal: Signal, now: Millis): void {
    switch (signal.type) {
      case 'offer':
        return this.#handleOffer(signal.signed, now);
      case 'answer':
        return this.#handleAnswer(signal.sid, signal.signed, now);
      case 'candidate': {
        const attempt = this.#current(signal.sid);
        if (attempt) attempt.addRemote(signal.candidate);
        else this.#keepEarly(signal.sid, signal.candidate);
        return;
      }
      case 'unsupported':
        return this.#handleUnsupported(signal.sid, otherVersion(signal.version), now);
      case 'terminate':
        if (!this.#current(signal.sid)) return;
        if (signal.reason === UNSUPPORTED_VERSION) {
          const {code, message} = refusedVersion(signal.text);
          return this.#fail(code, message, now, {tellPeer: false, probe: false});
        }
        return this.#fail('ended-by-peer', `The peer ended the try: ${signal.text || signal.reason}`, now, {
          tellPeer: false,
          probe: false,
        });
    }
  }

  /** Our signal was not delivered. Only an unanswered offer, or an answer before "up", is worth nothing without it. */
  handleSignalFailed(signal: OwnSignal, error: IpopError, now: Millis): void {
    const state = this.#state;
    if (state.name !== 'checking' || state.attempt.start.sid !== signal.sid) return;
    // Too much is on its way already; it is sent again.
    if (error.code === 'busy') return;
    const {attempt} = state;
    if (signal.type !== attempt.start.role || attempt.info || (signal.type === 'offer' && attempt.hasRemote)) return;
    this.#fail(error.code, `Cannot reach the peer over XMPP: ${error.message}`, now, {tellPeer: false});
  }

  // ---- what native reports. False: not about the attempt there is.

  handleOpened(key: string, port: PortId): boolean {
    const attempt = this.#attempt();
    if (attempt?.start.key !== key || attempt.port !== undefined) return false;
    attempt.opened(port);
    return true;
  }

  handleOpenFailed(key: string, error: IpopError, now: Millis): void {
    if (this.#attempt()?.start.key === key) this.#fail(error.code, error.message, now);
  }

  handleLocal(description: LinkDescription, now: Millis): void {
    if (this.#state.name !== 'gathering') return;
    const {attempt} = this.#state;
    const {startedAt, role} = attempt.start;
    const deadline = role === 'answer' ? Math.min(startedAt + ATTEMPT_MS, now + CHECKING_MS) : startedAt + ATTEMPT_MS;
    const resendAt = now + RESEND_MS;
    this.#transition({name: 'checking', attempt, deadline, resendAt}, `${role} sent`, now);
    attempt.describe(signOwn(this.#context, this.id, attempt.start, description));
  }

  handleLocalCandidate(line: string): void {
    this.#attempt()?.addLocal(line);
  }

  handleUp(info: LinkInfo, now: Millis): void {
    const state = this.#state;
    if (state.name === 'up') this.#state = {...state, info};
    if (state.name !== 'checking' || state.attempt.port === undefined) return;
    const {attempt} = state;
    const {id, port} = {id: this.#context.self.id, port: state.attempt.port};
    attempt.info = info;
    const carriages = this.#context.carriage === 'srtp' ? {} : {carriages: ['express']};
    const hello = writeMessage({
      type: 'hello',
      version: PROTOCOL_VERSION,
      id,
      generation: attempt.start.generation,
      ...carriages,
    });
    this.#context.emit({type: 'send-message', port, message: hello});
    this.#state = {...state, deadline: now + HELLO_MS, resendAt: undefined};
    this.#upWhenGreeted(now);
  }

  handleMessage(bytes: Uint8Array, now: Millis): void {
    const attempt = this.#attempt();
    const message = parseMessage(bytes);
    if (!attempt || !message) return this.#log('debug', `malformed control message of ${bytes.length} bytes ignored`);
    if (message.type === 'bye') {
      return this.#fail('bye', `The peer closed the link: ${message.reason}`, now, {tellPeer: false, probe: false});
    }
    if (message.type !== 'hello' || attempt.greeted) return;
    const {version, id, generation} = message;
    if (version !== PROTOCOL_VERSION) {
      const {code, message: text} = otherVersion(version);
      return this.#fail(code, text, now);
    }
    if (id !== this.id || generation !== attempt.start.generation) {
      const text = `Cannot use the link: its hello is of node ${shortId(id)}, generation ${generation}`;
      return this.#fail('wrong-hello', text, now);
    }
    attempt.greeted = true;
    attempt.express = message.carriages?.includes('express') === true && this.#context.carriage !== 'srtp';
    this.#upWhenGreeted(now);
  }

  handleLost(code: string, text: string, now: Millis): void {
    this.#fail(code, text, now);
  }

  // ---- time

  handleTimeout(now: Millis): void {
    const state = this.#state;
    switch (state.name) {
      case 'gathering':
        if (state.deadline <= now) this.#fail('gathering-timeout', 'Native did not describe the link within 5 s', now);
        return;
      case 'checking':
        if (state.deadline <= now) return this.#failChecking(state.attempt, now);
        if (state.resendAt === undefined || state.resendAt > now) return;
        this.#state = {...state, resendAt: now + RESEND_MS};
        return state.attempt.resend();
      case 'up':
        if (state.settledAt === undefined || state.settledAt > now) return;
        this.attempts = 0;
        this.#state = {...state, settledAt: undefined};
        return;
      case 'backoff':
        if (state.until <= now) this.#wait('back-off is over', now);
        return;
      case 'idle':
      case 'closed':
    }
  }

  /** Of its own states; an idle link's turn is the manager's to give (`dueAt`). */
  nextTimeout(): Deadline | undefined {
    return deadlineOf(this.#state, `link ${shortId(this.id)}`);
  }

  // ---- what the manager asks and wants

  get state(): LinkStateName {
    return this.#state.name;
  }

  /** When it may offer; undefined: it does not wait for that. */
  get dueAt(): Millis | undefined {
    return this.#state.name === 'idle' ? this.#state.dueAt : undefined;
  }

  /** Role of the attempt in progress (not up yet). */
  get trying(): 'offer' | 'answer' | undefined {
    const {name} = this.#state;
    return name === 'gathering' || name === 'checking' ? this.#attempt()?.start.role : undefined;
  }

  get info(): LinkInfo | undefined {
    return this.#state.name === 'up' ? this.#state.info : undefined;
  }

  get port(): PortId | undefined {
    return this.#attempt()?.port;
  }

  /** When the next try comes. */
  get retryAt(): Millis | undefined {
    return this.#state.name === 'backoff' ? this.#state.until : this.dueAt;
  }

  hasSession(sid: string): boolean {
    return this.#current(sid) !== undefined;
  }

  /** Last failure; while up only a refused signature of the last 10 minutes. */
  error(now: Millis): LinkError | undefined {
    const error = this.#error;
    if (this.#state.name !== 'up' || !error) return error;
    return REFUSAL_CODES.includes(error.code) && now - error.at < REFUSAL_SHOWN_MS ? error : undefined;
  }

  /** Its turn has come: opens a link and offers it. */
  offer(now: Millis): void {
    this.generation++;
    this.#begin('offer', newNonce(this.#context), this.generation, now);
  }

  /** Says goodbye and closes. Final. */
  stop(now: Millis): void {
    const attempt = this.#attempt();
    if (this.#state.name === 'up' && attempt?.port !== undefined) {
      const message = writeMessage({type: 'bye', reason: 'stopping'});
      this.#context.emit({type: 'send-message', port: attempt.port, message});
    }
    this.#discard();
    // Said over XMPP too: closing may overtake the bye.
    if (attempt?.wasSignalled) this.#refuse(attempt.start.sid, 'stopping', 'the node stops');
    this.#transition({name: 'closed'}, 'stopping', now);
  }

  // ---- private

  #handleOffer(signed: SignedDescription, now: Millis): void {
    const {self, network} = this.#context;
    const current = this.#current(signed.nonce);
    // Sent again because our answer was late or lost.
    if (current?.start.role === 'answer') return this.#state.name === 'checking' ? current.resend() : undefined;
    // Both come from delays, not from somebody who tampers: they are no refusals for people to look at.
    if (!this.present) return this.#refuse(signed.nonce, 'unknown-peer', 'not seen in the room');
    if (signed.nonce === this.#taken?.nonce) return this.#refuse(signed.nonce, 'ended', 'the try is over');
    try {
      checkDescription(signed, {self: self.id, sender: this.id, network, last: this.#taken}, this.#context);
    } catch (error) {
      if (!(error instanceof IpopError)) throw error;
      return this.#refuseWith(signed.nonce, error, now);
    }
    // Glare: the smaller id's offer stands and is sent again until it is answered.
    if (this.#attempt()?.isOpenOffer && self.id < this.id) return this.#log('debug', 'offers crossed, ours stands');
    if (!this.trying && !this.#context.mayAnswer()) {
      return this.#refuse(signed.nonce, 'busy', 'too many links are being set up, try again');
    }
    if (!this.#offersTaken.take(now)) return this.#refuse(signed.nonce, 'busy', 'too many offers, try again later');
    this.#taken = {boot: signed.boot, generation: signed.generation, nonce: signed.nonce};
    this.name = signed.name;
    this.#discard();
    this.#begin('answer', signed.nonce, signed.generation, now);
    this.#attempt()?.setRemote(signed.description);
    if (this.#early.sid === signed.nonce) for (const line of this.#early.candidates) this.#attempt()?.addRemote(line);
  }

  #handleAnswer(sid: string, signed: SignedDescription, now: Millis): void {
    const state = this.#state;
    const attempt = this.#current(sid);
    if (!attempt || attempt.start.role !== 'offer') return this.#refuse(sid, 'unknown-session', 'no such session');
    if (state.name !== 'checking' || attempt.hasRemote) return;
    const {self, network} = this.#context;
    const offer = {nonce: sid, generation: attempt.start.generation};
    try {
      checkDescription(signed, {self: self.id, sender: this.id, network, offer}, this.#context);
    } catch (error) {
      if (!(error instanceof IpopError)) throw error;
      this.#log('warning', error.message);
      return this.#fail(error.code, error.message, now);
    }
    this.name = signed.name;
    const deadline = Math.min(attempt.start.startedAt + ATTEMPT_MS, now + CHECKING_MS);
    this.#state = {...state, deadline, resendAt: undefined};
    attempt.setRemote(signed.description);
  }

  /** What it says cannot be read, let alone checked: a link that is up is not touched. */
  #handleUnsupported(sid: string, error: IpopError, now: Millis): void {
    if (this.#current(sid)) return this.#fail(error.code, error.message, now);
    if (!this.present) return this.#refuse(sid, 'unknown-peer', 'not seen in the room');
    if (!this.#offersTaken.take(now)) return this.#refuse(sid, 'busy', 'too many offers, try again later');
    this.#refuseWith(sid, error, now);
    const {name} = this.#state;
    if (name === 'idle' || name === 'backoff')
      this.#transition({name: 'backoff', until: now + VERSION_BACKOFF_MS}, error.message, now);
  }

  #begin(role: AttemptStart['role'], sid: string, generation: number, now: Millis): void {
    const {isOverlay, emit, servers} = this.#context;
    this.#opens++;
    const key = `${this.id}/${this.#opens}`;
    const deps = {
      isOverlay,
      emit,
      signal: (signal: OwnSignal) => this.#signal(signal),
      log: (level: 'debug', text: string) => this.#log(level, text),
    };
    const attempt = new Attempt(deps, {key, role, sid, generation, startedAt: now});
    this.#transition({name: 'gathering', attempt, deadline: now + GATHERING_MS}, role, now);
    emit({type: 'open', key, role, servers: chooseServers(servers, this.#opens)});
  }

  #upWhenGreeted(now: Millis): void {
    const state = this.#state;
    if (state.name !== 'checking' || !state.attempt.greeted) return;
    const {attempt} = state;
    const {info, port} = attempt;
    if (!info || port === undefined) return;
    this.#transition({name: 'up', attempt, info, settledAt: now + SETTLED_MS}, `${info.local} to ${info.remote}`, now);
    this.#context.emit({type: 'port-up', peer: this.id, port});
    const {generation} = attempt.start;
    if (attempt.express) this.#context.emit({type: 'express', port, peer: this.id, generation});
  }

  #failChecking(attempt: Attempt, now: Millis): void {
    if (attempt.info) return this.#fail('hello-timeout', 'The peer did not say hello on the link within 5 s', now);
    if (attempt.isOpenOffer) return this.#fail('no-answer', 'The peer did not answer the offer within 12 s', now);
    this.#fail('checking-timeout', 'No path to the peer worked within 10 s', now);
  }

  /** Keeps the last failure; a refusal, which a person must see, for 10 minutes against ordinary failures that follow it. */
  #note(error: LinkError): void {
    const old = this.#error;
    const isKept = old && REFUSAL_CODES.includes(old.code) && error.at - old.at < REFUSAL_SHOWN_MS;
    if (!isKept || REFUSAL_CODES.includes(error.code)) this.#error = error;
  }

  /** The one way from an attempt or a link to a later try. */
  #fail(code: string, text: string, now: Millis, how: {tellPeer?: boolean; probe?: boolean} = {}): void {
    const {name} = this.#state;
    const attempt = this.#attempt();
    if (!attempt) return;
    this.#note({code, text, at: now});
    this.attempts++;
    this.#discard();
    if (name === 'up' && how.probe !== false) this.#context.emit({type: 'probe-session'});
    if (attempt.wasSignalled && how.tellPeer !== false) this.#refuse(attempt.start.sid, code, text);
    if (!this.present) return this.#transition({name: 'idle', dueAt: undefined}, `${text}; peer is offline`, now);
    const wait = code === UNSUPPORTED_VERSION ? VERSION_BACKOFF_MS : backoffMs(this.attempts, this.#context.random);
    this.#transition({name: 'backoff', until: now + wait}, text, now);
  }

  /** Takes the attempt's port away: no frames first, then closed. The caller changes the state. */
  #discard(): void {
    const port = this.#attempt()?.port;
    if (port === undefined) return;
    if (this.#state.name === 'up') this.#context.emit({type: 'port-down', peer: this.id, port});
    this.#context.emit({type: 'close', port});
  }

  /** Waits for its turn, if the peer is there: the smaller id's comes at once, the larger's when no offer came for a while. */
  #wait(reason: string, now: Millis): void {
    const wait = this.#context.self.id < this.id ? 0 : OFFER_WAIT_MS;
    this.#transition({name: 'idle', dueAt: this.present ? now + wait : undefined}, reason, now);
  }

  /** No answer to these: the offer may still come, and a session that ended here has been told so. */
  #keepEarly(sid: string, candidate: string): void {
    if (this.#early.sid !== sid) this.#early = {sid, candidates: []};
    if (this.#early.candidates.length < CANDIDATES) this.#early.candidates.push(candidate);
  }

  #refuseWith(sid: string, error: IpopError, now: Millis): void {
    this.#note({code: error.code, text: error.message, at: now});
    this.#log('warning', error.message);
    this.#refuse(sid, error.code, error.message);
  }

  #refuse(sid: string, reason: string, text: string): void {
    this.#signal({type: 'terminate', sid, reason, text: reason === UNSUPPORTED_VERSION ? SPEAKS : text});
  }

  #signal(signal: OwnSignal): void {
    if (this.jid !== '') this.#context.emit({type: 'signal', to: this.jid, signal});
  }

  #attempt(): Attempt | undefined {
    return 'attempt' in this.#state ? this.#state.attempt : undefined;
  }

  #current(sid: string): Attempt | undefined {
    const attempt = this.#attempt();
    return attempt?.start.sid === sid ? attempt : undefined;
  }

  #transition(to: State, reason: string, now: Millis): void {
    const from = this.#state.name;
    this.#state = to;
    this.since = now;
    if (from !== to.name || to.name === 'gathering')
      this.#log(levelOf(from, to.name), `${from} -> ${to.name}: ${reason}`);
  }

  #log(level: 'debug' | 'info' | 'warning', text: string): void {
    this.#context.log(level, `${this.name || 'peer'} (${shortId(this.id)}): ${text}`);
  }
}
