// SPDX-License-Identifier: MIT
// A router as the init script sees it: BusyBox, the .ipk unpacked, stand-ins (router/) for what else of OpenWrt it calls. What procd,
// netifd and the log would be told is written down; procd's own part, when to start anew, is played here.

import {createHash} from 'node:crypto';
import {chmodSync, cpSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {run, runOk, runSync} from '../lab/exec.ts';
import {copyLibraries, exists, makeDevices, TREE} from './kit.ts';

const INIT = '/etc/init.d/ipop';
/** What procd does with the daemon after it was told something. */
export type Effect = 'started' | 'restarted' | 'signalled' | 'untouched' | 'stopped' | 'none';

export class Router {
  readonly root: string;
  /** Description of the running instance, files' checksums included. */
  #running: string | undefined;

  private constructor(root: string) {
    this.root = root;
  }

  /** Unpacks an .ipk into a new root. */
  static async create(root: string, ipk: string): Promise<Router> {
    for (const folder of ['bin', 'sbin', 'tmp', 'var/run', 'netifd', 'sys/class/net', 'usr/bin', 'usr/sbin'])
      mkdirSync(join(root, folder), {recursive: true});
    cpSync('/usr/bin/busybox', join(root, 'bin/busybox'));
    copyLibraries('/usr/bin/busybox', root);
    for (const applet of runSync(['busybox', '--list']).split('\n'))
      if (applet !== '' && applet !== 'busybox') symlinkSync('/bin/busybox', join(root, 'bin', applet));
    rmSync(join(root, 'bin/logger'), {force: true});
    makeDevices(root);
    cpSync(join(TREE, 'tests/package/router'), root, {recursive: true});
    const router = new Router(root);
    cpSync(ipk, join(root, 'tmp/ipop.ipk'));
    await router.sh('tar xzf /tmp/ipop.ipk -C /tmp && tar xzf /tmp/data.tar.gz -C /');
    copyLibraries(join(root, 'usr/sbin/ipopd'), root);
    return router;
  }

  /** Back to how it is after a boot without the service. */
  reset(): void {
    this.#setRunning(undefined);
    rmSync(join(this.root, 'var/run/ipop'), {recursive: true, force: true});
    for (const name of ['sys/class/net', 'netifd']) {
      rmSync(join(this.root, name), {recursive: true, force: true});
      mkdirSync(join(this.root, name));
    }
  }

  /** Runs a line of BusyBox's shell in it. */
  async sh(line: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    return await runOk([
      'env',
      '-i',
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
      ...variables,
      'chroot',
      this.root,
      '/bin/sh',
      '-c',
      line,
    ]);
  }

  /** Calls the init script; returns all it told others, a call a line. */
  async init(...args: readonly string[]): Promise<string> {
    this.write('calls', '');
    await this.sh(`${INIT} ${args.join(' ')}`);
    return this.read('calls');
  }

  /** As `init`, and what procd makes of it. */
  async procd(action: string): Promise<{readonly calls: string; readonly effect: Effect}> {
    const calls = await this.init(action);
    const killed = calls.includes('procd_kill');
    if (killed) this.#setRunning(undefined);
    if (!calls.includes('procd_open_service')) return {calls, effect: killed ? 'stopped' : 'none'};
    const before = this.#running;
    this.#setRunning(this.#instance(calls));
    const signalled = calls.includes("procd_send_signal 'ipop' 'main' 'HUP'");
    if (before === this.#running && before !== undefined) return {calls, effect: signalled ? 'signalled' : 'untouched'};
    if (signalled) throw new Error('a daemon that does not listen for signals yet was sent one');
    if (before === this.#running) return {calls, effect: 'none'};
    if (before === undefined) return {calls, effect: 'started'};
    return {calls, effect: this.#running === undefined ? 'stopped' : 'restarted'};
  }

  /** Runs what procd would run; it has to end by itself. */
  async command(calls: string): Promise<{readonly code: number; readonly stderr: string}> {
    const words = /^procd_set_param 'command' (.*)$/m.exec(calls)?.[1]?.split(' ') ?? [];
    return await run(['unshare', '-n', 'chroot', this.root, ...words.map((word) => word.slice(1, -1))], {
      timeoutMs: 5_000,
    });
  }

  write(path: string, text: string, mode = 0o600): void {
    writeFileSync(join(this.root, path), text);
    chmodSync(join(this.root, path), mode);
  }

  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  exists(path: string): boolean {
    return exists(join(this.root, path));
  }

  mode(path: string): string {
    return (statSync(join(this.root, path)).mode & 0o777).toString(8);
  }

  #setRunning(instance: string | undefined): void {
    this.#running = instance;
    const mark = join(this.root, 'tmp/procd-running');
    if (instance === undefined) rmSync(mark, {force: true});
    else writeFileSync(mark, '');
  }

  #instance(calls: string): string | undefined {
    const instance = /^procd_open_instance.*^procd_close_instance$/ms.exec(calls)?.[0];
    if (instance === undefined) return undefined;
    const files = [...(/^procd_set_param 'file' (.*)$/m.exec(instance)?.[1] ?? '').matchAll(/'([^']*)'/g)];
    const sums = files.map(([, file = '']) =>
      createHash('md5')
        .update(readFileSync(join(this.root, file)))
        .digest('hex'),
    );
    return [instance, ...sums].join('\n');
  }
}
