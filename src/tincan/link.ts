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
// up: a second attempt may run beside it, to move the link to another path (Move). If the link is lost meanwhile, that attempt is the link's.

import {IpopError} from '../base/errors.ts';
import {type Deadline, earliest, type Millis} from '../base/time.ts';
import type {LinkDescription, LinkInfo, PortId} from '../native/datapath.ts';
import type {LinkStateName} from '../status/types.ts';
import {Attempt, type AttemptStart, type Failure} from './attempt.ts';
import {backoffMs} from './backoff.ts';
import {parseMessage} from './hello.ts';
import {shortId} from './identity.ts';
import {isRefusal, LastError, type LinkError} from './last-error.ts';
import {OFFER_WAIT_MS, SETTLED_MS, VERSION_BACKOFF_MS} from './limits.ts';
import {BY_PEER, deadlineOf, type Ending, levelOf, nameOf, type State} from './link-state.ts';
import {type LinkContext, newNonce, signOwn} from './link-context.ts';
import {Move} from './move.ts';
import {Offers, type Standing} from './offers.ts';
import {chooseServers} from './servers.ts';
import type {NodeId, OwnSignal, Signal, SignedDescription} from './types.ts';
import {otherVersion, refusedVersion, UNSUPPORTED_VERSION} from './version.ts';
import {Voice} from './voice.ts';

export class Link {
  readonly id: NodeId;
  /** Signed by the peer; empty until its first valid description. */
  name = '';
  present = false;
  /** Failed tries in a row. */
  attempts = 0;
  since: Millis;
  /** Last count of tries that was used in an offer. */
  generation: number;
  readonly #context: LinkContext;
  readonly #voice: Voice;
  readonly #move: Move;
  #state: State = {name: 'idle', dueAt: undefined};
  readonly #offers: Offers;
  readonly #error = new LastError();
  #opens = 0;

  /** `generation`: offers count on from here. */
  constructor(context: LinkContext, id: NodeId, generation: number, now: Millis) {
    this.#context = context;
    this.id = id;
    this.generation = generation;
    this.since = now;
    this.#voice = new Voice((effect) => context.emit(effect));
    const log = (level: 'debug' | 'info' | 'warning', text: string) => this.#log(level, text);
    this.#offers = new Offers({context, voice: this.#voice, error: this.#error, log}, id, now);
    const {emit, infoOf, random} = context;
    this.#move = new Move({emit, infoOf, random, log}, {peer: id, isFirst: context.self.id < id});
  }

  // ---- the peer's presence

  /** It entered the room, or its stream came back: tries at once. */
  handleOnline(jid: string, now: Millis): void {
    const moved = this.jid !== jid;
    this.#voice.jid = jid;
    this.present = true;
    const state = this.#state;
    if (state.name === 'closed') return;
    if (state.name === 'up') return this.#move.handleOnline(moved, now);
    this.attempts = 0;
    if (state.name !== 'trying') return this.#wait('peer is online', now);
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

  /** Local addresses changed: a new try may work, so it comes within half a second; a link whose own address is gone moves. */
  handleInterfacesChanged(now: Millis): void {
    const state = this.#state;
    if (state.name === 'up') return this.#move.handleInterfacesChanged(state.attempt, now);
    if (state.name !== 'backoff' || this.#error.code === UNSUPPORTED_VERSION) return;
    this.#state = {name: 'backoff', until: Math.min(state.until, now + backoffMs(1, this.#context.random))};
  }

  // ---- signals

  handleSignal(signal: Signal, now: Millis): void {
    switch (signal.type) {
      case 'offer':
        return this.#handleOffer(signal.signed, now);
      case 'answer':
        return this.#handleAnswer(signal.sid, signal.signed, now);
      case 'candidate': {
        const attempt = this.#withSid(signal.sid);
        if (attempt) attempt.addRemote(signal.candidate);
        else this.#offers.keepEarly(signal.sid, signal.candidate);
        return;
      }
      case 'unsupported':
        return this.#handleUnsupported(signal.sid, otherVersion(signal.version), now);
      case 'terminate':
        return this.#handleTerminate(signal.sid, signal.reason, signal.text, now);
    }
  }

  /** Our signal was not delivered. Only an unanswered offer, or an answer before "up", is worth nothing without it. */
  handleSignalFailed(signal: OwnSignal, error: IpopError, now: Millis): void {
    const attempt = this.#setup;
    if (attempt?.phase !== 'checking' || attempt.start.sid !== signal.sid) return;
    // Too much is on its way already; it is sent again.
    if (error.code === 'busy' || !attempt.isEndedBy(signal)) return;
    this.#end(attempt, error.code, `Cannot reach the peer over XMPP: ${error.message}`, now, {tellPeer: false});
  }

  // ---- what native reports. False: not about an attempt there is.

  handleOpened(key: string, port: PortId): boolean {
    const attempt = this.#setup;
    if (attempt?.start.key !== key || attempt.port !== undefined) return false;
    attempt.opened(port);
    return true;
  }

  handleOpenFailed(key: string, error: IpopError, now: Millis): void {
    const attempt = this.#setup;
    if (attempt?.start.key === key) this.#end(attempt, error.code, error.message, now);
  }

  handleLocal(port: PortId, description: LinkDescription, now: Millis): void {
    const attempt = this.#setup;
    if (attempt?.port !== port || attempt.phase !== 'gathering') return;
    if (attempt !== this.#move.attempt) {
      this.#log('debug', `gathering -> checking: ${attempt.start.role} sent`);
      this.since = now;
    }
    attempt.describe(signOwn(this.#context, this.id, attempt.start, description), now);
  }

  handleLocalCandidate(port: PortId, line: string): void {
    this.#withPort(port)?.addLocal(line);
  }

  handleUp(port: PortId, info: LinkInfo, now: Millis): void {
    const attempt = this.#setup;
    if (attempt?.port !== port || attempt.phase !== 'checking' || attempt.info) return;
    attempt.handleUp(info);
    const state = this.#state;
    if (state.name === 'up' && !this.#move.isWanted(info, state.attempt, now)) return;
    this.#sayHello(attempt, now);
  }

  handleMessage(port: PortId, bytes: Uint8Array, now: Millis): void {
    const attempt = this.#withPort(port);
    const message = parseMessage(bytes);
    if (!attempt || !message) return this.#log('debug', `control message of ${bytes.length} bytes ignored`);
    if (message.type === 'bye') {
      return this.#end(attempt, 'bye', `The peer closed the link: ${message.reason}`, now, BY_PEER);
    }
    if (message.type === 'ready') attempt.peerReady = true;
    const failure = message.type === 'hello' ? attempt.handleHello(message, this.id, this.#context) : undefined;
    if (failure) this.#end(attempt, failure.code, failure.text, now);
    this.#advance(now);
  }

  handleLost(port: PortId, code: string, text: string, now: Millis): void {
    const attempt = this.#withPort(port);
    if (attempt) this.#end(attempt, code, text, now);
    else this.#move.closeFormer(port);
  }

  /** The link's path is gone, or soon will be. */
  handleMoved(port: PortId, code: string, text: string, now: Millis): void {
    const state = this.#state;
    if (state.name === 'up' && state.attempt.port === port) this.#move.handleMoved(code, text, now);
  }

  // ---- time

  handleTimeout(now: Millis): void {
    const state = this.#state;
    switch (state.name) {
      case 'trying': {
        const late = state.attempt.handleTimeout(now);
        if (late) this.#end(state.attempt, late.code, late.text, now);
        return;
      }
      case 'up':
        if (state.settledAt !== undefined && state.settledAt <= now) {
          this.attempts = 0;
          this.#state = {...state, settledAt: undefined};
        }
        return this.#moveFurther(this.#move.handleTimeout(now), now);
      case 'backoff':
        if (state.until <= now) this.#wait('back-off is over', now);
        return;
      case 'idle':
      case 'closed':
    }
  }

  /** Of its own states; an idle link's turn is the manager's to give (`dueAt`). */
  nextTimeout(): Deadline | undefined {
    const what = `link ${shortId(this.id)}`;
    return earliest(deadlineOf(this.#state, what), this.#move.nextTimeout(what));
  }

  // ---- what the manager asks and wants

  get state(): LinkStateName {
    return nameOf(this.#state);
  }

  /** When it may offer; undefined: it does not wait for that. */
  get dueAt(): Millis | undefined {
    if (this.#state.name === 'up') return this.present ? this.#move.dueAt : undefined;
    return this.#state.name === 'idle' ? this.#state.dueAt : undefined;
  }

  /** Role of the attempt in progress (not up yet). */
  get trying(): 'offer' | 'answer' | undefined {
    return this.#setup?.start.role;
  }

  /** Full JID, the last one known. */
  get jid(): string {
    return this.#voice.jid;
  }

  get info(): LinkInfo | undefined {
    return this.#state.name === 'up' ? this.#state.attempt.info : undefined;
  }

  /** Of the link, not of an attempt beside it. */
  get port(): PortId | undefined {
    return 'attempt' in this.#state ? this.#state.attempt.port : undefined;
  }

  /** All that native has open for it. */
  get ports(): PortId[] {
    return [this.port, ...this.#move.ports].filter((port) => port !== undefined);
  }

  /** Why it is moving to another path, in words, while it is. */
  get moving(): string | undefined {
    return this.#move.text;
  }

  /** When the next try comes. */
  get retryAt(): Millis | undefined {
    if (this.#state.name === 'up') return undefined;
    return this.#state.name === 'backoff' ? this.#state.until : this.dueAt;
  }

  hasSession(sid: string): boolean {
    return this.#withSid(sid) !== undefined;
  }

  /** Last failure; while up only a refused signature of the last 10 minutes. */
  error(now: Millis): LinkError | undefined {
    return this.#error.shown(this.#state.name === 'up', now);
  }

  /** Its turn has come: opens a link and offers it; one that is up does so beside it. */
  offer(now: Millis): void {
    const state = this.#state;
    if (state.name === 'up' && !this.#move.mayBegin(state.attempt, now)) return;
    this.generation++;
    const attempt = this.#open('offer', newNonce(this.#context), this.generation, now);
    if (state.name === 'up') this.#move.begin(attempt, this.#move.reason(now));
    else this.#transition({name: 'trying', attempt}, 'offer', now);
  }

  /** Says goodbye and closes. Final. */
  stop(now: Millis): void {
    const state = this.#state;
    if (state.name === 'up') state.attempt.send({type: 'bye', reason: 'stopping'});
    const ended = [this.#attempt, this.#move.attempt];
    this.#discard();
    // Said over XMPP too: closing may overtake the bye.
    for (const attempt of ended)
      if (attempt?.wasSignalled) this.#voice.refuse(attempt.start.sid, 'stopping', 'the node stops');
    this.#transition({name: 'closed'}, 'stopping', now);
  }

  // ---- offers and answers

  #handleOffer(signed: SignedDescription, now: Millis): void {
    const current = this.#withSid(signed.nonce);
    // Sent again because our answer was late or lost.
    if (current?.start.role === 'answer') return current === this.#setup ? current.resend() : undefined;
    if (!this.#offers.take(signed, this.#standing, now)) return;
    this.name = signed.name;
    this.#answer(signed, now);
  }

  /** A link of the peer's same life stays up beside the new one; if the peer has lost it, it is no worse than none. */
  #answer(signed: SignedDescription, now: Millis): void {
    const state = this.#state;
    const isBeside = state.name === 'up' && state.attempt.peerBoot === signed.boot;
    if (isBeside) this.#move.drop();
    else this.#discard();
    const attempt = this.#open('answer', signed.nonce, signed.generation, now);
    if (isBeside) this.#move.begin(attempt, this.#move.reason(now));
    else this.#transition({name: 'trying', attempt}, 'answer', now);
    attempt.setOffer(signed);
    for (const line of this.#offers.earlyOf(signed.nonce)) attempt.addRemote(line);
  }

  #handleAnswer(sid: string, signed: SignedDescription, now: Millis): void {
    const attempt = this.#withSid(sid);
    if (!attempt || attempt.start.role !== 'offer')
      return this.#voice.refuse(sid, 'unknown-session', 'no such session');
    if (attempt !== this.#setup || attempt.phase !== 'checking' || attempt.hasRemote) return;
    const error = this.#offers.checkAnswer(signed, {nonce: sid, generation: attempt.start.generation});
    if (error) return this.#end(attempt, error.code, error.message, now);
    this.name = signed.name;
    attempt.setAnswer(signed, now);
  }

  #handleTerminate(sid: string, reason: string, said: string, now: Millis): void {
    const attempt = this.#withSid(sid);
    const ended = new IpopError('ended-by-peer', `The peer ended the try: ${said || reason}`);
    const {code, message} = reason === UNSUPPORTED_VERSION ? refusedVersion(said) : ended;
    if (attempt) this.#end(attempt, code, message, now, BY_PEER);
  }

  /** What it says cannot be read, let alone checked: a link that is up is not touched. */
  #handleUnsupported(sid: string, error: IpopError, now: Millis): void {
    const attempt = this.#withSid(sid);
    if (attempt) return this.#end(attempt, error.code, error.message, now);
    const {name} = this.#state;
    if (!this.#offers.refuseUnread(sid, error, this.#standing, now)) return;
    if (name === 'idle' || name === 'backoff')
      this.#transition({name: 'backoff', until: now + VERSION_BACKOFF_MS}, error.message, now);
  }

  #open(role: AttemptStart['role'], sid: string, generation: number, now: Millis): Attempt {
    const {isOverlay, emit, servers} = this.#context;
    this.#opens++;
    const key = `${this.id}/${this.#opens}`;
    emit({type: 'open', key, role, servers: chooseServers(servers, this.#opens)});
    const log = (level: 'debug', text: string) => this.#log(level, text);
    return new Attempt({isOverlay, emit, voice: this.#voice, log}, {key, role, sid, generation, startedAt: now});
  }

  // ---- hellos, and frames

  #sayHello(attempt: Attempt, now: Millis): void {
    attempt.sayHello(this.#context, now);
    this.#advance(now);
  }

  /** Goes on with an attempt whose hellos are through. */
  #advance(now: Millis): void {
    const attempt = this.#setup;
    if (attempt?.phase !== 'joined' || attempt.port === undefined) return;
    const {port, start} = attempt;
    const state = this.#state;
    const isFirst = state.name === 'up' ? this.#move.join(state.attempt) : true;
    if (isFirst) {
      if (state.name !== 'up') this.#comeUp(attempt, port, now);
      if (attempt.express) this.#context.emit({type: 'express', port, peer: this.id, generation: start.generation});
      if (attempt.canMove) attempt.send({type: 'ready'});
    }
    if (state.name === 'up' && (attempt.peerReady || !attempt.canMove)) this.#replace(now);
  }

  #comeUp(attempt: Attempt, port: PortId, now: Millis): void {
    const {info} = attempt;
    const path = `${info?.local} to ${info?.remote}`;
    this.#transition({name: 'up', attempt, settledAt: now + SETTLED_MS}, path, now);
    this.#context.emit({type: 'port-up', peer: this.id, port});
    this.#move.settle(attempt, now);
  }

  /** Frames go by the link beside this one from now on. */
  #replace(now: Millis): void {
    const state = this.#state;
    if (state.name !== 'up') return;
    const attempt = this.#move.replace(state.attempt, now);
    if (attempt) this.#state = {...state, attempt};
  }

  // ---- failures

  /** The one way from an attempt or a link to a later try. */
  #end(attempt: Attempt, code: string, text: string, now: Millis, how: Ending = {}): void {
    const isBeside = attempt === this.#move.attempt;
    const wasUp = this.#state.name === 'up';
    if (!isBeside || isRefusal({code})) this.#error.note({code, text, at: now});
    if (isBeside) this.#move.fail(text, now);
    else if (this.#move.attempt) this.#moveOn(text, now);
    else this.#fail(code, text, now);
    if (wasUp && !isBeside && how.probe !== false) this.#context.emit({type: 'probe-session'});
    if (attempt.wasSignalled && how.tellPeer !== false) this.#voice.refuse(attempt.start.sid, code, text);
  }

  #fail(code: string, text: string, now: Millis): void {
    this.attempts++;
    this.#discard();
    if (!this.present) return this.#transition({name: 'idle', dueAt: undefined}, `${text}; peer is offline`, now);
    const wait = code === UNSUPPORTED_VERSION ? VERSION_BACKOFF_MS : backoffMs(this.attempts, this.#context.random);
    this.#transition({name: 'backoff', until: now + wait}, text, now);
  }

  /** The link is lost while another is on its way: that is the link from now on. */
  #moveOn(text: string, now: Millis): void {
    const state = this.#state;
    if (state.name !== 'up' || state.attempt.port === undefined) return;
    if (this.#move.attempt?.phase === 'joined') {
      const {port} = state.attempt;
      this.#replace(now);
      return this.#move.closeFormer(port);
    }
    const attempt = this.#move.take();
    this.#discard();
    if (!attempt) return;
    this.#transition({name: 'trying', attempt}, `${text}; a new path is being tried already`, now);
    // It need not be better than what is lost.
    if (attempt.info && !attempt.saidHello) this.#sayHello(attempt, now);
  }

  /** What the attempt beside the link needs as time goes by. */
  #moveFurther(what: Failure | 'greet' | undefined, now: Millis): void {
    const {attempt} = this.#move;
    if (!attempt || what === undefined) return;
    if (what === 'greet') this.#sayHello(attempt, now);
    else this.#end(attempt, what.code, what.text, now);
  }

  /** Takes the link's ports away: no frames first, then closed. The caller changes the state. */
  #discard(): void {
    this.#move.stop();
    const {port} = this;
    if (port === undefined) return;
    if (this.#state.name === 'up') this.#context.emit({type: 'port-down', peer: this.id, port});
    this.#context.emit({type: 'close', port});
  }

  // ---- small

  /** Waits for its turn, if the peer is there: the smaller id's comes at once, the larger's when no offer came for a while. */
  #wait(reason: string, now: Millis): void {
    const wait = this.#context.self.id < this.id ? 0 : OFFER_WAIT_MS;
    this.#transition({name: 'idle', dueAt: this.present ? now + wait : undefined}, reason, now);
  }

  get #standing(): Standing {
    const setup = this.#setup;
    return {present: this.present, isTrying: setup !== undefined, hasOpenOffer: setup?.isOpenOffer === true};
  }

  get #attempt(): Attempt | undefined {
    return 'attempt' in this.#state ? this.#state.attempt : undefined;
  }

  /** The attempt that is not up yet, be it the link's or beside it. */
  get #setup(): Attempt | undefined {
    return this.#state.name === 'trying' ? this.#state.attempt : this.#move.attempt;
  }

  #withPort(port: PortId): Attempt | undefined {
    return [this.#attempt, this.#move.attempt].find((attempt) => attempt?.port === port);
  }

  #withSid(sid: string): Attempt | undefined {
    return [this.#attempt, this.#move.attempt].find((attempt) => attempt?.start.sid === sid);
  }

  #transition(to: State, reason: string, now: Millis): void {
    const from = this.state;
    this.#state = to;
    this.since = now;
    const is = this.state;
    if (from !== is || is === 'gathering') this.#log(levelOf(from, is), `${from} -> ${is}: ${reason}`);
  }

  #log(level: 'debug' | 'info' | 'warning', text: string): void {
    this.#context.log(level, `${this.name || 'peer'} (${shortId(this.id)}): ${text}`);
  }
}
