// SPDX-License-Identifier: MIT

import type {LinkEffect, OwnSignal} from './types.ts';
import {SPEAKS, UNSUPPORTED_VERSION} from './version.ts';

/** Says things to one peer over XMPP. */
export class Voice {
  /** Its full JID, the last one known; empty: none yet, and nothing is said. */
  jid = '';
  readonly #emit: (effect: LinkEffect) => void;

  constructor(emit: (effect: LinkEffect) => void) {
    this.#emit = emit;
  }

  say(signal: OwnSignal): void {
    if (this.jid !== '') this.#emit({type: 'signal', to: this.jid, signal});
  }

  /** Ends a session, or refuses one. */
  refuse(sid: string, reason: string, text: string): void {
    this.say({type: 'terminate', sid, reason, text: reason === UNSUPPORTED_VERSION ? SPEAKS : text});
  }
}
