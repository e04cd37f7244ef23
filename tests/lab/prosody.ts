// SPDX-License-Identifier: MIT
// A real Prosody on the server host.

import {join} from 'node:path';
import {Internet} from './internet.ts';
import type {Lab} from './lab.ts';
import type {Certificate} from './pki.ts';
import type {Proc} from './proc.ts';
import {Hopeless, until} from './wait.ts';
import {DOMAINS, MUC_DOMAIN, PORT, type XmppServer} from './xmpp-server.ts';

const READY_MS = 10_000;

export class Prosody implements XmppServer {
  readonly address = `${Internet.SERVER}:${PORT}`;
  readonly #internet: Internet;
  readonly #lab: Lab;
  readonly #configFile: string;
  readonly #data: string;
  readonly #certificate: Certificate;
  #proc: Proc | undefined;

  /** Prepares it; `start` starts it. */
  constructor(lab: Lab, internet: Internet, certificate: Certificate) {
    this.#lab = lab;
    this.#internet = internet;
    this.#certificate = certificate;
    this.#data = lab.folder('prosody');
    for (const domain of Object.values(DOMAINS)) lab.folder(`prosody/${escape(domain)}/accounts`);
    this.#configFile = lab.file('prosody.cfg.lua', config(this.#data, certificate));
  }

  addAccount(user: string, password: string, hash: keyof typeof DOMAINS = 'SHA-1'): string {
    const domain = DOMAINS[hash];
    // Prosody hashes it, with the virtual host's hash, when it is first used.
    const account = `return { ["password"] = ${JSON.stringify(password)}; };\n`;
    this.#lab.file(`prosody/${escape(domain)}/accounts/${escape(user)}.dat`, account);
    return `${user}@${domain}`;
  }

  get proc(): Proc {
    if (this.#proc === undefined) throw new Error('The XMPP server was never started.');
    return this.#proc;
  }

  async start(): Promise<void> {
    const proc = this.#internet.server.spawn('prosody', ['prosody', '-F', '--config', this.#configFile]);
    const mark = proc.log().length;
    this.#proc = proc;
    await until('Prosody to listen', READY_MS, () => {
      if (proc.ended !== undefined) throw new Hopeless(`Prosody ended (${proc.ended}): ${proc.log().slice(-500)}`);
      return proc.log().slice(mark).includes('c2s_direct_tls');
    });
  }

  logStanzas(): void {
    this.#lab.file('prosody.cfg.lua', config(this.#data, this.#certificate, ['stanza_debug']));
  }

  async stop(): Promise<void> {
    await this.proc.stop();
  }
}

/** Prosody's file names: everything but letters and digits as %xx. */
function escape(text: string): string {
  return text.replace(/[^A-Za-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function config(data: string, {certFile, keyFile}: Certificate, modules: readonly string[] = []): string {
  const enabled = ['roster', 'saslauth', 'tls', 'disco', 'ping', 'smacks', 'posix', ...modules];
  const tls = `{ certificate = "${certFile}"; key = "${keyFile}" }`;
  const hosts = Object.entries(DOMAINS).map(([hash, domain]) => `VirtualHost "${domain}"\n  password_hash = "${hash}"`);
  return `run_as_root = true
daemonize = false
pidfile = "${join(data, 'prosody.pid')}"
data_path = "${data}"
interfaces = { "${Internet.SERVER}" }
c2s_ports = { 5222 }
c2s_direct_tls_ports = { ${PORT} }
s2s_ports = {}
certificates = "${data}"
http_ports = {}
https_ports = {}
ssl = ${tls}
c2s_direct_tls_ssl = ${tls}
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
log = { { levels = { min = "debug" }, to = "console" } }
modules_enabled = { ${enabled.map((name) => `"${name}"`).join(', ')} }
modules_disabled = { "s2s", "offline" }

${hosts.join('\n')}

Component "${MUC_DOMAIN}" "muc"
`;
}
