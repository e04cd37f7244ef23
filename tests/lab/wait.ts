// SPDX-License-Identifier: MIT
// Waiting for conditions, never for a fixed time.

import {setTimeout as sleep} from 'node:timers/promises';

const POLL_MS = 20;

/**
 * Asks `condition` again and again until it returns something other than undefined or false, and returns that.
 * Rejects after `timeoutMs` with what was waited for and the last error the condition threw.
 */
export async function until<T>(
  what: string,
  timeoutMs: number,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  pollMs: number = POLL_MS,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    let reason = '';
    try {
      const value = await condition();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      if (error instanceof Hopeless) throw error;
      reason = `: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (performance.now() >= end) throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${what}${reason}`);
    await sleep(pollMs);
  }
}

/** Thrown by a condition that can no longer come true: ends the wait at once. */
export class Hopeless extends Error {}

/** Runs jobs with at most `width` at a time and returns their results in the order of the jobs. */
export async function pool<T>(width: number, jobs: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < jobs.length; i = next++) results[i] = await jobs[i]!();
  };
  await Promise.all(Array.from({length: Math.min(width, jobs.length)}, worker));
  return results;
}
