// SPDX-License-Identifier: MIT
// Short commands: run to their end, with a time limit, in a process group of their own (Ctrl-C is ours to handle, not theirs).

import {spawn, spawnSync, type ChildProcess, type SpawnSyncReturns} from 'node:child_process';

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Text for its standard input. */
  readonly input?: string;
  /** Killed after this; default 30 000. */
  readonly timeoutMs?: number;
}

/**
 * The lab's programs are the system's: npm puts node_modules/.bin first in PATH, where a bundler's tool is also called nft.
 */
export const SYSTEM_PATH = '/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin';
export const SYSTEM_ENV: NodeJS.ProcessEnv = {...process.env, PATH: SYSTEM_PATH, LC_ALL: 'C'};

const DEFAULT_TIMEOUT_MS = 30_000;
const running = new Set<ChildProcess>();

/** Runs a command and returns its standard output. Throws with command, exit code and standard error if it fails. */
export function runSync(argv: readonly string[], options: RunOptions = {}): string {
  let result = start(argv, options);
  // Ctrl-C can strike a child that has not left our process group yet; it has done nothing by then.
  for (let again = 0; again < 100 && result.signal === 'SIGINT'; again++) result = start(argv, options);
  if (result.error !== undefined) throw new Error(`Cannot run "${argv.join(' ')}": ${result.error.message}`);
  if (result.status !== 0) throw failure(argv, result.status ?? result.signal ?? '?', result.stderr || result.stdout);
  return result.stdout;
}

function start(argv: readonly string[], options: RunOptions): SpawnSyncReturns<string> {
  const [file = '', ...args] = argv;
  return spawnSync(file, args, {
    encoding: 'utf8',
    env: SYSTEM_ENV,
    input: options.input ?? '',
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: 64 << 20,
    // Node passes it on although its types leave it out for spawnSync.
    ...{detached: true},
  });
}

/** Runs a command to its end and returns what it said, whatever its exit code. Rejects only if it cannot start or runs too long. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file = '', ...args] = argv;
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {detached: true, env: SYSTEM_ENV, stdio: ['pipe', 'pipe', 'pipe']});
    running.add(child);
    let stdout = '';
    let stderr = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child.pid);
    }, timeoutMs);
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.stdin.on('error', () => {}); // it may end before it has read everything
    child.stdin.end(options.input ?? '');
    child.on('error', (error) => {
      finish();
      reject(new Error(`Cannot run "${argv.join(' ')}": ${error.message}`));
    });
    child.on('close', (code) => {
      finish();
      if (late) reject(new Error(`Cannot run "${argv.join(' ')}": not done after ${timeoutMs} ms`));
      else resolve({code: code ?? -1, stdout, stderr});
    });
    function finish(): void {
      clearTimeout(timer);
      running.delete(child);
    }
  });
}

/** As run, but a non-zero exit code rejects; returns standard output. */
export async function runOk(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0) throw failure(argv, result.code, result.stderr || result.stdout);
  return result.stdout;
}

/** Kills what `run` has under way. */
export function killRunning(): void {
  for (const child of running) killGroup(child.pid);
  running.clear();
}

/** Sends a signal (default SIGKILL) to a process group; one that is gone already is fine. */
export function killGroup(pid: number | undefined, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function failure(argv: readonly string[], status: number | string, said: string): Error {
  return new Error(`Cannot run "${argv.join(' ')}" (exit ${status}): ${said.trim().slice(-1000)}`);
}
