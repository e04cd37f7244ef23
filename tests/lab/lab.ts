// SPDX-License-Identifier: MIT
// A lab: one temporary folder, a name prefix, and everything made in it, undone in reverse order however the program ends.

import {mkdirSync, mkdtempSync, readdirSync, existsSync, rmSync, writeFileSync} from 'node:fs';
import {constants, tmpdir} from 'node:os';
import {join} from 'node:path';
import {Cleanup} from './cleanup.ts';
import {killRunning, runSync, SYSTEM_PATH} from './exec.ts';
import {deleteNetns, listNetns} from './netns.ts';
import {Proc, type ProcOptions} from './proc.ts';

const FOLDER = /^ipop-lab-(\d+)-/;
const NAMESPACE = /^ipop(\d+)\.\d+-/;
/** In a lab's folder: it was left standing on purpose. */
const KEPT = 'kept';
const PROGRAMS = ['ip', 'nft', 'prosody', 'turnserver', 'iperf3', 'tcpdump', 'dnsmasq', 'arping', 'ping', 'openssl'];
const PYTHON = '/usr/bin/python3';

const open = new Set<Lab>();
let count = 0;
let hooked = false;

export class Lab {
  readonly cleanup = new Cleanup();
  /** Of all namespaces of this lab; holds the process id, so that a later run can tell a dead run's. */
  readonly prefix: string;
  /** Absolute; everything the lab writes is below. */
  readonly dir: string;
  readonly logDir: string;
  readonly #procs: Proc[] = [];

  /** Sweeps what dead runs left, makes the folder, and sees to it that Ctrl-C, SIGTERM and exit undo the lab. */
  static open(): Lab {
    sweep(false);
    const lab = new Lab(++count);
    open.add(lab);
    hookSignals();
    return lab;
  }

  private constructor(number: number) {
    this.prefix = `ipop${process.pid}.${number}-`;
    this.dir = mkdtempSync(join(tmpdir(), `ipop-lab-${process.pid}-`));
    this.cleanup.add(this.dir, () => rmSync(this.dir, {recursive: true, force: true}));
    this.logDir = this.folder('log');
  }

  /** Makes a folder below the lab's. */
  folder(name: string): string {
    const path = join(this.dir, name);
    mkdirSync(path, {recursive: true});
    return path;
  }

  /** Writes a file below the lab's folder and returns its path. */
  file(name: string, text: string, mode = 0o600): string {
    const path = join(this.dir, name);
    writeFileSync(path, text, {mode});
    return path;
  }

  /** Starts a process that ends with the lab; its output is in `log/<name>.log`. */
  spawn(name: string, argv: readonly string[], options?: ProcOptions): Proc {
    const proc = new Proc(name, argv, join(this.logDir, `${name}.log`), options);
    this.#procs.push(proc);
    this.cleanup.add(`process ${name}`, () => proc.signal('SIGKILL'));
    return proc;
  }

  /** Undoes everything. Throws one error that names all that could not be undone. */
  close(): void {
    if (!open.delete(this)) return;
    killRunning();
    const failures = this.cleanup.run();
    if (failures.length > 0) throw new Error(failures.join('\n'));
  }

  /** Leaves everything standing after this program; `sweep(true)` takes it away. */
  keep(): void {
    this.file(KEPT, '');
    open.delete(this);
    this.cleanup.abandon();
    for (const proc of this.#procs) proc.release();
  }
}

/** Takes away what runs whose process is gone left behind; `kept`: also what was left on purpose. Returns how many namespaces. */
export function sweep(kept: boolean): number {
  const spared = new Set<number>();
  const folders = readdirSync(tmpdir()).filter((name) => isDead(FOLDER, name));
  for (const name of folders) {
    if (!kept && existsSync(join(tmpdir(), name, KEPT))) spared.add(pidOf(FOLDER, name));
  }
  const names = listNetns().filter((name) => isDead(NAMESPACE, name) && !spared.has(pidOf(NAMESPACE, name)));
  for (const name of names) deleteNetns(name);
  for (const name of folders) {
    if (!spared.has(pidOf(FOLDER, name))) rmSync(join(tmpdir(), name), {recursive: true, force: true});
  }
  return names.length;
}

/** One sentence that says why this machine cannot run a lab; undefined if it can. */
export function whyNot(): string | undefined {
  hookSignals(); // an interrupted probe must not stay
  if (process.getuid?.() !== 0) return 'Network namespaces and tap devices need root: run this as root.';
  const missing = PROGRAMS.filter((name) => !inPath(name));
  if (!existsSync(PYTHON)) missing.push(PYTHON);
  if (missing.length > 0) return `Programs are missing (scripts/setup installs them): ${missing.join(', ')}.`;
  const probe = `ipop${process.pid}.0-probe`;
  try {
    runSync(['ip', 'netns', 'add', probe]);
  } catch (error) {
    return `This machine lets us make no network namespaces: ${lastLine(error)}`;
  }
  try {
    runSync(['ip', '-n', probe, 'tuntap', 'add', 'dev', 'tap0', 'mode', 'tap']);
  } catch (error) {
    return `This machine lets us make no tap devices (/dev/net/tun): ${lastLine(error)}`;
  } finally {
    deleteNetns(probe);
  }
  return undefined;
}

function hookSignals(): void {
  if (hooked) return;
  hooked = true;
  process.on('exit', () => closeAll());
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => process.exit(128 + constants.signals[name]));
  }
}

function closeAll(): void {
  for (const lab of open) {
    try {
      lab.close();
    } catch (error) {
      process.stderr.write(`${(error as Error).message}\n`);
    }
  }
}

function isDead(pattern: RegExp, name: string): boolean {
  const pid = pidOf(pattern, name);
  return pid > 0 && !existsSync(`/proc/${pid}`);
}

function pidOf(pattern: RegExp, name: string): number {
  return Number(pattern.exec(name)?.[1] ?? 0);
}

function inPath(program: string): boolean {
  return SYSTEM_PATH.split(':').some((folder) => existsSync(join(folder, program)));
}

function lastLine(error: unknown): string {
  return (error as Error).message.trim().split('\n').at(-1) ?? '';
}
