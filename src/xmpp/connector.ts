// SPDX-License-Identifier: MIT
// From the account to an open stream: finds the servers, and tries them one after the other until TLS stands with one of them.

import {textOf} from '../base/errors.ts';
import {namedServers, orderServers, srvNames, type Server} from './servers.ts';
import type {ByteStream, ByteStreamHandlers, XmppDeps, XmppOptions} from './types.ts';

/** For all name servers together. A router's own answers at once, or after it has asked outside. */
const SRV_LIMIT_MS = 3_000;
/** TCP and TLS with one server. A SYN lost twice (1 s, 3 s) still gets through. */
const TRY_LIMIT_MS = 8_000;
const STREAM_TIMEOUT_MS = 7_000;
/** Failures that say no more than that nobody is there; what a server says of itself is worth more to a person. */
const SILENT = ['dns', 'refused', 'unreachable', 'timeout', 'reset', 'eof'];

export interface ConnectorOptions extends Pick<XmppOptions, 'server' | 'tls' | 'pin' | 'caFile'> {
  /** Of the account; the certificate must be for it. */
  readonly domain: string;
}

interface Failure {
  readonly code: string;
  readonly text: string;
}

export class Connector {
  readonly #deps: XmppDeps;
  readonly #options: ConnectorOptions;
  /** In 0..1. */
  readonly #random: () => number;
  /** What DNS said last: it may be away while the server is not. */
  #found: readonly Server[] = [];
  #trying: Server | undefined;

  constructor(deps: XmppDeps, options: ConnectorOptions, random: () => number) {
    this.#deps = deps;
    this.#options = options;
    this.#random = random;
  }

  /** The server that is or was tried last, for sentences. */
  get place(): string {
    const {server, domain} = this.#options;
    if (this.#trying) return `server ${this.#trying.host}:${this.#trying.port}`;
    return `server ${server ? server.host : `of ${domain}`}`;
  }

  /** Connects to one server after the other; `onClosed` tells when none takes us, at the latest after 3 s and 8 s for each (at most 8). */
  connect(handlers: ByteStreamHandlers): ByteStream {
    const attempt = new Attempt(this.#deps, this.#options, handlers, (server) => (this.#trying = server));
    const {server, tls} = this.#options;
    if (server) attempt.tryAll(namedServers(server, tls));
    else void this.#find().then((servers) => attempt.tryAll(servers));
    return attempt;
  }

  async #find(): Promise<readonly Server[]> {
    const {domain, tls: mode} = this.#options;
    const asked = srvNames(domain, mode).map(async ({tls, name}) => ({
      tls,
      records: await this.#deps.lookupSrv(name, SRV_LIMIT_MS),
    }));
    const settled = await Promise.allSettled(asked);
    const answers = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    for (const one of settled) if (one.status === 'rejected') this.#deps.log('debug', textOf(one.reason));
    const failed = answers.length < settled.length;
    // Half an answer may lack the better half.
    if (failed && this.#found.length > 0) return this.#found;
    const servers = orderServers(domain, mode, answers, this.#random);
    if (!failed) this.#found = servers;
    return servers;
  }
}

/** One round through the servers; then the stream to the one that took us. */
class Attempt implements ByteStream {
  readonly #deps: XmppDeps;
  readonly #options: ConnectorOptions;
  readonly #handlers: ByteStreamHandlers;
  readonly #onTry: (server: Server) => void;
  readonly #failures: Failure[] = [];
  #stream: ByteStream | undefined;
  #cancelLimit: (() => void) | undefined;
  #over = false;

  constructor(
    deps: XmppDeps,
    options: ConnectorOptions,
    handlers: ByteStreamHandlers,
    onTry: (server: Server) => void,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#handlers = handlers;
    this.#onTry = onTry;
  }

  write(data: Uint8Array): void {
    this.#stream?.write(data);
  }

  close(): void {
    this.#over = true;
    this.#cancelLimit?.();
    this.#stream?.close();
  }

  tryAll(servers: readonly Server[]): void {
    if (this.#over) return;
    const [server, ...rest] = servers;
    if (!server) return this.#giveUp();
    this.#onTry(server);
    const place = `server ${server.host}:${server.port}`;
    let [opened, ended] = [false, false];
    // A stream that is closed while it is being tried still tells its end, later.
    const fail = (code: string, text: string): void => {
      if (ended) return;
      ended = true;
      this.#cancelLimit?.();
      if (this.#over) return;
      if (opened) return this.#handlers.onClosed(code, text);
      this.#failures.push({code, text: text || `${place} cannot be reached (${code})`});
      if (rest.length > 0) this.#deps.log('debug', text);
      this.tryAll(rest);
    };
    const {domain: name, caFile, pin} = this.#options;
    const target = {...server, name, caFile, pin, timeoutMs: STREAM_TIMEOUT_MS};
    this.#cancelLimit = this.#deps.after(TRY_LIMIT_MS, () => {
      const stream = this.#stream;
      fail('timeout', `${place} did not answer in time`);
      stream?.close();
    });
    try {
      const stream = this.#deps.openStream(target, {
        onOpen: (info) => {
          if (ended || this.#over) return;
          opened = true;
          this.#cancelLimit?.();
          this.#handlers.onOpen(info);
        },
        onData: (data) => {
          if (!ended && !this.#over) this.#handlers.onData(data);
        },
        onClosed: fail,
      });
      if (!ended) this.#stream = stream;
    } catch (error) {
      fail('open', `cannot open a connection to ${place}: ${textOf(error)}`);
    }
  }

  #giveUp(): void {
    const {domain} = this.#options;
    const telling = this.#failures.find(({code}) => !SILENT.includes(code)) ?? this.#failures[0];
    if (!telling) {
      const text = `'${domain}' says in DNS that it has no server for clients (SRV target '.'); name one by option server`;
      return this.#handlers.onClosed('no-server', text);
    }
    const others = this.#failures.filter((failure) => failure !== telling).map(({text}) => text);
    const all = [...new Set([telling.text, ...others])];
    const text = all.length > 3 ? `${all.slice(0, 3).join('; ')}; and ${all.length - 3} more` : all.join('; ');
    this.#handlers.onClosed(telling.code, text);
  }
}
