// SPDX-License-Identifier: MIT
// Boot numbers: higher after each start of a node, so that a peer can tell a new offer from one of an earlier life (docs/PROTOCOL.md §3.1).

/** Peers refuse a boot number of more than 15 digits as malformed. A clock that claims more is not believed. */
const HIGHEST = 10 ** 15 - 1;

/**
 * The number of this start.
 *
 * @param stored text of the file that the last start wrote; undefined or rubbish when there is none
 * @param wallSec wall clock in seconds: it keeps the number rising even when the file cannot be written
 */
export function nextBoot(stored: string | undefined, wallSec: number): number {
  const last = stored !== undefined && /^\d{1,16}\s*$/.test(stored) ? Number(stored) : 0;
  const clock = Number.isFinite(wallSec) && wallSec < HIGHEST ? Math.floor(wallSec) : 0;
  return Math.max(last < HIGHEST ? last + 1 : 1, clock, 1);
}
