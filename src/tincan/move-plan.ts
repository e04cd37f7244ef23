// SPDX-License-Identifier: MIT
// When a link that is up should be made anew beside itself, on another path: soon when its path is gone or going, now and then when it
// goes by a relay.

import type {Millis} from '../base/time.ts';
import {backoffMs} from './backoff.ts';
import {
  MOVE_REST_CAP_MS,
  MOVE_REST_MS,
  MOVE_WISH_MS,
  RELAY_TRY_CAP_MS,
  RELAY_TRY_MS,
  RELAY_TRY_TURN_MS,
} from './limits.ts';

/** Why a link is to move. */
export interface MoveReason {
  /** peer-moved, silent: as native says (ipop.h); readdressed: our address has changed; relay: a direct path is wanted. */
  readonly code: 'peer-moved' | 'silent' | 'readdressed' | 'relay' | 'peer';
  /** In words, after "moving to a new path: ". */
  readonly text: string;
}

const RELAY: MoveReason = {code: 'relay', text: 'the link goes by a relay, a direct path is wanted'};

export class MovePlan {
  readonly #random: () => number;
  readonly #isFirst: boolean;
  #settledAt: Millis = 0;
  /** How long it stays on its path; longer each time it moves soon again, or a wrong sign would have it move for ever. */
  #rest = MOVE_REST_MS;
  #restsUntil: Millis = 0;
  #wish: {readonly reason: MoveReason; readonly until: Millis} | undefined;
  /** The link may look for a direct path. */
  #seeksDirect = false;
  #dueAt: Millis | undefined;
  #failures = 0;
  #relayTries = 0;

  /** `isFirst`: this side has the smaller id, and offers first. */
  constructor(isFirst: boolean, random: () => number) {
    this.#isFirst = isFirst;
    this.#random = random;
  }

  /** When a try is due; undefined: none is. */
  get dueAt(): Millis | undefined {
    return this.#dueAt;
  }

  /** The link came up, or moved. `seeksDirect`: it goes by a relay, and the peer can move a link without a break. */
  settle(seeksDirect: boolean, hasMoved: boolean, now: Millis): void {
    const isSoon = hasMoved && now - this.#settledAt < MOVE_WISH_MS + this.#rest;
    this.#rest = isSoon ? Math.min(MOVE_REST_CAP_MS, 2 * this.#rest) : MOVE_REST_MS;
    this.#settledAt = now;
    this.#restsUntil = now + this.#rest;
    this.#wish = undefined;
    this.#failures = 0;
    this.#relayTries = 0;
    this.#seeksDirect = seeksDirect;
    this.#dueAt = this.#relayDueAt(now);
  }

  /** The path is direct by now: ICE found it. */
  foundDirect(): void {
    this.#seeksDirect = false;
  }

  /** The link should leave its path, from `delayMs` on. */
  wish(reason: MoveReason, delayMs: Millis, now: Millis): void {
    const before = this.#wish ? this.#dueAt : undefined;
    this.#wish = {reason, until: now + MOVE_WISH_MS};
    this.#dueAt = Math.max(this.#restsUntil, Math.min(before ?? Infinity, now + delayMs));
  }

  /** What changed may let the next try succeed: if there is reason for one it is due at that time. */
  hasten(at: Millis, now: Millis): void {
    if (this.#wish && now < this.#wish.until) this.#dueAt = Math.max(this.#restsUntil, at);
    else this.#dueAt ??= this.#relayDueAt(now);
  }

  /** Why to try now; undefined: no more reason. */
  reason(now: Millis): MoveReason | undefined {
    if (this.#wish && now < this.#wish.until) return this.#wish.reason;
    return this.#seeksDirect ? RELAY : undefined;
  }

  /** A try has begun, whoever offers it. */
  begin(): void {
    this.#dueAt = undefined;
  }

  /** A try came to nothing. */
  fail(now: Millis): void {
    if (this.#wish && now < this.#wish.until) {
      this.#failures++;
      this.#dueAt = now + backoffMs(this.#failures, this.#random);
    } else {
      this.#wish = undefined;
      this.#relayTries++;
      this.#dueAt = this.#relayDueAt(now);
    }
  }

  /** The smaller id's turn is a little before the time, the larger's behind it. */
  #relayDueAt(now: Millis): Millis | undefined {
    if (!this.#seeksDirect) return undefined;
    const wait = Math.min(RELAY_TRY_CAP_MS, RELAY_TRY_MS * 2 ** Math.min(this.#relayTries, 16));
    return now + Math.floor(wait * (1 - 0.1 * this.#random())) + (this.#isFirst ? 0 : RELAY_TRY_TURN_MS);
  }
}
