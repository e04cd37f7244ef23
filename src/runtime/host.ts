// SPDX-License-Identifier: MIT
// All that the bundle knows of the runtime it runs on. Adapters: native/host (quickjs-ng inside our own binary), txiki.ts.

/** The C ABI of native/include/ipop.h: every function by its name; a buffer is followed by its length as in C. */
export type NativeCall = (...args: (number | Uint8Array)[]) => number;

export interface Host {
  /** Functions of ipop.h by name (`ipop_poll`). */
  readonly native: Readonly<Record<string, NativeCall | undefined>>;
  /** Program name and arguments, as in argv. */
  readonly args: readonly string[];
  /** Never runs backwards. */
  nowMs(): number;
  /** Wall clock, for people and for boot numbers only. */
  wallMs(): number;
  /** Calls back once, not before `delayMs`, from the loop; a second call replaces the first. undefined: none. */
  setTimer(delayMs: number | undefined, callback: () => void): void;
  /**
   * Calls back once for each native record, header included (ipop.h), in order; promise jobs run to their end before the next one, at
   * most 256 records a turn. The array is the callback's own. The host empties the queue itself: nobody else calls `ipop_poll`.
   */
  onRecord(callback: (record: Uint8Array) => void): void;
  /** SIGTERM, SIGINT, SIGHUP by number. */
  onSignal(callback: (signal: number) => void): void;
  /** Writes text to standard output. */
  out(text: string): void;
  /** Writes one line to standard error, where procd and systemd take logs from. */
  log(line: string): void;
  /** Ends the process after the current turn. */
  exit(code: number): void;
}
