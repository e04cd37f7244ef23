// SPDX-License-Identifier: MIT
// A session with its history, for tests to wait on.

import type {Element} from '@xmpp/xml';
import {createXmppSession} from '../../../src/xmpp/session.ts';
import type {XmppDeps, XmppOptions, XmppSession} from '../../../src/xmpp/types.ts';
import {nodeDeps} from './node-deps.ts';
import {ROOMS_DOMAIN} from './prosody.ts';
import type {TestServer} from './server.ts';

const WAIT_LIMIT_MS = 30_000;

export interface TestNodeOptions extends Partial<XmppOptions> {
  /** Default: by Node. */
  readonly makeDeps?: (log: (line: string) => void) => XmppDeps;
}

export class TestNode {
  readonly id: string;
  readonly jid: string;
  readonly session: XmppSession;
  /** Node id -> full JID, as reported. */
  readonly members = new Map<string, string>();
  /** All that was reported, in order: `state online`, `error <code>: <text>`, `+ <digit>`, `- <digit>`, `jingle <sid>`; log lines too. */
  readonly history: string[] = [];
  state = 'offline';
  error: string | undefined;
  retryInMs: number | undefined;
  readonly #waiters = new Set<() => void>();

  /** `digit` makes the node id. */
  constructor(
    server: TestServer,
    digit: string,
    jid: string,
    password: string,
    {makeDeps = nodeDeps, ...options}: TestNodeOptions = {},
  ) {
    // One digit, or more of them for more than sixteen nodes.
    this.id = digit.repeat(40).slice(0, 40);
    this.jid = jid;
    const {port, caFile} = server;
    const room = `lan@${ROOMS_DOMAIN}`;
    const resource = `ipop-${this.id.slice(0, 16)}`;
    const fixed = {
      jid,
      password,
      server: {host: '127.0.0.1', port},
      tls: 'direct',
      pin: undefined,
      caFile,
      resource,
      room,
      nick: this.id,
    } as const;
    const deps = makeDeps((line) => this.history.push(line));
    this.session = createXmppSession(
      {
        ...deps,
        pbkdf2: (hash, ...args) => {
          this.history.push(`pbkdf2 ${hash}`);
          return deps.pbkdf2(hash, ...args);
        },
      },
      {...fixed, owner: false, members: [], ...options},
      {
        onState: (state, error, retryAtMs) => {
          this.state = state;
          this.error = error?.code;
          this.retryInMs = retryAtMs === undefined ? undefined : retryAtMs - performance.now();
          this.#note(`state ${state}`);
          if (error) this.#note(`error ${error.code}: ${error.message}`);
        },
        onMemberOnline: (member) => {
          this.members.set(member.id, member.jid);
          this.#note(`+ ${member.id[0]}`);
        },
        onMemberOffline: (id) => {
          this.members.delete(id);
          this.#note(`- ${id[0]}`);
        },
        onJingle: (from: string, jingle: Element) => this.#note(`jingle ${jingle.attrs['sid']} from ${from}`),
      },
    );
  }

  /** Resolves when the condition holds; checked after each report. */
  async until(what: string, condition: (node: TestNode) => boolean): Promise<void> {
    if (condition(this)) return;
    await new Promise<void>((resolve, reject) => {
      const fail = (): void =>
        reject(new Error(`${this.jid}: no '${what}' in ${WAIT_LIMIT_MS} ms:\n${this.history.join('\n')}`));
      const timer = setTimeout(fail, WAIT_LIMIT_MS);
      const check = (): void => {
        if (!condition(this)) return;
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve();
      };
      this.#waiters.add(check);
    });
  }

  /** Starts it and waits until it is in the room. */
  async online(): Promise<void> {
    this.session.start();
    await this.until('online', (node) => node.state === 'online');
  }

  #note(line: string): void {
    this.history.push(line);
    for (const check of [...this.#waiters]) check();
  }
}
