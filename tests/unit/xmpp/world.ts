// SPDX-License-Identifier: MIT
// Virtual time and in-process bytes for the session.

import {createHash, createHmac, pbkdf2Sync} from 'node:crypto';
import type {ByteStreamHandlers, HashName, StreamTarget, XmppDeps} from '../../../src/xmpp/types.ts';
import type {SrvRecord} from '../../../src/xmpp/servers.ts';
import {FakeServer, type ServerScript} from './fake-server.ts';

const ALGORITHM: Record<HashName, string> = {'SHA-1': 'sha1', 'SHA-256': 'sha256'};

export const hashDeps: Pick<XmppDeps, 'hash' | 'hmac' | 'pbkdf2'> = {
  hash: (name, data) => createHash(ALGORITHM[name]).update(data).digest(),
  hmac: (name, key, data) => createHmac(ALGORITHM[name], key).update(data).digest(),
  pbkdf2: async (name, password, salt, rounds) =>
    pbkdf2Sync(password, salt, rounds, name === 'SHA-1' ? 20 : 32, ALGORITHM[name]),
};

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** One-shot timers that fire when told. */
export class VirtualClock {
  nowMs = 1_000;
  #timers: Timer[] = [];

  readonly after = (delayMs: number, callback: () => void): (() => void) => {
    const timer = {at: this.nowMs + Math.max(0, delayMs), callback};
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  };

  get pending(): number {
    return this.#timers.length;
  }

  /** Lets time pass; promises settle before and after each timer. */
  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      await new Promise(setImmediate);
      const [next] = this.#timers.filter(({at}) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.nowMs = Math.max(this.nowMs, next.at);
      next.callback();
    }
    this.nowMs = end;
  }
}

/** Deps whose every connection ends at a fake server, or at nothing when `script` gives undefined. */
export class World {
  readonly clock = new VirtualClock();
  /** One for each try, in order. */
  readonly servers: FakeServer[] = [];
  readonly triesAtMs: number[] = [];
  readonly targets: StreamTarget[] = [];
  readonly log: string[] = [];
  /** Of the next connections; `handlers` of dead ones are kept for tests that end them by hand. */
  script: ServerScript | undefined = {};
  handlers: ByteStreamHandlers | undefined;
  closed = 0;
  /** What DNS answers to a name; an error is a name server that does not. */
  dns: (name: string) => readonly SrvRecord[] | Error = () => [];
  readonly asked: string[] = [];
  /** How a connection to a host fails; undefined: it does not. */
  refuses: (target: StreamTarget) => readonly [code: string, text: string] | undefined = () => undefined;
  #random = 0;

  readonly deps: XmppDeps & {lookupSrv: XmppDeps['lookupSrv']} = {
    ...hashDeps,
    lookupSrv: (name) => this.#lookup(name),
    openStream: (target, handlers) => this.#open(target, handlers),
    // Not random, but never twice the same.
    randomBytes: (length) => Uint8Array.from({length}, () => (this.#random = (this.#random * 73 + 41) % 256)),
    nowMs: () => this.clock.nowMs,
    after: this.clock.after,
    log: (level, text) => this.log.push(`${level} ${text}`),
  };

  get server(): FakeServer {
    const server = this.servers.at(-1);
    if (!server) throw new Error('nobody connected');
    return server;
  }

  async #lookup(name: string): Promise<readonly SrvRecord[]> {
    this.asked.push(name);
    const answer = this.dns(name);
    if (answer instanceof Error) throw answer;
    return answer;
  }

  #open(target: StreamTarget, handlers: ByteStreamHandlers): {write(data: Uint8Array): void; close(): void} {
    this.targets.push(target);
    this.triesAtMs.push(this.clock.nowMs);
    this.handlers = handlers;
    const refusal = this.refuses(target);
    if (refusal) {
      this.clock.after(0, () => handlers.onClosed(...refusal));
      return {write: () => undefined, close: () => void this.closed++};
    }
    if (!this.script) return {write: () => undefined, close: () => void this.closed++};
    const server = new FakeServer(this.script, (text) => handlers.onData(new TextEncoder().encode(text)));
    this.servers.push(server);
    this.clock.after(0, () =>
      handlers.onOpen({
        address: '192.0.2.1:5223',
        tls: this.script?.tls ?? 'TLSv1.3',
        exporter: this.script?.exporter ?? '',
      }),
    );
    return {
      write: (data) => void this.clock.after(0, () => server.receive(new TextDecoder().decode(data))),
      close: () => void this.closed++,
    };
  }
}
