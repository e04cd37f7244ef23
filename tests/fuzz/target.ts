// SPDX-License-Identifier: MIT
// What a target of the TypeScript half is: one file of `targets/`, which exports `target`.

export interface Target {
  /** Throws (or rejects) when an input breaks a promise; the same for the same bytes. Waits for nothing but promise jobs. */
  check(data: Uint8Array): void | Promise<void>;
  /** Where to begin: text is taken as UTF-8. */
  readonly seeds: readonly (string | Uint8Array)[];
  /** Words the parser knows; those in its source as strings are known already. */
  readonly words?: readonly string[];
  /** Of an input; default 2048. */
  readonly maxBytes?: number;
  /** Of one input, with a clear conscience on a busy machine; default 100. */
  readonly limitMs?: number;
}

/** Choices made by an input; once it is used up they are zeros, so that every input means something. */
export class Choices {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get done(): boolean {
    return this.#at >= this.#data.length;
  }

  byte(): number {
    return this.#data[this.#at++] ?? 0;
  }

  /** From 0 to `max`, which is below 65536. */
  upTo(max: number): number {
    return (max < 256 ? this.byte() : this.byte() * 256 + this.byte()) % (max + 1);
  }

  oneOf<T>(items: readonly T[]): T {
    return items[this.upTo(items.length - 1)] as T;
  }

  /** Up to `max` bytes, its length first. */
  bytes(max: number): Uint8Array {
    const length = this.upTo(max);
    this.#at += length;
    return this.#data.subarray(this.#at - length, this.#at);
  }

  /** As `bytes`; what is no UTF-8 becomes U+FFFD. */
  text(max: number): string {
    return Buffer.from(this.bytes(max)).toString();
  }

  rest(): Uint8Array {
    const rest = this.#data.subarray(this.#at);
    this.#at = this.#data.length;
    return rest;
  }
}

/** UTF-8 of a seed. */
export function seedBytes(seed: string | Uint8Array): Uint8Array {
  return typeof seed === 'string' ? Buffer.from(seed) : seed;
}
