// SPDX-License-Identifier: MIT
// An ejabberd of its own on loopback: temporary folder, own CA, direct TLS and STARTTLS, one domain, one MUC service.

import {spawn, type ChildProcess} from 'node:child_process';
import {mkdtempSync, readFileSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {ROOMS_DOMAIN, SHA256_DOMAIN} from './prosody.ts';
import {freePorts, makeCertificates, TestServer} from './server.ts';

export class Ejabberd extends TestServer {
  readonly name = 'ejabberd';
  protected readonly startLimitMs = 20_000;
  readonly #accounts: Readonly<Record<string, string>>;
  #said = '';

  private constructor(folder: string, ports: readonly [number, number], accounts: Readonly<Record<string, string>>) {
    super(folder, ports);
    this.#accounts = accounts;
  }

  /** Starts a server with these accounts (JID -> password), all of SHA256_DOMAIN. */
  static async start(accounts: Readonly<Record<string, string>>): Promise<Ejabberd> {
    const folder = mkdtempSync(join(tmpdir(), 'ipop-ejabberd-'));
    const server = new Ejabberd(folder, await freePorts(), accounts);
    try {
      makeCertificates(folder, [SHA256_DOMAIN, ROOMS_DOMAIN]);
      const [key, certificate] = ['server.key', 'server.pem'].map((name) => readFileSync(join(folder, name), 'utf8'));
      writeFileSync(join(folder, 'both.pem'), `${key}${certificate}`);
      writeFileSync(join(folder, 'ejabberd.yml'), server.#config());
      await server.run();
      return server;
    } catch (error) {
      server.remove();
      throw error;
    }
  }

  protected log(): string {
    return this.#said;
  }

  protected override isPrepared(): boolean {
    return this.#said.includes('\nready\n');
  }

  /** Without ejabberdctl, which wants the package's own user and folders. Accounts that are there already stay as they are. */
  protected launch(): ChildProcess {
    const made = Object.entries(this.#accounts).map(([jid, password]) => {
      const [user = '', domain = ''] = jid.split('@');
      const secret = Buffer.from(password).toString('base64');
      return `ejabberd_auth:try_register(<<"${user}">>, <<"${domain}">>, base64:decode(<<"${secret}">>))`;
    });
    const program = `{ok, _} = ejabberd:start(), ${[...made, 'io:format("~nready~n")'].join(', ')}.`;
    const args = ['-noinput', '-mnesia', 'dir', JSON.stringify(join(this.folder, 'db')), '-eval', program];
    const child = spawn('erl', args, {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        HOME: this.folder,
        ERL_LIBS: '/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu',
        EJABBERD_CONFIG_PATH: join(this.folder, 'ejabberd.yml'),
        EJABBERD_LOG_PATH: join(this.folder, 'ejabberd.log'),
      },
    });
    this.#said = '';
    const hear = (data: Buffer): void => void (this.#said = (this.#said + data.toString()).slice(-4_000));
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    return child;
  }

  #config(): string {
    return `hosts: ["${SHA256_DOMAIN}"]
loglevel: info
certfiles: [${JSON.stringify(join(this.folder, 'both.pem'))}]
listen:
  - {port: ${this.starttlsPort}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true}
  - {port: ${this.port}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true}
auth_method: [internal]
auth_password_format: scram
auth_scram_hash: sha256
modules:
  mod_disco: {}
  mod_ping: {}
  mod_stream_mgmt: {}
  mod_muc: {host: "${ROOMS_DOMAIN}"}
`;
  }
}
