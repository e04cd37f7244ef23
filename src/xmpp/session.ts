// SPDX-License-Identifier: MIT
// The account as a state machine that keeps itself up.
//
//   offline ──► connecting ──► authenticating ──► joining ──► online
//      ▲           │ 8 s each       │ 15 s         │ 20 s ▲      │ out of the room
//      │           │                │              ▼      │ 5 s  │
//      └──── any failure: back-off ─┴───────── waiting ◄──┴──────┘          stop(), or a refused password ──► stopped

import xml, {type Element} from '@xmpp/xml';
import jidOf from '@xmpp/jid';
import {fromHex, hex} from '../base/bytes.ts';
import {IpopError} from '../base/errors.ts';
import type {XmppState} from '../status/types.ts';
import {rejoinDelayMs, retryDelayMs, severityOf} from './backoff.ts';
import {forgetRequests, ServerConnection, type Resumable} from './connection.ts';
import {Connector} from './connector.ts';
import {Liveness, PROBE_LIMIT_MS} from './liveness.ts';
import {Room, type RoomIo} from './muc.ts';
import type {SaltedPassword} from './scram.ts';
import type {ByteStream, XmppDeps, XmppHandlers, XmppOptions, XmppSession} from './types.ts';

/** A few round trips, and PBKDF2 on a slow router. */
const LOGIN_LIMIT_MS = 15_000;
const JOIN_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 2_000;
const JINGLE_LIMIT_MS = 15_000;
const ROOM_REQUEST_LIMIT_MS = 10_000;
/** A session that lived this long was a good one: failures are counted anew. */
const STEADY_MS = 10_000;
/** `probe` hastens a retry, but not into a hammer. */
const PROBE_GAP_MS = 1_000;

/** Makes a session; nothing happens before `start`. */
export function createXmppSession(deps: XmppDeps, options: XmppOptions, handlers: XmppHandlers): XmppSession {
  return new Session(deps, options, handlers);
}

class Session implements XmppSession {
  readonly #deps: XmppDeps;
  readonly #options: XmppOptions;
  readonly #handlers: XmppHandlers;
  readonly #room: Room;
  readonly #connector: Connector;
  readonly #cache: SaltedPassword = {key: '', salted: undefined};
  #state: XmppState = 'offline';
  #running = false;
  #failures = 0;
  /** By the room, in a row. */
  #refusals = 0;
  #lastTryMs = Number.NEGATIVE_INFINITY;
  #onlineSinceMs: number | undefined;
  #lastError: IpopError | undefined;
  #cancelTimer: (() => void) | undefined;
  #bytes: ByteStream | undefined;
  #connection: ServerConnection | undefined;
  #resumable: Resumable | undefined;
  #liveness: Liveness | undefined;
  #server: string | undefined;
  #onStopped: (() => void) | undefined;
  #stopping: Promise<void> | undefined;

  constructor(deps: XmppDeps, options: XmppOptions, handlers: XmppHandlers) {
    this.#deps = deps;
    this.#options = options;
    this.#handlers = handlers;
    const {room, nick, owner, members} = options;
    const {domain} = jidOf(options.jid);
    this.#connector = new Connector(deps, {...options, domain}, () => this.#random());
    const jid = jidOf(options.jid).bare().toString();
    this.#room = new Room(
      {room, nick, jid, owner, members},
      {
        onJoined: () => this.#onJoined(),
        onRefused: (error) => this.#onRoomRefused(error),
        onMemberOnline: (member) => handlers.onMemberOnline(member),
        onMemberOffline: (id) => handlers.onMemberOffline(id),
        onTwin: (jid) => handlers.onTwin?.(jid),
        log: (level, text) => deps.log(level, text),
        after: (delayMs, callback) => deps.after(delayMs, callback),
      },
    );
  }

  get server(): string | undefined {
    return this.#server;
  }

  start(): void {
    if (this.#running || this.#stopping) return;
    this.#running = true;
    this.#connect();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  #stop(): Promise<void> {
    this.#running = false;
    const connection = this.#connection;
    if (!connection || !this.#isUp) {
      this.#close();
      this.#forget();
      this.#enter('stopped', undefined);
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const finish = (): void => {
        this.#onStopped = undefined;
        this.#close();
        this.#forget();
        resolve();
      };
      this.#enter('stopped', undefined);
      this.#liveness?.stop();
      this.#onStopped = finish;
      this.#limit(STOP_LIMIT_MS, finish);
      this.#room.leave();
      connection.send(xml('presence', {type: 'unavailable'}));
      connection.sendFooter();
    });
  }

  async sendJingle(to: string, jingle: Element): Promise<void> {
    if (!this.#connection || !this.#isUp)
      throw new IpopError('offline', `cannot send to '${to}': not connected to the server`);
    const address = jidOf(to);
    if (!address.resource) throw new IpopError('jid-malformed', `cannot send to '${to}': not a full address`);
    await this.#request(this.#connection, xml('iq', {type: 'set', to}, jingle), JINGLE_LIMIT_MS);
  }

  probe(): void {
    if (!this.#running) return;
    if (this.#isUp) return this.#liveness?.ask(PROBE_LIMIT_MS);
    const waits = this.#state === 'offline' && this.#lastError && severityOf(this.#lastError.code) === 'transient';
    if (waits && this.#deps.nowMs() - this.#lastTryMs >= PROBE_GAP_MS) this.#connect();
  }

  setMembers(members: readonly string[]): void {
    this.#room.setMembers(members);
  }

  /** Whether stanzas can be sent. */
  get #isUp(): boolean {
    return this.#state === 'joining' || this.#state === 'waiting' || this.#state === 'online';
  }

  #connect(): void {
    this.#lastTryMs = this.#deps.nowMs();
    this.#enter('connecting', undefined);
    // Its own time limits are the connector's.
    this.#cancelTimer?.();
    let ended = false;
    // Also when it ends before `connect` has returned.
    let bytes: ByteStream | undefined = undefined as ByteStream | undefined;
    const isCurrent = (): boolean => !ended && (bytes === undefined || bytes === this.#bytes);
    bytes = this.#connector.connect({
      onOpen: (info) => {
        if (isCurrent()) this.#onOpen(info);
      },
      onData: (data) => {
        if (isCurrent()) this.#onData(data);
      },
      onClosed: (code, text) => {
        if (isCurrent()) this.#onClosed(code, text);
        ended = true;
      },
    });
    if (!ended) this.#bytes = bytes;
  }

  #onOpen({address, tls, exporter}: {address: string; tls: string; exporter: string}): void {
    if (this.#state !== 'connecting') return;
    this.#server = address;
    this.#deps.log('debug', `connected to ${address} (${tls})`);
    this.#enter('authenticating', undefined);
    this.#limit(LOGIN_LIMIT_MS, () =>
      this.#lose(new IpopError('timeout', `${this.#place} did not finish the login in time`)),
    );
    const resumable = this.#resumable;
    this.#resumable = undefined;
    const connection = new ServerConnection(
      this.#deps,
      this.#options,
      {cache: this.#cache, resumable, exporter: tls === 'TLSv1.3' && exporter !== '' ? fromHex(exporter) : undefined},
      (data) => this.#bytes?.write(data),
      {
        onReady: (resumed) => this.#onReady(resumed),
        onFailed: (error) => this.#lose(error),
        onPresence: (presence) => this.#room.handlePresence(presence),
        onJingle: (from, jingle) => this.#onJingle(from, jingle),
        onAcknowledged: () => this.#liveness?.onAnswer(),
        onEnd: () => this.#onClosed('eof', `${this.#place} ended the stream`),
      },
    );
    this.#connection = connection;
    connection.open();
  }

  #onData(data: Uint8Array): void {
    this.#liveness?.onHeard();
    this.#connection?.receive(data);
  }

  #onClosed(code: string, sentence: string): void {
    if (this.#onStopped) return this.#onStopped();
    const connection = this.#connection;
    const lose = (): void => {
      if (connection === this.#connection)
        this.#lose(new IpopError(code, sentence || `connection to ${this.#place} was lost (${code})`));
    };
    // The server's last words, the reason perhaps, may still wait for their turn.
    if (connection) connection.whenIdle(lose);
    else lose();
  }

  #onReady(resumed: boolean): void {
    const connection = this.#connection;
    if (!connection || this.#state !== 'authenticating') return;
    this.#liveness = new Liveness({
      after: (delayMs, callback) => this.#deps.after(delayMs, callback),
      ask: () => this.#ask(connection),
      onDead: (limitMs) =>
        this.#lose(new IpopError('timeout', `${this.#place} did not answer within ${limitMs / 1000} s`), true),
    });
    this.#deps.log('info', `${resumed ? 'resumed' : 'logged in'} as '${connection.jid}'`);
    const io = this.#roomIo(connection);
    if (resumed && this.#room.resume(io)) return this.#onJoined();
    // An available resource, as servers expect of clients; the negative priority keeps messages away (RFC 6121, 4.7.2.3).
    if (!resumed) connection.send(xml('presence', {}, xml('priority', {}, '-1')));
    this.#join(io);
  }

  #roomIo(connection: ServerConnection): RoomIo {
    return {
      send: (element) => connection.send(element),
      request: (iq) => this.#request(connection, iq, ROOM_REQUEST_LIMIT_MS),
    };
  }

  #join(io: RoomIo): void {
    this.#enter('joining', undefined);
    this.#limit(JOIN_LIMIT_MS, () => {
      this.#room.leave();
      this.#onRoomRefused(new IpopError('timeout', `room '${this.#options.room}' did not answer in time`));
    });
    this.#room.join(io);
  }

  #onJoined(): void {
    this.#limit(STEADY_MS, () => {
      this.#failures = 0;
    });
    this.#refusals = 0;
    this.#onlineSinceMs = this.#deps.nowMs();
    this.#enter('online', undefined);
  }

  #onRoomRefused(error: IpopError): void {
    const connection = this.#connection;
    if (!connection || !this.#isUp) return;
    const delayMs = rejoinDelayMs(++this.#refusals, this.#random());
    this.#limit(delayMs, () => this.#join(this.#roomIo(connection)));
    this.#enter('waiting', error, this.#deps.nowMs() + delayMs);
  }

  #onJingle(from: string, jingle: Element): string | undefined {
    if (!this.#room.hasOccupant(from)) return 'not-authorized';
    // In a later turn, so that the answer leaves before anything the handler sends.
    this.#deps.after(0, () => {
      if (this.#running) this.#handlers.onJingle(from, jingle);
    });
    return undefined;
  }

  #ask(connection: ServerConnection): void {
    if (connection.hasAcknowledgements) return connection.requestAcknowledgement();
    const ping = xml('iq', {type: 'get', to: jidOf(this.#options.jid).domain}, xml('ping', {xmlns: 'urn:xmpp:ping'}));
    // An error is an answer too.
    const onAnswer = (): void => {
      if (connection === this.#connection) this.#liveness?.onAnswer();
    };
    this.#request(connection, ping, JINGLE_LIMIT_MS).then(onAnswer, (error: IpopError) => {
      if (error.code !== 'timeout' && error.code !== 'offline') onAnswer();
    });
  }

  /** In 0..1, for jitter. */
  #random(): number {
    const [a = 0, b = 0] = this.#deps.randomBytes(2);
    return (a * 256 + b) / 65535;
  }

  /** Ids cannot be guessed: whoever knows one could answer in another's name. */
  #request(connection: ServerConnection, iq: Element, limitMs: number): Promise<Element> {
    iq.attrs['id'] = hex(this.#deps.randomBytes(8));
    return connection.request(iq, limitMs);
  }

  /** The connection is of no use: drops it and comes again when the policy says so, or at once. */
  #lose(error: IpopError, atOnce = false): void {
    if (this.#onStopped) return this.#onStopped();
    if (!this.#running) return;
    // Our resource has the node's id in it.
    if (error.code === 'conflict') this.#handlers.onTwin?.(jidOf(this.#options.jid).bare().toString());
    this.#close();
    // What broke this stream would come again in a resumed one.
    if (error.code.startsWith('stream-')) this.#forget();
    if (this.#onlineSinceMs !== undefined && this.#deps.nowMs() - this.#onlineSinceMs >= STEADY_MS) this.#failures = 0;
    this.#onlineSinceMs = undefined;
    this.#failures++;
    const waitedMs = this.#state === 'connecting' ? this.#deps.nowMs() - this.#lastTryMs : 0;
    const delayMs = atOnce ? 0 : retryDelayMs(error.code, this.#failures, this.#random(), waitedMs);
    this.#limit(delayMs, () => this.#connect());
    const state = severityOf(error.code) === 'refused' ? 'stopped' : 'offline';
    this.#enter(state, error, this.#deps.nowMs() + delayMs);
  }

  #close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#liveness?.stop();
    this.#liveness = undefined;
    this.#room.pause();
    const {bytes, connection} = {bytes: this.#bytes, connection: this.#connection};
    this.#bytes = undefined;
    this.#connection = undefined;
    this.#server = undefined;
    this.#resumable = connection?.dispose() ?? this.#resumable;
    bytes?.close();
  }

  /** The session is over: it will not be resumed, and what waits for an answer is told. */
  #forget(): void {
    if (this.#resumable) forgetRequests(this.#resumable.requests);
    this.#resumable = undefined;
  }

  /** Replaces the state's time limit. */
  #limit(delayMs: number, callback: () => void): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#deps.after(delayMs, callback);
  }

  #enter(state: XmppState, error: IpopError | undefined, retryAtMs?: number): void {
    const isNew = error !== undefined && error.message !== this.#lastError?.message;
    this.#state = state;
    if (error || state === 'online') this.#lastError = error;
    // Once, not at each retry.
    if (isNew) this.#deps.log(severityOf(error.code) === 'transient' ? 'info' : 'warning', error.message);
    this.#handlers.onState(state, error, retryAtMs);
  }

  get #place(): string {
    return this.#connector.place;
  }
}
