// SPDX-License-Identifier: MIT
// Adapter for stock txiki.js, 24.x and 26.x: `tjs run ipop.js daemon` is ipopd, `tjs run ipop.js status` is ipop. Nothing else knows tjs.
//
// txiki.js calls back for many things in one turn of its loop and runs promise jobs once, at the turn's end. So callbacks here only note
// what is to do, and a timer of 0 ms does one thing in each turn.
// Its clearTimeout is never called: 24.x aborts when a timer that is just firing is cleared, be it by its own callback or by one of the
// promise jobs, which it runs just before that.

import {utf8} from '../base/bytes.ts';
import {splitRecords} from '../native/codec.ts';
import type {Host} from './host.ts';
import {loadNative, type NativeLibrary} from './txiki-native.ts';

/** What ipop_poll asks for: the longest record with its header. */
const POLL_BYTES = 65536 + 16;
const SIGNALS = {SIGHUP: 1, SIGINT: 2, SIGTERM: 15} as const;
/** EX_SOFTWARE of sysexits.h, as ipopd ends when it cannot start. */
const EXIT_START_FAILED = 70;

/** What the host is made of; a test hands in its own. */
export interface Txiki {
  readonly tjs: Tjs;
  readonly ffi: TjsFfi24 | TjsFfi26;
  readonly PosixSocket: TjsPosixSocketClass;
  /** Folder of the bundle. */
  readonly folder: string;
  nowMs(): number;
  wallMs(): number;
  setTimeout(callback: () => void, delayMs: number): unknown;
}

type Turn = () => void;

export class TxikiHost implements Host {
  readonly native: Host['native'];
  readonly args: readonly string[];
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly #txiki: Txiki;
  readonly #libc: NativeLibrary['libc'];
  /** To do, in this order, one in each turn. */
  readonly #turns = new Set<Turn>();
  #isScheduled = false;
  #exitCode: number | undefined;
  #timer: {readonly dueMs: number; readonly callback: () => void} | undefined;
  /** When the runtime's timers fire. Each was set because all others were too late, so there are few. */
  readonly #alarms = new Set<number>();
  /** Native's descriptor as something to poll. 24.x frees what it still uses when this is collected. */
  #wake: TjsPosixSocket | undefined;
  readonly #buffer = new Uint8Array(POLL_BYTES);
  #records: Uint8Array[] = [];

  /** Loads the library: IPOP_LIBRARY names it, else it is beside the bundle. Throws when that fails. */
  constructor(txiki: Txiki) {
    const {tjs, ffi, folder} = txiki;
    const {native, libc} = loadNative(ffi, tjs.env['IPOP_LIBRARY'] ?? `${folder}/libipop.so`);
    this.native = native;
    this.#libc = libc;
    this.#txiki = txiki;
    this.args = argv(tjs.args);
    this.nowMs = () => txiki.nowMs();
    this.wallMs = () => txiki.wallMs();
  }

  setTimer(delayMs: number | undefined, callback: () => void): void {
    this.#timer = delayMs === undefined ? undefined : {dueMs: this.nowMs() + delayMs, callback};
    this.#arm();
  }

  onRecord(callback: (record: Uint8Array) => void): void {
    const turn = (): void => {
      const record = this.#nextRecord();
      if (record === undefined) return;
      this.#later(turn);
      callback(record);
    };
    this.#wake ??= this.#openWake();
    this.#wake.poll({read: () => this.#later(turn)});
  }

  onSignal(callback: (signal: number) => void): void {
    for (const [name, number] of Object.entries(SIGNALS)) {
      const turn = (): void => callback(number);
      this.#txiki.tjs.addSignalListener(name as keyof typeof SIGNALS, () => this.#later(turn));
    }
  }

  out(text: string): void {
    this.#write(1, text);
  }

  log(line: string): void {
    this.#write(2, `${line}\n`);
  }

  exit(code: number): void {
    this.#exitCode = code;
    this.#schedule();
  }

  /** Logs what nobody caught. */
  uncaught(what: 'exception' | 'rejection', reason: unknown): void {
    const stack = reason instanceof Error && reason.stack ? `\n${reason.stack.trimEnd()}` : '';
    this.log(`ipopd: uncaught ${what}: ${String(reason)}${stack}`);
  }

  #later(turn: Turn): void {
    this.#turns.add(turn);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#txiki.setTimeout(() => this.#step(), 0);
  }

  #step(): void {
    this.#isScheduled = false;
    if (this.#exitCode !== undefined) {
      this.native['ipop_stop']?.();
      this.#txiki.tjs.exit(this.#exitCode);
    }
    const [turn] = this.#turns;
    if (turn === undefined) return;
    this.#turns.delete(turn);
    if (this.#turns.size > 0) this.#schedule();
    try {
      turn();
    } catch (error) {
      this.uncaught('exception', error);
    }
  }

  /** Sees to it that an alarm comes when the timer is due, or before. */
  #arm(): void {
    const dueMs = this.#timer?.dueMs;
    if (dueMs === undefined) return;
    for (const alarm of this.#alarms) if (alarm <= dueMs) return;
    this.#alarms.add(dueMs);
    const delayMs = Math.max(0, Math.ceil(dueMs - this.nowMs()));
    this.#txiki.setTimeout(() => {
      this.#alarms.delete(dueMs);
      // The loop counts from the start of the turn that set it: a long turn makes it early.
      if (this.#isDue()) this.#later(this.#timerTurn);
      else this.#arm();
    }, delayMs);
  }

  #isDue(): boolean {
    return this.#timer !== undefined && this.#timer.dueMs <= this.nowMs();
  }

  readonly #timerTurn = (): void => {
    // A turn before this one may have set it anew.
    if (!this.#isDue()) return;
    const {callback} = this.#timer!;
    this.#timer = undefined;
    callback();
  };

  #nextRecord(): Uint8Array | undefined {
    if (this.#records.length === 0) {
      const length = this.native['ipop_poll']?.(this.#buffer, POLL_BYTES) ?? 0;
      if (length > 0) this.#records = splitRecords(this.#buffer.subarray(0, length)).reverse();
    }
    return this.#records.pop();
  }

  /** A socket of the runtime's own under whose number native's descriptor is put: the one way in that both generations have. */
  #openWake(): TjsPosixSocket {
    const {PosixSocket} = this.#txiki;
    const wakeFd = this.native['ipop_wake_fd']?.() ?? -1;
    if (wakeFd < 0) throw new Error('records can be waited for only when native has started');
    const socket = new PosixSocket(PosixSocket.defines.AF_UNIX, PosixSocket.defines.SOCK_STREAM, 0);
    if (this.#libc.dup2(wakeFd, socket.fileno) < 0) throw new Error('cannot wait for records: dup2 failed');
    return socket;
  }

  /** At once and whole, before a process that exits is gone; a reader that went away is no error of ours. */
  #write(fd: number, text: string): void {
    let rest = utf8(text);
    while (rest.length > 0) {
      const written = this.#libc.write(fd, rest, rest.length);
      if (written <= 0) return;
      rest = rest.subarray(written);
    }
  }
}

/** Kept for the life of the process, whatever the program does with it. */
let host: TxikiHost | undefined;

/** Runs a program on the txiki.js around us. Ends the process with 70 when it cannot start. */
export async function runOnTxiki(tjs: Tjs, run: (host: Host) => void): Promise<void> {
  try {
    const {default: ffi} = await import('tjs:ffi');
    const {PosixSocket} = await import('tjs:posix-socket');
    const {setTimeout, performance} = globalThis as unknown as Globals;
    host = new TxikiHost({
      ...{tjs, ffi, PosixSocket, setTimeout, folder: import.meta.dirname},
      nowMs: () => performance.now(),
      wallMs: () => Date.now(),
    });
    catchRejections(host);
    run(host);
  } catch (error) {
    const text = `cannot start on txiki.js ${tjs.version}: ${String(error)}`;
    if (host) host.log(text);
    else (globalThis as unknown as Globals).console.error(text);
    tjs.exit(EXIT_START_FAILED);
  }
}

/** Without this the first of them ends the process. */
function catchRejections(host: TxikiHost): void {
  (globalThis as unknown as Globals).addEventListener('unhandledrejection', (event) => {
    event.preventDefault();
    host.uncaught('rejection', event.reason);
  });
}

/** Globals of txiki.js; Timers puts its own setTimeout over the runtime's later. */
interface Globals {
  setTimeout(callback: () => void, delayMs: number): unknown;
  addEventListener(name: string, listener: (event: {reason: unknown; preventDefault(): void}) => void): void;
  readonly performance: {now(): number};
  readonly console: {error(text: string): void};
}

/** As ipopd gets them: the runtime's own words are gone, and the program's name says whether it is the daemon or the command line. */
function argv(args: readonly string[]): string[] {
  const words = args.slice(args[1] === 'run' ? 3 : 1);
  const isDaemon = words[0] === 'daemon' || words[0] === 'ipopd';
  return isDaemon ? ['ipopd', ...words.slice(1)] : ['ipop', ...words];
}
