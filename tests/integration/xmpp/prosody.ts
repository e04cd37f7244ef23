// SPDX-License-Identifier: MIT
// A Prosody of its own on loopback: temporary folder, own CA, direct TLS, two domains (one for each password hash), one MUC service.

import {execFileSync, spawn, type ChildProcess} from 'node:child_process';
import {chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {freePorts, makeCertificates, TestServer} from './server.ts';

export const SHA1_DOMAIN = 'sha1.test';
export const SHA256_DOMAIN = 'sha256.test';
export const ROOMS_DOMAIN = 'rooms.sha256.test';
const START_LIMIT_MS = 15_000;

export class Prosody extends TestServer {
  readonly name = 'Prosody';
  protected readonly startLimitMs = START_LIMIT_MS;

  /** Starts a server with these accounts (JID -> password). */
  static async start(accounts: Readonly<Record<string, string>>): Promise<Prosody> {
    const folder = mkdtempSync(join(tmpdir(), 'ipop-prosody-'));
    const server = new Prosody(folder, await freePorts());
    try {
      makeCertificates(folder, [SHA1_DOMAIN, SHA256_DOMAIN, ROOMS_DOMAIN]);
      mkdirSync(join(folder, 'data'));
      writeFileSync(join(folder, 'prosody.cfg.lua'), server.#config());
      for (const [jid, password] of Object.entries(accounts)) server.#addAccount(jid, password);
      giveAway(folder);
      await server.run();
      return server;
    } catch (error) {
      server.remove();
      throw error;
    }
  }

  protected log(): string {
    return readFileSync(join(this.folder, 'prosody.log'), 'utf8');
  }

  protected launch(): ChildProcess {
    return spawn('prosody', ['--config', join(this.folder, 'prosody.cfg.lua'), '-F'], {
      stdio: 'ignore',
      ...(process.getuid?.() === 0 ? ids() : {}),
    });
  }

  #addAccount(jid: string, password: string): void {
    const [user = '', domain = ''] = jid.split('@');
    const args = ['--config', join(this.folder, 'prosody.cfg.lua'), 'register', user, domain, password];
    execFileSync('prosodyctl', args, {stdio: 'pipe', timeout: START_LIMIT_MS});
  }

  #config(): string {
    const path = (name: string): string => JSON.stringify(join(this.folder, name));
    return `
data_path = ${path('data')}
pidfile = ${path('prosody.pid')}
run_as_root = true
log = { debug = ${path('prosody.log')} }
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "smacks", "presence", "message", "iq" }
modules_disabled = { "s2s", "posix" }
interfaces = { "127.0.0.1" }
c2s_ports = { ${this.starttlsPort} }
c2s_require_encryption = true
c2s_direct_tls_ports = { ${this.port} }
s2s_ports = {}
ssl = { key = ${path('server.key')}, certificate = ${path('server.pem')} }
c2s_direct_tls_ssl = { key = ${path('server.key')}, certificate = ${path('server.pem')} }
authentication = "internal_hashed"
VirtualHost "${SHA1_DOMAIN}"
  password_hash = "SHA-1"
VirtualHost "${SHA256_DOMAIN}"
  password_hash = "SHA-256"
Component "${ROOMS_DOMAIN}" "muc"
`;
  }
}

/** Prosody refuses to be root; the package's own user runs it. */
function ids(): {uid: number; gid: number} {
  const id = (option: string): number => Number(execFileSync('id', [option, 'prosody'], {encoding: 'utf8'}));
  return {uid: id('-u'), gid: id('-g')};
}

function giveAway(folder: string): void {
  if (process.getuid?.() !== 0) return;
  const {uid, gid} = ids();
  chmodSync(folder, 0o700);
  chownSync(folder, uid, gid);
  for (const entry of readdirSync(folder, {recursive: true, encoding: 'utf8'}))
    chownSync(join(folder, entry), uid, gid);
}
