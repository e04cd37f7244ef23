// SPDX-License-Identifier: MIT
// A daemon that runs until it is told to end, and what it says.

import {spawn, type ChildProcess} from 'node:child_process';

const LIMIT_MS = 10_000;

export class Started {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;
  #text = '';
  #look: (() => void) | undefined;

  constructor([program = '', ...args]: readonly string[]) {
    this.#child = spawn(program, args, {stdio: ['ignore', 'ignore', 'pipe']});
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve(127));
      this.#child.once('exit', (code) => resolve(code ?? -1));
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#look?.();
    });
  }

  /** Waits for a line on its standard error. Rejects when it ends before that, or takes too long. */
  async said(pattern: RegExp): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      this.#look = () => void (pattern.test(this.#text) && resolve());
      this.#look();
    });
    const ended = this.#ended.then((code) => Promise.reject(new Error(`ended with ${code}: ${this.#text}`)));
    await this.#bounded(Promise.race([seen, ended]), `no ${pattern}`);
  }

  /** SIGTERM; returns its exit code. */
  async end(): Promise<number> {
    this.#child.kill('SIGTERM');
    return await this.#bounded(this.#ended, 'does not end');
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #bounded<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${what} after ${LIMIT_MS} ms: ${this.#text}`)), LIMIT_MS);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
