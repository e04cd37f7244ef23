// SPDX-License-Identifier: MIT
// A real ejabberd on the server host.

import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {Internet} from './internet.ts';
import type {Lab} from './lab.ts';
import type {Certificate} from './pki.ts';
import type {Proc} from './proc.ts';
import {Hopeless, until} from './wait.ts';
import {DOMAINS, MUC_DOMAIN, PORT, type XmppServer} from './xmpp-server.ts';

const READY_MS = 30_000;
const ACCOUNT_MS = 10_000;

/**
 * Started without ejabberdctl, which wants the package's own user and folders. Then it reads accounts from its standard input, a line each:
 * user, domain and password in base64.
 */
const PROGRAM = `
{ok, _} = ejabberd:start(),
io:format("~nready~n"),
Read = fun(Again) ->
  case io:get_line("") of
    Line when is_list(Line) ->
      [User, Domain, Secret] = [list_to_binary(Word) || Word <- string:tokens(Line, " \\n")],
      Password = base64:decode(Secret),
      case ejabberd_auth:try_register(User, Domain, Password) of
        {error, exists} -> ok = ejabberd_auth:set_password(User, Domain, Password);
        ok -> ok
      end,
      io:format("account ~s@~s~n", [User, Domain]),
      Again(Again);
    _ -> ok
  end
end,
Read(Read).`;

export class Ejabberd implements XmppServer {
  readonly address = `${Internet.SERVER}:${PORT}`;
  readonly #internet: Internet;
  readonly #folder: string;
  readonly #configFile: string;
  /** Lines for its standard input; kept, for the next start. */
  readonly #accounts = new Map<string, string>();
  #proc: Proc | undefined;

  /** Prepares it; `start` starts it. */
  constructor(lab: Lab, internet: Internet, {certFile, keyFile}: Certificate) {
    this.#internet = internet;
    this.#folder = lab.folder('ejabberd');
    const both = join(this.#folder, 'both.pem');
    writeFileSync(both, readFileSync(keyFile, 'utf8') + readFileSync(certFile, 'utf8'), {mode: 0o600});
    this.#configFile = lab.file('ejabberd/ejabberd.yml', config(both));
  }

  addAccount(user: string, password: string, hash: keyof typeof DOMAINS = 'SHA-1'): string {
    const jid = `${user}@${DOMAINS[hash]}`;
    this.#accounts.set(jid, `${user} ${DOMAINS[hash]} ${Buffer.from(password).toString('base64')}`);
    const proc = this.#proc;
    if (proc !== undefined && proc.ended === undefined) {
      const mark = proc.log().length;
      proc.write(this.#accounts.get(jid)!);
      waitNow(`account ${jid}`, () => proc.log().slice(mark).includes(`account ${jid}\n`));
    }
    return jid;
  }

  get proc(): Proc {
    if (this.#proc === undefined) throw new Error('The XMPP server was never started.');
    return this.#proc;
  }

  async start(): Promise<void> {
    const database = ['-mnesia', 'dir', JSON.stringify(join(this.#folder, 'db'))];
    const argv = ['erl', '-noshell', ...database, '-eval', PROGRAM];
    const env = {
      HOME: this.#folder,
      ERL_LIBS: '/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu',
      EJABBERD_CONFIG_PATH: this.#configFile,
      EJABBERD_LOG_PATH: join(this.#folder, 'ejabberd.log'),
    };
    const proc = this.#internet.server.spawn('ejabberd', argv, {env, input: true});
    this.#proc = proc;
    const mark = proc.log().length;
    const said = (text: string): boolean => {
      if (proc.ended !== undefined) throw new Hopeless(`ejabberd ended (${proc.ended}): ${proc.log().slice(-500)}`);
      return proc.log().slice(mark).includes(text);
    };
    await until('ejabberd to start', READY_MS, () => said('\nready\n'));
    for (const line of this.#accounts.values()) proc.write(line);
    for (const jid of this.#accounts.keys()) await until(`account ${jid}`, ACCOUNT_MS, () => said(`account ${jid}\n`));
    await until('ejabberd to listen', READY_MS, () =>
      this.#internet.server.runSync(['ss', '-Hltn']).includes(`${this.address} `),
    );
  }

  logStanzas(): void {
    throw new Error('ejabberd of the lab logs no stanzas: this test needs Prosody (IPOP_LAB_SERVER).');
  }

  async stop(): Promise<void> {
    await this.proc.stop();
  }
}

/** Accounts are made between two steps of a test that do not wait: it takes some milliseconds. */
function waitNow(what: string, condition: () => boolean): void {
  const end = performance.now() + ACCOUNT_MS;
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${ACCOUNT_MS / 1000} s in vain for ${what}`);
    Atomics.wait(nothing, 0, 0, 10);
  }
}

function config(certificate: string): string {
  return `hosts: ${JSON.stringify(Object.values(DOMAINS))}
loglevel: info
certfiles: [${JSON.stringify(certificate)}]
listen:
  - {port: ${PORT}, ip: "${Internet.SERVER}", module: ejabberd_c2s, tls: true}
auth_method: [internal]
auth_password_format: scram
host_config:
  "${DOMAINS['SHA-1']}": {auth_scram_hash: sha}
  "${DOMAINS['SHA-256']}": {auth_scram_hash: sha256}
modules:
  mod_disco: {}
  mod_ping: {}
  mod_stream_mgmt: {}
  mod_muc: {host: "${MUC_DOMAIN}"}
`;
}
