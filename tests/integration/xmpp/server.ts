// SPDX-License-Identifier: MIT
// What the test servers have in common.

import {execFileSync, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {connect, createServer, type AddressInfo} from 'node:net';
import {join} from 'node:path';
import {Hopeless, until} from '../../lab/wait.ts';

/** A real XMPP server on loopback. */
export abstract class TestServer {
  abstract readonly name: string;
  /** How long it may take to start. */
  protected abstract readonly startLimitMs: number;
  readonly folder: string;
  /** Direct TLS. */
  readonly port: number;
  readonly starttlsPort: number;
  #child: ChildProcess | undefined;

  protected constructor(folder: string, [port, starttlsPort]: readonly [number, number]) {
    this.folder = folder;
    this.port = port;
    this.starttlsPort = starttlsPort;
  }

  /** Starts the process. */
  protected abstract launch(): ChildProcess;

  /** What it said so far. */
  protected abstract log(): string;

  /** Whether it has done all that is to be done before it is used, but for listening. */
  protected isPrepared(): boolean {
    return true;
  }

  /** PEM file of its authority. */
  get caFile(): string {
    return join(this.folder, 'ca.pem');
  }

  /** Starts the process (again) and waits until it listens. */
  async run(): Promise<void> {
    const child = this.launch();
    this.#child = child;
    process.once('exit', () => child.kill('SIGKILL'));
    await until(`${this.name} to listen`, this.startLimitMs, async () => {
      if (child.exitCode !== null) throw new Hopeless(`${this.name} did not start:\n${this.log()}`);
      if (this.isPrepared() && (await listens(this.port)) && (await listens(this.starttlsPort))) return true;
      throw new Error(`it said\n${this.log()}`);
    });
  }

  /** Stops the process, and waits until none of its threads runs any more (proc(5): state T): a signal takes its time. */
  async freeze(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    process.kill(pid, 'SIGSTOP');
    await until(`${this.name} to stop`, 5_000, () =>
      readdirSync(`/proc/${pid}/task`).every((task) =>
        /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')),
      ),
    );
  }

  /** Lets it go on; nothing when it is not frozen. */
  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** kill -9, and waits until it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  /** Ends it and removes its folder. */
  remove(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
    rmSync(this.folder, {recursive: true, force: true});
  }
}

/** A CA (`ca.pem`) and a certificate of its for these names (`server.pem`, `server.key`) in the folder. */
export function makeCertificates(folder: string, names: readonly string[]): void {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, {cwd: folder, stdio: 'pipe'});
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=ipop test CA', '-days', '30');
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=ipop test server');
  const alternatives = names.map((name) => `DNS:${name}`).join(',');
  writeFileSync(join(folder, 'server.ext'), `subjectAltName=${alternatives}\nbasicConstraints=CA:FALSE\n`);
  const ca = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30', '-extfile', 'server.ext'];
  openssl('x509', '-req', '-in', 'server.csr', ...ca, '-out', 'server.pem');
}

/** Two ports of loopback that nobody listens on. */
export async function freePorts(): Promise<[number, number]> {
  return [await freePort(), await freePort()];
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('connect', () => socket.destroy());
    socket.on('error', () => resolve(false));
  });
}
