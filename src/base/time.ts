// SPDX-License-Identifier: MIT

/** Milliseconds of a clock that never runs backwards; its zero means nothing. Cores are handed it, they never read it. */
export type Millis = number;

/** When a core wants `handleTimeout`, and why the daemon will wake: it is logged. */
export interface Deadline {
  readonly at: Millis;
  readonly reason: string;
}

/** The earlier of two deadlines. */
export function earliest(...deadlines: (Deadline | undefined)[]): Deadline | undefined {
  let first: Deadline | undefined;
  for (const deadline of deadlines) {
    if (deadline && (!first || deadline.at < first.at)) first = deadline;
  }
  return first;
}
