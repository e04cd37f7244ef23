// SPDX-License-Identifier: MIT
// When to try again: by what went wrong.

/** Links must be back within 10 s of an outage's end, so tries never lie further apart than this. */
const CAP_MS = 5_000;
const FIRST_CAP_MS = 1_000;
/** Even the luckiest draw leaves the server this much air. */
const FLOOR_MS = 100;
/** A person must act: wrong password, account disabled. Trying more often looks like an attack to the server. */
const REFUSED_MS = 300_000;
/** May mend itself (a clock that gets set, a certificate renewed, the other node stopped), but not in a second. */
const SLOW_MS = 60_000;
/** A clock that is behind, as at the boot of a router without a battery, is set within seconds once NTP has an answer. */
const CLOCK_MS = 10_000;

const REFUSED = new Set(['not-authorized', 'account-disabled', 'credentials-expired']);
const SLOW = new Set([
  'conflict',
  'ca-file',
  'no-mechanism',
  'no-server',
  'starttls-refused',
  'server-signature',
  'scram',
  'host-unknown',
  'login-refused',
]);

export type Severity = 'refused' | 'slow' | 'transient';

/** How bad a failure of this code is. */
export function severityOf(code: string): Severity {
  if (REFUSED.has(code)) return 'refused';
  return SLOW.has(code) || code.startsWith('tls-') ? 'slow' : 'transient';
}

/**
 * Delay before the try after the `failures`th failure in a row (from 1); `random` is in 0..1. Full jitter over a doubling span.
 * `waitedMs`: how long the failed try waited for an answer that never came, which the server did not feel: it counts as delay, or
 * a network that returns in its midst would be found only after both.
 */
export function retryDelayMs(code: string, failures: number, random: number, waitedMs = 0): number {
  const severity = severityOf(code);
  if (severity === 'refused') return REFUSED_MS;
  if (code === 'tls-not-yet-valid') return CLOCK_MS;
  if (severity === 'slow') return SLOW_MS;
  const cap = Math.min(CAP_MS, FIRST_CAP_MS * 2 ** Math.min(failures - 1, 16));
  return Math.max(FLOOR_MS, Math.round(FLOOR_MS + random * (cap - FLOOR_MS) - waitedMs));
}

/**
 * Delay before the room is asked again after it refused us `refusals` times in a row (from 1): the owner often makes it in the same
 * second. Half of a doubling span is jitter.
 */
export function rejoinDelayMs(refusals: number, random: number): number {
  const span = Math.min(CAP_MS, 500 * 2 ** Math.min(refusals - 1, 16));
  return Math.round(span * (0.5 + random / 2));
}
