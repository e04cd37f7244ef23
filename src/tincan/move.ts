// SPDX-License-Identifier: MIT
// A link that is up moves to another path, make before break: a second attempt beside it, frames taken on both, then sent on the new one,
// and the old one closed a little later. While nothing is gained the link stays as it is.

import {type Deadline, earliest, type Millis} from '../base/time.ts';
import type {LinkInfo, PortId} from '../native/datapath.ts';
import type {Attempt, Failure} from './attempt.ts';
import {DIRECT_LOOK_MS, DIRECT_WAIT_MS, FORMER_MS, OFFER_WAIT_MS, READDRESS_MS} from './limits.ts';
import {isRelayed} from './link-state.ts';
import {MovePlan, type MoveReason} from './move-plan.ts';
import type {LinkEffect, NodeId} from './types.ts';

/** A peer with traffic is heard this often; see PROTOCOL 4.3 and 5.5. */
const HEARD_MS = 2_000;

export interface MoveDeps {
  emit(effect: LinkEffect): void;
  infoOf(port: PortId): LinkInfo | undefined;
  random(): number;
  log(level: 'debug' | 'info', text: string): void;
}

interface Beside {
  readonly attempt: Attempt;
  readonly reason: MoveReason;
  /** Frames are taken on it. */
  joined: boolean;
  /** While its path may still become a better one: until when, and when it is looked at. */
  looking: {readonly until: Millis; readonly at: Millis} | undefined;
}

export class Move {
  readonly #deps: MoveDeps;
  readonly #peer: NodeId;
  readonly #isFirst: boolean;
  readonly #plan: MovePlan;
  #beside: Beside | undefined;
  /** What the link was before: it still takes frames. */
  #former: {readonly port: PortId; readonly closeAt: Millis} | undefined;

  constructor(deps: MoveDeps, {peer, isFirst}: {readonly peer: NodeId; readonly isFirst: boolean}) {
    this.#deps = deps;
    this.#peer = peer;
    this.#isFirst = isFirst;
    this.#plan = new MovePlan(isFirst, () => deps.random());
  }

  // ---- reasons

  /** Native says that the link's path is gone or going. The larger id waits for the other's offer a little, as ever. */
  handleMoved(code: string, text: string, now: Millis): void {
    if (code === 'readdressed') return this.#wish({code, text}, READDRESS_MS, now);
    if (code !== 'peer-moved' && code !== 'silent') return;
    this.#wish({code, text}, this.#isFirst ? 0 : OFFER_WAIT_MS, now);
  }

  /** Our address may be gone, or another have come that a try on its way does not know of. */
  handleInterfacesChanged({port}: Attempt, now: Millis): void {
    const isGone = port !== undefined && this.#deps.infoOf(port)?.localGone === true;
    if (this.#beside && !this.#beside.joined && this.#beside.attempt.start.role === 'offer' && isGone) this.drop();
    if (isGone) this.#wish({code: 'readdressed', text: 'this node has a new address'}, READDRESS_MS, now);
    this.#plan.hasten(now + READDRESS_MS, now);
  }

  /** The peer can be signalled (again), `isElsewhere`: at another address, where nobody knows of our offer. */
  handleOnline(isElsewhere: boolean, now: Millis): void {
    if (this.attempt?.isOpenOffer && isElsewhere) this.drop();
    else if (this.attempt?.isOpenOffer) this.attempt.resend();
    if (!this.#beside) this.#plan.hasten(now, now);
  }

  /** Whether a try makes sense now; a link by a relay may have gone over to a direct pair by itself. */
  mayBegin({port}: Attempt, now: Millis): boolean {
    const reason = this.#plan.reason(now);
    const info = port === undefined ? undefined : this.#deps.infoOf(port);
    if (reason?.code === 'relay' && info && !isRelayed(info)) this.#plan.foundDirect();
    if (this.#beside) return false;
    const isWanted = this.#plan.reason(now) !== undefined;
    if (!isWanted) this.#plan.begin();
    return isWanted;
  }

  /** Why a try is made now. */
  reason(now: Millis): MoveReason {
    return this.#plan.reason(now) ?? {code: 'peer', text: 'the peer asked for it'};
  }

  // ---- the attempt beside the link

  get attempt(): Attempt | undefined {
    return this.#beside?.attempt;
  }

  get dueAt(): Millis | undefined {
    return this.#beside ? undefined : this.#plan.dueAt;
  }

  /** What the link is doing, in words; undefined: it stays where it is. */
  get text(): string | undefined {
    return this.#beside?.reason.text;
  }

  /** Ports beside the link's own. */
  get ports(): (PortId | undefined)[] {
    return [this.#beside?.attempt.port, this.#former?.port];
  }

  begin(attempt: Attempt, reason: MoveReason): void {
    this.#beside = {attempt, reason, joined: false, looking: undefined};
    this.#plan.begin();
    this.#deps.log(
      reason.code === 'relay' || reason.code === 'peer' ? 'debug' : 'info',
      `moving to a new path: ${reason.text}`,
    );
  }

  /**
   * The new link is up: whether to take it as it is instead of `link`; if not, `look` says later. Who answers leaves that to the offerer.
   */
  isWanted(info: LinkInfo, link: Attempt, now: Millis): boolean {
    const beside = this.#beside;
    if (!beside || beside.attempt.start.role === 'answer' || !isRelayed(info)) return true;
    if (beside.reason.code !== 'relay' && !(beside.reason.code === 'silent' && this.#isWell(link))) return true;
    beside.looking = {until: now + DIRECT_WAIT_MS, at: now + DIRECT_LOOK_MS};
    return false;
  }

  /** Takes frames on the new link, once. */
  join(link: Attempt): boolean {
    const beside = this.#beside;
    if (!beside || beside.joined || beside.attempt.port === undefined || link.port === undefined) return false;
    beside.joined = true;
    this.#deps.emit({type: 'port-beside', port: beside.attempt.port, of: link.port});
    return true;
  }

  /** Frames go by the new link, which is returned; the old one stays a little for what is on its way. */
  replace(link: Attempt, now: Millis): Attempt | undefined {
    const {port: from} = link;
    const {attempt, reason} = this.#beside ?? {};
    if (!attempt || attempt.port === undefined || from === undefined) return undefined;
    this.#beside = undefined;
    if (this.#former) this.closeFormer(this.#former.port);
    this.#deps.emit({type: 'port-replaced', peer: this.#peer, from, to: attempt.port});
    this.#former = {port: from, closeAt: now + FORMER_MS};
    this.#settle(attempt, true, now);
    const {local, remote} = attempt.info ?? {};
    this.#deps.log('info', `moved to a new path, ${local} to ${remote}: ${reason?.text}`);
    return attempt;
  }

  /** The attempt beside is the link's own from now on. */
  take(): Attempt | undefined {
    const attempt = this.#beside?.attempt;
    this.#beside = undefined;
    return attempt;
  }

  /** The link came up. */
  settle(link: Attempt, now: Millis): void {
    this.#settle(link, false, now);
  }

  /** The attempt beside came to nothing. */
  fail(text: string, now: Millis): void {
    const {reason} = this.#beside ?? {};
    this.drop();
    this.#plan.fail(now);
    this.#deps.log(
      reason?.code === 'relay' || reason?.code === 'peer' ? 'debug' : 'info',
      `stays on its path for now: ${text}`,
    );
  }

  /** Closes the attempt beside, if there is one. */
  drop(): void {
    const port = this.take()?.port;
    if (port !== undefined) this.#deps.emit({type: 'close', port});
  }

  /** Closes the former link, if it is this one. */
  closeFormer(port: PortId): void {
    if (this.#former?.port !== port) return;
    this.#former = undefined;
    this.#deps.emit({type: 'port-down', peer: this.#peer, port});
    this.#deps.emit({type: 'close', port});
  }

  /** Closes all that is beside the link. */
  stop(): void {
    this.drop();
    if (this.#former) this.closeFormer(this.#former.port);
  }

  // ---- time

  /** Sends again and closes what is due. Returns whether the attempt beside is to be greeted by now, or why it is over. */
  handleTimeout(now: Millis): Failure | 'greet' | undefined {
    if (this.#former && this.#former.closeAt <= now) this.closeFormer(this.#former.port);
    return this.#look(now) ?? this.attempt?.handleTimeout(now);
  }

  /** The turn to offer (`dueAt`) is the manager's to give. */
  nextTimeout(what: string): Deadline | undefined {
    const beside = this.#beside;
    return earliest(
      beside?.attempt.nextTimeout(`${what} beside`),
      beside?.looking && {at: beside.looking.at, reason: `${what} beside: path`},
      this.#former && {at: this.#former.closeAt, reason: `${what} former`},
    );
  }

  /** Whether a link that was not wanted as it came up is by now. */
  #look(now: Millis): Failure | 'greet' | undefined {
    const beside = this.#beside;
    if (!beside?.looking || beside.looking.at > now) return undefined;
    const {attempt, looking} = beside;
    const info = attempt.port === undefined ? undefined : this.#deps.infoOf(attempt.port);
    if (info && !isRelayed(info)) {
      attempt.info = info;
      beside.looking = undefined;
      return 'greet';
    }
    beside.looking = {...looking, at: now + DIRECT_LOOK_MS};
    return looking.until <= now ? {code: 'not-better', text: 'No direct path was found'} : undefined;
  }

  /** A direct link that was silent, and was heard again. */
  #isWell({port}: Attempt): boolean {
    const info = port === undefined ? undefined : this.#deps.infoOf(port);
    return info !== undefined && !isRelayed(info) && info.silentMs < HEARD_MS;
  }

  #settle({info, canMove}: Attempt, hasMoved: boolean, now: Millis): void {
    this.#plan.settle(info !== undefined && isRelayed(info) && canMove, hasMoved, now);
  }

  #wish(reason: MoveReason, delayMs: Millis, now: Millis): void {
    // The way to the peer may be gone for XMPP, too.
    this.#deps.emit({type: 'probe-session'});
    this.#plan.wish(reason, delayMs, now);
  }
}
