// SPDX-License-Identifier: MIT
// A ping that runs while something happens, and tells how many of its packets were lost.

import type {Netns} from '../lab/netns.ts';
import type {Proc} from '../lab/proc.ts';
import {until} from '../lab/wait.ts';

const EVERY_MS = 50;

export class PingStream {
  readonly #proc: Proc;
  readonly #mark: number;

  private constructor(proc: Proc, mark: number) {
    this.#proc = proc;
    this.#mark = mark;
  }

  /** Starts it and resolves with the third answer. */
  static async start(from: Netns, address: string): Promise<PingStream> {
    const argv = ['ping', '-n', '-i', `${EVERY_MS / 1000}`, address];
    const proc = from.spawn(`ping-${serial++}`, argv);
    const stream = new PingStream(proc, 0);
    await stream.answers(3, 10_000);
    return stream;
  }

  /** Numbers answered so far. */
  heard(): ReadonlySet<number> {
    const text = this.#proc.log().slice(this.#mark);
    return new Set([...text.matchAll(/icmp_seq=(\d+) ttl=.* time=/g)].map((match) => Number(match[1])));
  }

  /** Waits for this many more answers. */
  async answers(count: number, timeoutMs: number): Promise<void> {
    const before = this.heard().size;
    await until(`${count} more answers to ping`, timeoutMs, () => this.heard().size >= before + count);
  }

  /** Ends it; returns the numbers that were never answered, those after the last answer (still on their way) not counted. */
  async stop(): Promise<number[]> {
    await this.answers(10, 10_000);
    this.#proc.signal('SIGINT');
    await this.#proc.waitEnd(5_000);
    const heard = this.heard();
    const last = Math.max(...heard);
    return Array.from({length: last}, (_, i) => i + 1).filter((number) => !heard.has(number));
  }
}

let serial = 0;
