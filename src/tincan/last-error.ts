// SPDX-License-Identifier: MIT

import type {Millis} from '../base/time.ts';
import {REFUSAL_CODES} from './identity.ts';
import {REFUSAL_SHOWN_MS} from './limits.ts';

export interface LinkError {
  readonly code: string;
  readonly text: string;
  readonly at: Millis;
}

/** A link's last failure. A refusal, which a person must see, stays for 10 minutes against ordinary failures that follow it. */
export class LastError {
  #error: LinkError | undefined;

  note(error: LinkError): void {
    const old = this.#error;
    const isKept = old && isRefusal(old) && error.at - old.at < REFUSAL_SHOWN_MS;
    if (!isKept || isRefusal(error)) this.#error = error;
  }

  /** Code of the last one. */
  get code(): string | undefined {
    return this.#error?.code;
  }

  /** What people are shown; while the link is up only a refusal of the last 10 minutes. */
  shown(isUp: boolean, now: Millis): LinkError | undefined {
    const error = this.#error;
    if (!isUp || !error) return error;
    return isRefusal(error) && now - error.at < REFUSAL_SHOWN_MS ? error : undefined;
  }
}

/** Someone, or something broken, claimed what it could not prove. */
export function isRefusal({code}: {readonly code: string}): boolean {
  return REFUSAL_CODES.includes(code);
}
