// SPDX-License-Identifier: MIT
import type {Millis} from '../base/time.ts';

/** A token bucket: `burst` at once, and one more every `everyMs`. */
export class Budget {
  readonly #burst: number;
  readonly #everyMs: number;
  #left: number;
  #countedAt: Millis;

  constructor(burst: number, everyMs: number, now: Millis) {
    this.#burst = burst;
    this.#everyMs = everyMs;
    this.#left = burst;
    this.#countedAt = now;
  }

  /** Takes one; false when none is left. */
  take(now: Millis): boolean {
    this.#left = Math.min(this.#burst, this.#left + (now - this.#countedAt) / this.#everyMs);
    this.#countedAt = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
