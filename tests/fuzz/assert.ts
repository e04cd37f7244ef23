// SPDX-License-Identifier: MIT
// Assertions of targets: plain functions, since a search makes a hundred thousand of them a second.

import {isDeepStrictEqual, inspect} from 'node:util';

/** Throws unless both are equal all the way down. */
export function equal(actual: unknown, expected: unknown, what = 'they differ'): void {
  if (actual === expected) return;
  // A Buffer is bytes as any others.
  if (actual instanceof Uint8Array && expected instanceof Uint8Array && Buffer.compare(actual, expected) === 0) return;
  if (isDeepStrictEqual(actual, expected)) return;
  throw new Error(`${what}: ${inspect(actual, {depth: 6})} is not ${inspect(expected, {depth: 6})}`);
}

/** Throws unless it holds. */
export function holds(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
