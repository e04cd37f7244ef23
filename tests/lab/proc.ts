// SPDX-License-Identifier: MIT
// A long-running process of the lab: its output goes to a log file, it has a group of its own, it ends with the lab.

import {spawn, type ChildProcess} from 'node:child_process';
import {closeSync, openSync, readFileSync} from 'node:fs';
import {killGroup, SYSTEM_ENV} from './exec.ts';
import {Hopeless, until} from './wait.ts';

export interface ProcOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Keep its standard input open for `write`. */
  readonly input?: boolean;
}

export class Proc {
  readonly #child: ChildProcess;
  #ended: string | undefined;
  readonly #end: Promise<void>;

  /** Starts it at once; output is appended to `logFile`. */
  constructor(
    readonly name: string,
    argv: readonly string[],
    readonly logFile: string,
    options: ProcOptions = {},
  ) {
    const [file = '', ...args] = argv;
    const log = openSync(logFile, 'a');
    this.#child = spawn(file, args, {
      detached: true,
      stdio: [options.input === true ? 'pipe' : 'ignore', log, log],
      env: {...SYSTEM_ENV, ...options.env},
    });
    closeSync(log);
    this.#child.stdin?.on('error', () => {});
    this.#end = new Promise((resolve) => {
      this.#child.on('error', (error) => {
        this.#ended = error.message;
        resolve();
      });
      this.#child.on('exit', (code, signal) => {
        this.#ended = signal === null ? `exit ${code}` : `killed by ${signal}`;
        resolve();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** How it ended ("exit 0", "killed by SIGKILL"); undefined while it runs. */
  get ended(): string | undefined {
    return this.#ended;
  }

  /** Everything it wrote so far. */
  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** Writes a line to its standard input (option `input`). */
  write(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Waits until its log matches; rejects with the log's end when the process ends first or the time is over. */
  async waitLog(pattern: RegExp, timeoutMs: number): Promise<RegExpMatchArray> {
    try {
      return await until(`${pattern} in ${this.logFile}`, timeoutMs, () => {
        const match = this.log().match(pattern);
        if (match === null && this.#ended !== undefined)
          throw new Hopeless(`${this.name} ended early (${this.#ended})`);
        return match ?? undefined;
      });
    } catch (error) {
      const tail = this.log().trimEnd().split('\n').slice(-8).join('\n  ');
      throw new Error(`${(error as Error).message}\n  ${tail}`);
    }
  }

  /** Waits for its end; rejects after `timeoutMs`. */
  async waitEnd(timeoutMs: number): Promise<string> {
    return await until(`the end of ${this.name}`, timeoutMs, () => this.#ended);
  }

  /** Asks it to end, after `graceMs` makes it; resolves when it has ended. */
  async stop(graceMs = 5_000): Promise<void> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.#end;
    clearTimeout(timer);
  }

  /** Ends it without a chance to say good-bye; resolves when it is gone. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.#end;
  }

  /** Stops its threads where they are; `thaw` lets them go on. */
  freeze(): void {
    this.signal('SIGSTOP');
  }

  thaw(): void {
    this.signal('SIGCONT');
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#ended === undefined) killGroup(this.#child.pid, signal);
  }

  /** Lets this program end while the process goes on. */
  release(): void {
    this.#child.unref();
  }
}
