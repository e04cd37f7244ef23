// SPDX-License-Identifier: MIT
// What one peer offers and answers, checked; each refusal is said to the peer, and noted if somebody may be tampering.

import {IpopError} from '../base/errors.ts';
import type {Millis} from '../base/time.ts';
import {Budget} from './budget.ts';
import {checkDescription, type Expected, type Generation} from './identity.ts';
import type {LastError} from './last-error.ts';
import {CANDIDATES, OFFERS_TAKEN_BURST, OFFERS_TAKEN_EVERY_MS} from './limits.ts';
import type {LinkContext} from './link-context.ts';
import type {NodeId, SignedDescription} from './types.ts';
import type {Voice} from './voice.ts';

export interface OffersDeps {
  readonly context: LinkContext;
  readonly voice: Voice;
  readonly error: LastError;
  log(level: 'debug' | 'warning', text: string): void;
}

/** How its link stands when an offer comes. */
export interface Standing {
  readonly present: boolean;
  readonly isTrying: boolean;
  /** We have an offer that is not answered. */
  readonly hasOpenOffer: boolean;
}

export class Offers {
  readonly #deps: OffersDeps;
  readonly #peer: NodeId;
  readonly #budget: Budget;
  /** The last one taken. */
  #last: (Generation & {readonly nonce: string}) | undefined;
  /** Candidates that overtook their offer: of the last such session only. */
  #early: {readonly sid: string; readonly candidates: string[]} = {sid: '', candidates: []};

  constructor(deps: OffersDeps, peer: NodeId, now: Millis) {
    this.#deps = deps;
    this.#peer = peer;
    this.#budget = new Budget(OFFERS_TAKEN_BURST, OFFERS_TAKEN_EVERY_MS, now);
  }

  /** Takes an offer that is to be answered; false: it is not, and the peer was told why, unless it will find out itself. */
  take(signed: SignedDescription, standing: Standing, now: Millis): boolean {
    const {context, voice, log} = this.#deps;
    const {nonce, boot, generation} = signed;
    const refuse = (reason: string, text: string): false => {
      voice.refuse(nonce, reason, text);
      return false;
    };
    // Both come from delays, not from somebody who tampers: they are no refusals for people to look at.
    if (!standing.present) return refuse('unknown-peer', 'not seen in the room');
    if (nonce === this.#last?.nonce) return refuse('ended', 'the try is over');
    const error = this.#check(signed, {last: this.#last});
    if (error) {
      this.refuse(nonce, error, now);
      return false;
    }
    if (standing.hasOpenOffer && context.self.id < this.#peer) {
      // Glare: the smaller id's offer stands and is sent again until it is answered.
      log('debug', 'offers crossed, ours stands');
      return false;
    }
    if (!standing.isTrying && !context.mayAnswer()) {
      return refuse('busy', 'too many links are being set up, try again');
    }
    if (!this.#budget.take(now)) return refuse('busy', 'too many offers, try again later');
    this.#last = {boot, generation, nonce};
    return true;
  }

  /** What is wrong with the answer to an offer of ours. */
  checkAnswer(signed: SignedDescription, offer: Expected['offer'] & object): IpopError | undefined {
    return this.#check(signed, {offer});
  }

  /** Refuses a description that cannot be read; false: without more ado. */
  refuseUnread(sid: string, error: IpopError, {present}: Standing, now: Millis): boolean {
    const {voice, log} = this.#deps;
    if (!present) voice.refuse(sid, 'unknown-peer', 'not seen in the room');
    else if (!this.#budget.take(now)) voice.refuse(sid, 'busy', 'too many offers, try again later');
    else {
      log('warning', error.message);
      this.refuse(sid, error, now);
      return true;
    }
    return false;
  }

  /** Says so to the peer, and notes it for people. */
  refuse(sid: string, error: IpopError, now: Millis): void {
    this.#deps.error.note({code: error.code, text: error.message, at: now});
    this.#deps.voice.refuse(sid, error.code, error.message);
  }

  /** A candidate of no session there is. It is not refused: the offer may still come, and a session that ended here has been told so. */
  keepEarly(sid: string, candidate: string): void {
    if (this.#early.sid !== sid) this.#early = {sid, candidates: []};
    if (this.#early.candidates.length < CANDIDATES) this.#early.candidates.push(candidate);
  }

  /** Those that came before this session's offer. */
  earlyOf(sid: string): readonly string[] {
    return this.#early.sid === sid ? this.#early.candidates : [];
  }

  #check(signed: SignedDescription, expected: Pick<Expected, 'offer' | 'last'>): IpopError | undefined {
    const {context, log} = this.#deps;
    const {self, network} = context;
    try {
      checkDescription(signed, {self: self.id, sender: this.#peer, network, ...expected}, context);
    } catch (error) {
      if (!(error instanceof IpopError)) throw error;
      log('warning', error.message);
      return error;
    }
    return undefined;
  }
}
