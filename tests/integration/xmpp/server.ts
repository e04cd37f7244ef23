// SPDX-License-Identifier: MIT
// What the test servers have in common.

import {execFileSync} from 'node:child_process';
import {once} from 'node:events';
import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {connect, createServer, type AddressInfo} from 'node:net';
import {join} from 'node:path';
import {until} from '../../lab/wait.ts';

/** A real XMPP server on loopback. */
export interface TestServer {
  readonly name: string;
  /** Direct TLS. */
  readonly port: number;
  readonly starttlsPort: number;
  readonly folder: string;
  /** PEM file of its authority. */
  readonly caFile: string;
  /** Starts the process (again) and waits until it listens. */
  run(): Promise<void>;
  /** Stops the process, and waits until none of its threads runs any more: a signal takes its time. */
  freeze(): Promise<void>;
  /** Lets it go on; nothing when it is not frozen. */
  thaw(): void;
  /** kill -9, and waits until it is gone. */
  kill(): Promise<void>;
  /** Ends it and removes its folder. */
  remove(): void;
}

/** Waits until no thread of the process runs (proc(5): state T). */
export async function stopped(pid: number): Promise<void> {
  await until(`process ${pid} to stop`, 5_000, () =>
    readdirSync(`/proc/${pid}/task`).every((task) =>
      /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')),
    ),
  );
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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const {port} = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('connect', () => socket.destroy());
    socket.on('error', () => resolve(false));
  });
}
