// SPDX-License-Identifier: MIT
// Calls through the C ABI: checks results, and makes native's errno and sentence one error.

import {fromUtf8} from '../base/bytes.ts';
import type {Host} from '../runtime/host.ts';
import {NativeError} from './datapath.ts';

/** errno values that callers tell apart; the same on every Linux architecture. */
export const ENOENT = 2;
const ENOSYS = 38;

export class Calls {
  readonly #native: Host['native'];

  constructor(native: Host['native']) {
    this.#native = native;
  }

  /** Calls a function of ipop.h and returns its result. Throws NativeError when that is negative, or there is no such function. */
  call(name: string, ...args: readonly (number | Uint8Array)[]): number {
    const result = this.#raw(name, args);
    if (result < 0) throw new NativeError(name, -result, this.#lastError() || `${name} failed with errno ${-result}`);
    return result;
  }

  /** As `call`, but false when the thing is not there (ENOENT). */
  exists(name: string, ...args: readonly (number | Uint8Array)[]): boolean {
    const result = this.#raw(name, args);
    if (result === -ENOENT) return false;
    if (result < 0) throw new NativeError(name, -result, this.#lastError() || `${name} failed with errno ${-result}`);
    return true;
  }

  /** Calls a function whose last two arguments are a buffer and its capacity, and returns what it wrote there. */
  read(name: string, capacity: number, ...args: readonly (number | Uint8Array)[]): Uint8Array {
    const buffer = new Uint8Array(capacity);
    return buffer.subarray(0, this.call(name, ...args, buffer, capacity));
  }

  #raw(name: string, args: readonly (number | Uint8Array)[]): number {
    const call = this.#native[name];
    if (call === undefined) throw new NativeError(name, ENOSYS, `the native library has no function ${name}`);
    return call(...args);
  }

  #lastError(): string {
    const buffer = new Uint8Array(1024);
    const length = this.#native['ipop_last_error']?.(buffer, buffer.length) ?? 0;
    return length > 0 ? fromUtf8(buffer.subarray(0, length)) : '';
  }
}
