// SPDX-License-Identifier: MIT
import {BACKOFF_BASE_MS, BACKOFF_CAP_MS, BACKOFF_FLOOR_MS} from './limits.ts';

/**
 * Milliseconds to wait after `failures` (>= 1) failed tries in a row: evenly random up to a limit that doubles from 0.5 s to 4 s (full
 * jitter, so that two sides, or many nodes after an outage, do not meet again in step).
 */
export function backoffMs(failures: number, random: () => number): number {
  const limit = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** Math.min(failures - 1, 16));
  return Math.max(BACKOFF_FLOOR_MS, Math.floor(limit * random()));
}
