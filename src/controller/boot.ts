// SPDX-License-Identifier: MIT
// Boot numbers: higher after each start of a node, so that a peer can tell a new offer from one of an earlier life (docs/PROTOCOL.md §3.1).

import {fromUtf8, utf8} from '../base/bytes.ts';
import {textOf} from '../base/errors.ts';
import {NativeError} from '../native/datapath.ts';

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

const ENOENT = 2;

/** Both throw NativeError; `writeFile` writes all or nothing, and what it wrote survives a power cut. */
export interface BootFiles {
  readFile(path: string): Uint8Array;
  writeFile(path: string, data: Uint8Array): void;
}

/** Takes the number of this start and stores it for the next. `problem`: why that failed; the wall clock alone keeps the number rising then. */
export function takeBoot(files: BootFiles, path: string, wallSec: number): {boot: number; problem: string | undefined} {
  let stored: string | undefined;
  let unread: string | undefined;
  try {
    stored = fromUtf8(files.readFile(path));
  } catch (error) {
    if (!(error instanceof NativeError && error.errno === ENOENT)) unread = textOf(error);
  }
  const boot = nextBoot(stored, wallSec);
  return {boot, problem: storeBoot(files, path, boot) ?? unread};
}

/** Stores the number of this start; returns the problem, if there is one. */
export function storeBoot(files: BootFiles, path: string, boot: number): string | undefined {
  try {
    files.writeFile(path, utf8(`${boot}\n`));
    return undefined;
  } catch (error) {
    return textOf(error);
  }
}
