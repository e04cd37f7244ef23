// SPDX-License-Identifier: MIT
// Any number of timers over the host's one. One callback a turn, so that its promise jobs have ended before the next timer fires.

import type {Host} from './host.ts';

/** An iq each has one for 30 s: this many at once means that something leaks. */
const MAX_TIMERS = 1024;

type Callback = () => void;

interface Timer {
  readonly id: number;
  at: number;
  readonly everyMs: number | undefined;
  readonly callback: Callback;
}

/** Owns the host's timer from its making on: nobody else may set that. */
export class Timers {
  readonly #host: Pick<Host, 'nowMs' | 'setTimer'>;
  /** In the order they were set, which is the order of those due at one time. */
  #timers: Timer[] = [];
  #lastId = 0;

  constructor(host: Pick<Host, 'nowMs' | 'setTimer'>) {
    this.#host = host;
  }

  /** Calls back once, not before `delayMs`. Returns the cancel, which may be called at any time, also from the callback. */
  after(delayMs: number, callback: Callback): () => void {
    const id = this.set(delayMs, undefined, callback);
    return () => this.clear(id);
  }

  /** As `after`, by number; with `everyMs` again and again. Throws RangeError over 1024 timers. */
  set(delayMs: number, everyMs: number | undefined, callback: Callback): number {
    if (this.#timers.length >= MAX_TIMERS) throw new RangeError(`more than ${MAX_TIMERS} timers`);
    const id = ++this.#lastId;
    this.#timers.push({id, at: this.#host.nowMs() + delayMs, everyMs, callback});
    this.#arm();
    return id;
  }

  /** Forgets a timer; nothing happens when there is none of that number. */
  clear(id: number | undefined): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
    this.#arm();
  }

  /** Makes setTimeout and its kin global, for the @xmpp packages; our own code is handed the object. */
  install(): void {
    type Rest = readonly unknown[];
    type Action = (...args: Rest) => void;
    // HTML's rules: no number is 0 ms, an interval has at least 4 ms.
    const span = (delay: unknown, least: number) => Math.max(least, Number(delay) || 0);
    Object.assign(globalThis, {
      setTimeout: (action: Action, delay?: unknown, ...args: Rest) =>
        this.set(span(delay, 0), undefined, () => action(...args)),
      setInterval: (action: Action, delay?: unknown, ...args: Rest) =>
        this.set(span(delay, 4), span(delay, 4), () => action(...args)),
      clearTimeout: (id?: number) => this.clear(id),
      clearInterval: (id?: number) => this.clear(id),
    });
  }

  #first(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) if (first === undefined || timer.at < first.at) first = timer;
    return first;
  }

  #arm(): void {
    const first = this.#first();
    if (first === undefined) this.#host.setTimer(undefined, () => {});
    else this.#host.setTimer(Math.max(0, first.at - this.#host.nowMs()), () => this.#fire());
  }

  #fire(): void {
    const now = this.#host.nowMs();
    const timer = this.#first();
    const due = timer !== undefined && timer.at <= now;
    if (due && timer.everyMs !== undefined) timer.at = now + timer.everyMs;
    else if (due) this.#timers.splice(this.#timers.indexOf(timer), 1);
    // Before the callback, which may throw: the others go on all the same.
    this.#arm();
    if (due) timer.callback();
  }
}
