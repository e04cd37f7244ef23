// SPDX-License-Identifier: MIT
// txiki.js as its adapter sees it: tjs:ffi of both generations over one fake library, and a loop in which, as in the real one, all that is
// due runs before any promise job.

import {setImmediate as jobsDone} from 'node:timers/promises';
import {TxikiHost} from '../../../src/runtime/txiki.ts';

type Args = readonly (number | Uint8Array)[];
export type Generation = '24' | '26';
type Library = Record<string, (...args: Args) => number>;

export class ExitCalled extends Error {}

export class FakeTxiki {
  nowMs = 1000;
  /** What was called in the library, with its arguments. */
  readonly calls: {name: string; args: Args}[] = [];
  /** C types that each function was declared with. */
  readonly types = new Map<string, readonly string[]>();
  readonly opened: string[] = [];
  readonly output = {1: '', 2: ''};
  /** Bytes that the next ipop_poll gives. */
  readonly batches: Uint8Array[] = [];
  /** What the library does when it is not what we say here: returns 0. */
  readonly library: Library = {};
  exited: number | undefined;
  env: Record<string, string> = {};
  #timers: {at: number; callback: () => void}[] = [];
  #readable: (() => void) | undefined;
  readonly #signals = new Map<string, () => void>();

  constructor(readonly generation: Generation) {
    this.library['ipop_wake_fd'] = () => 7;
    this.library['dup2'] = (_from, to) => Number(to);
    this.library['ipop_poll'] = (buffer) => {
      const batch = this.batches.shift();
      if (batch) (buffer as Uint8Array).set(batch);
      return batch?.length ?? 0;
    };
    this.library['write'] = (fd, bytes, length) => {
      // A pipe takes what it has room for.
      const taken = Math.min(Number(length), 10);
      this.output[fd as 1 | 2] += Buffer.from(bytes as Uint8Array).toString('utf8', 0, taken);
      return taken;
    };
  }

  host(...args: readonly string[]): TxikiHost {
    return new TxikiHost({
      tjs: {
        version: this.generation,
        args: ['tjs', 'run', '/lib/ipop/ipop.js', ...args],
        env: this.env,
        addSignalListener: (name, listener) => void this.#signals.set(name, listener),
        exit: (code) => {
          this.exited ??= code;
          throw new ExitCalled();
        },
      },
      ffi: this.generation === '24' ? this.#ffi24() : this.#ffi26(),
      PosixSocket: this.#socketClass(),
      folder: '/lib/ipop',
      nowMs: () => this.nowMs,
      wallMs: () => 1.7e12,
      setTimeout: (callback, delayMs) => this.#setTimeout(callback, delayMs),
    });
  }

  /** What the real one calls when a signal comes. */
  signal(name: string): void {
    this.#signals.get(name)?.();
  }

  /** One turn of the loop: all timers due, the socket if records wait, then promise jobs. */
  async turn(): Promise<void> {
    const due = this.#timers.filter(({at}) => at <= this.nowMs);
    this.#timers = this.#timers.filter(({at}) => at > this.nowMs);
    for (const {callback} of due) {
      try {
        callback();
      } catch (error) {
        if (!(error instanceof ExitCalled)) throw error;
      }
    }
    if (this.batches.length > 0) this.#readable?.();
    await jobsDone();
  }

  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.turn();
  }

  /** Of the runtime, not of the host. */
  get timers(): number {
    return this.#timers.length;
  }

  called(name: string): Args[] {
    return this.calls.filter((call) => call.name === name).map(({args}) => args);
  }

  #invoke(name: string, args: Args): number {
    this.calls.push({name, args});
    return this.library[name]?.(...args) ?? 0;
  }

  #ffi24(): TjsFfi24 {
    const {opened, types} = this;
    const invoke = (name: string, args: Args): number => this.#invoke(name, args);
    const type = (name: string) => ({name, size: 8});
    return {
      types: {sint: type('int'), size: type('size_t'), buffer: type('buffer')},
      Lib: class {
        constructor(path: string) {
          opened.push(path);
        }
        symbol(name: string): object {
          return {name};
        }
      },
      CFunction: class {
        readonly #name: string;
        constructor(symbol: object, returns: TjsType, args: readonly TjsType[]) {
          this.#name = (symbol as {name: string}).name;
          const names = [returns, ...args].map((one) => (one as unknown as {name: string}).name);
          types.set(this.#name, names);
        }
        call(...args: Args): number {
          return invoke(this.#name, args);
        }
      },
    };
  }

  #ffi26(): TjsFfi26 {
    return {
      dlopen: (path, symbols) => {
        this.opened.push(path);
        for (const [name, {args, returns}] of Object.entries(symbols)) this.types.set(name, [returns, ...args]);
        const calls = Object.keys(symbols).map((name) => [name, (...args: Args) => this.#invoke(name, args)] as const);
        return {symbols: Object.fromEntries(calls)};
      },
    };
  }

  #socketClass(): TjsPosixSocketClass {
    const poll = (read: () => void): void => void (this.#readable = read);
    return class {
      static readonly defines = {AF_UNIX: 1, SOCK_STREAM: 1};
      readonly fileno = 20;
      poll({read}: {read: () => void}): void {
        poll(read);
      }
    };
  }

  #setTimeout(callback: () => void, delayMs: number): void {
    this.#timers.push({at: this.nowMs + delayMs, callback});
  }
}

/** A record of ipop.h with nothing but its number. */
export function record(sequence: number): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setUint32(8, sequence, true);
  return bytes;
}
