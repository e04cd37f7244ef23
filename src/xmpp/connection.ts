// SPDX-License-Identifier: MIT
// One connection to the server, from bytes to a bound (or resumed) stream: the @xmpp modules put together.

import jidOf from '@xmpp/jid';
import iqCallee from '@xmpp/iq/callee.js';
import iqCaller, {type IqCaller} from '@xmpp/iq/caller.js';
import middlewareOf from '@xmpp/middleware';
import resourceBinding from '@xmpp/resource-binding';
import streamFeaturesOf from '@xmpp/stream-features';
import streamManagement, {type StreamManagement} from '@xmpp/stream-management';
import xml, {type Element} from '@xmpp/xml';
import {IpopError, textOf} from '../base/errors.ts';
import {setupSasl} from './sasl.ts';
import type {SaltedPassword} from './scram.ts';
import {said, stanzaErrorOf} from './stanza-error.ts';
import {XmppStream} from './stream.ts';
import type {XmppDeps, XmppOptions} from './types.ts';

export const NS_SM = 'urn:xmpp:sm:3';
const NS_PING = 'urn:xmpp:ping';
const NS_JINGLE = 'urn:xmpp:jingle:1';
/** The package's own time limit, a safety net behind ours. */
const REQUEST_NET_MS = 60_000;
/** Stanzas the server has not acknowledged; beyond it requests are refused. */
const MAX_UNACKNOWLEDGED = 512;
/** Answers to others' requests count too; beyond this the server does not acknowledge at all, and the stream is made anew. */
const HOPELESS_UNACKNOWLEDGED = 2048;
/** The package asks for acknowledgements 250 ms after the last stanza, thus never while anybody keeps us answering. */
const ASK_AFTER_STANZAS = 64;
/** Requests that wait for an answer; each has two timers. */
const MAX_REQUESTS = 384;
/** Of those to one address: one that does not answer must not keep us from talking to the others. An offer has up to 33. */
const MAX_REQUESTS_TO_ONE = 40;

/** What survives a lost connection, so that the next one can go on with the session (XEP-0198, 5). */
export interface Resumable {
  readonly jid: string;
  readonly sm: Pick<StreamManagement, 'id' | 'max' | 'inbound' | 'outbound' | 'outbound_q'>;
  readonly requests: IqCaller['handlers'];
}

/** What a connection begins with. */
export interface ConnectionState {
  readonly cache: SaltedPassword;
  readonly resumable: Resumable | undefined;
  /** Channel binding of type tls-exporter (RFC 9266); undefined: this TLS has none that is safe. */
  readonly exporter: Uint8Array | undefined;
}

export interface ConnectionHandlers {
  /** Usable: bound, and stream management is on or was not offered. */
  onReady(resumed: boolean): void;
  /** Of no use any more; the caller closes the bytes. Once. */
  onFailed(error: IpopError): void;
  onPresence(presence: Element): void;
  /** The answer of an iq set with a jingle child: undefined accepts it, a stanza error's condition refuses it. */
  onJingle(from: string, jingle: Element): string | undefined;
  /** The server answered a request of ours for acknowledgement. */
  onAcknowledged(): void;
  /** The server ended the stream in order. */
  onEnd(): void;
}

export class ServerConnection {
  readonly #deps: XmppDeps;
  readonly #handlers: ConnectionHandlers;
  readonly #stream: XmppStream;
  readonly #sm: StreamManagement;
  readonly #iq: IqCaller;
  #ready = false;
  #failed = false;
  #dropped = 0;
  #sentSinceAsked = 0;
  /** Requests that wait, by address. */
  readonly #waitingFor = new Map<string, number>();

  constructor(
    deps: XmppDeps,
    options: XmppOptions,
    {cache, resumable, exporter}: ConnectionState,
    write: (data: Uint8Array) => void,
    handlers: ConnectionHandlers,
  ) {
    this.#deps = deps;
    this.#handlers = handlers;
    const account = jidOf(options.jid);
    const stream = new XmppStream(account.domain, account.bare().toString(), {
      write,
      later: (callback) => void deps.after(0, callback),
      onDropped: (name) => this.#onDropped(name),
      onFatal: (condition, text) => this.#fail(streamError(condition, text)),
    });
    this.#stream = stream;
    const middleware = middlewareOf({entity: stream});
    const streamFeatures = streamFeaturesOf({middleware});
    const sasl = {jid: options.jid, username: account.local, password: options.password, cache, exporter};
    setupSasl(streamFeatures, deps, sasl, (error) => this.#fail(asIpopError(error)));
    // Before iq, which swallows the answers it waited for: they would not be counted (XEP-0198, 4).
    this.#sm = streamManagement({streamFeatures, entity: stream, middleware});
    this.#iq = iqCaller({entity: stream, middleware});
    const callee = iqCallee({entity: stream, middleware});
    resourceBinding({streamFeatures, iqCaller: this.#iq}, options.resource);
    callee.get(NS_PING, 'ping', () => true);
    callee.set(NS_JINGLE, 'jingle', ({stanza, element}) => this.#onJingle(stanza, element));
    // Acknowledgements are asked for by the session's own pings and after each burst; the package's time limits are off.
    this.#sm.timeout = 0;
    this.#sm.requestAckInterval = 0;
    if (resumable) this.#restore(resumable);
    this.#listen();
  }

  /** Full JID, once bound. */
  get jid(): string | undefined {
    return this.#stream.jid?.toString();
  }

  /** Whether the server takes requests for acknowledgement, the cheapest ping. */
  get hasAcknowledgements(): boolean {
    return this.#sm.enabled;
  }

  /** Begins; bytes must be able to flow. */
  open(): void {
    void this.#stream.open().catch((error) => this.#fail(asIpopError(error)));
  }

  receive(data: Uint8Array): void {
    this.#stream.receive(data);
  }

  /** Calls back once all that came has been dealt with, unless that ended in `onFailed` or `onEnd`. */
  whenIdle(callback: () => void): void {
    this.#stream.whenIdle(callback);
  }

  send(element: Element): void {
    void this.#stream.send(element).catch((error) => this.#deps.log('debug', `cannot send: ${textOf(error)}`));
  }

  requestAcknowledgement(): void {
    this.#sentSinceAsked = 0;
    this.send(xml('r', {xmlns: NS_SM}));
  }

  /** Sends an iq and resolves with its result; rejects with the stanza error's condition as code, or `timeout`. */
  async request(iq: Element, limitMs: number): Promise<Element> {
    if (this.#sm.outbound_q.length >= MAX_UNACKNOWLEDGED) {
      throw new IpopError('busy', `server has not acknowledged ${MAX_UNACKNOWLEDGED} stanzas`);
    }
    if (this.#iq.handlers.size >= MAX_REQUESTS) {
      throw new IpopError('busy', `${MAX_REQUESTS} requests wait for their answers`);
    }
    const to = iq.attrs['to'] ?? 'server';
    const waiting = this.#waitingFor.get(to) ?? 0;
    if (waiting >= MAX_REQUESTS_TO_ONE) throw new IpopError('busy', `'${to}' has ${waiting} requests to answer`);
    this.#waitingFor.set(to, waiting + 1);
    return new Promise((resolve, reject) => {
      const cancel = this.#deps.after(limitMs, () => {
        this.#iq.handlers.get(iq.attrs['id'] ?? '')?.reject(new IpopError('timeout', 'timed out'));
        reject(new IpopError('timeout', `'${to}' did not answer within ${limitMs / 1000} s`));
      });
      this.#iq
        .request(iq, REQUEST_NET_MS)
        .then(resolve, (error) => reject(stanzaErrorOf(error)))
        .finally(() => {
          cancel();
          this.#answered(to);
        });
    });
  }

  /** Ends our side of the stream. */
  sendFooter(): void {
    void this.#stream.sendFooter().catch(() => undefined);
  }

  /** Ends all and hands over what a next connection needs to resume; undefined when the server would not. */
  dispose(): Resumable | undefined {
    this.#failed = true;
    const {id, max, inbound, outbound, outbound_q: queue} = this.#sm;
    const jid = this.jid;
    this.#stream.dispose();
    if (jid && id) return {jid, sm: {id, max, inbound, outbound, outbound_q: queue}, requests: this.#iq.handlers};
    forgetRequests(this.#iq.handlers);
    return undefined;
  }

  #answered(to: string): void {
    const waiting = (this.#waitingFor.get(to) ?? 0) - 1;
    if (waiting > 0) this.#waitingFor.set(to, waiting);
    else this.#waitingFor.delete(to);
  }

  /** Keeps what the server has not acknowledged small, whoever makes us send. */
  #onSent({name}: Element): void {
    if (!this.#sm.enabled || !['iq', 'presence', 'message'].includes(name)) return;
    if (this.#sm.outbound_q.length >= HOPELESS_UNACKNOWLEDGED) {
      const text = `server has not acknowledged ${HOPELESS_UNACKNOWLEDGED} stanzas`;
      return this.#fail(new IpopError('stream-unacknowledged', text));
    }
    if (++this.#sentSinceAsked >= ASK_AFTER_STANZAS) this.requestAcknowledgement();
  }

  #restore(resumable: Resumable): void {
    this.#stream._jid(resumable.jid);
    Object.assign(this.#sm, resumable.sm);
    this.#iq.handlers = resumable.requests;
  }

  #listen(): void {
    const stream = this.#stream;
    // After stream management's own listener, which queues the stanza.
    stream.on('send', (element: Element) => this.#onSent(element));
    stream.on('error', (error: unknown) => this.#onError(error));
    stream.on('close', () => this.#handlers.onEnd());
    stream.on('nonza', (element: Element) => this.#onNonza(element));
    stream.on('stanza', (stanza: Element) => {
      if (stanza.name === 'presence') this.#handlers.onPresence(stanza);
    });
    this.#sm.on('resumed', () => this.#becomeReady(true));
  }

  #onNonza(element: Element): void {
    if (element.is('a', NS_SM)) this.#handlers.onAcknowledged();
    if (this.#ready) return;
    if (element.is('features')) this.#onFeatures(element);
    // A refused `resume` is followed by binding: nothing of the old session is answered any more.
    else if (element.is('failed', NS_SM) && this.#stream.status !== 'online') forgetRequests(this.#iq.handlers);
    else if (element.is('enabled', NS_SM) || element.is('failed', NS_SM)) this.#becomeReady(false);
  }

  /** Without stream management the stream is usable when it is bound. */
  #onFeatures(features: Element): void {
    if (features.getChild('mechanisms')) return;
    if (!features.getChild('bind')) this.#fail(new IpopError('login-refused', 'server offers no resource binding'));
    else if (!features.getChild('sm', NS_SM)) this.#stream.on('online', () => this.#becomeReady(false));
  }

  /** In a later turn: stream management resets its counters some microtasks after `enabled`, and nothing may be sent before. */
  #becomeReady(resumed: boolean): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#deps.after(0, () => {
      if (!this.#failed) this.#handlers.onReady(resumed);
    });
  }

  #onJingle(stanza: Element, element: Element | undefined): unknown {
    const from = stanza.attrs['from'];
    if (!from || !element) return errorElement('bad-request');
    const condition = this.#handlers.onJingle(from, element);
    return condition === undefined ? true : errorElement(condition);
  }

  /** A person is told once a stream: whoever sends such stanzas would fill the log with them. */
  #onDropped(name: string): void {
    const level = this.#dropped++ === 0 ? 'warning' : 'debug';
    this.#deps.log(level, `dropped a '${name.slice(0, 20)}' stanza that is larger or deeper than any of ours`);
  }

  #onError(error: unknown): void {
    // Before the stream is ready an error ends the login (binding refused); after it, it concerns one stanza.
    if (!this.#ready) this.#fail(asIpopError(error));
    else this.#deps.log('debug', `cannot handle a stanza: ${textOf(error)}`);
  }

  #fail(error: IpopError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#handlers.onFailed(error);
  }
}

/** Rejects requests whose answers cannot come any more. */
export function forgetRequests(requests: IqCaller['handlers']): void {
  for (const request of requests.values()) {
    request.reject(new IpopError('offline', 'connection to the server was lost before the answer came'));
  }
  requests.clear();
}

function errorElement(condition: string): Element {
  const error = xml('error', {type: condition === 'not-authorized' ? 'auth' : 'cancel'});
  error.append(xml(condition, {xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas'}));
  return error;
}

function asIpopError(error: unknown): IpopError {
  return error instanceof IpopError ? error : stanzaErrorOf(error);
}

/** RFC 6120, 4.9.3. */
function streamError(condition: string, text: string): IpopError {
  const detail = said(text);
  switch (condition) {
    case 'conflict':
      return new IpopError(condition, `another node with this identity logged in${detail}`);
    case 'host-unknown':
      return new IpopError(condition, `server does not serve the account's domain${detail}`);
    case 'not-authorized':
    case 'policy-violation':
    case 'not-well-formed':
    case 'restricted-xml':
      return new IpopError(`stream-${condition}`, `stream ended: ${condition}${detail}`);
    default:
      return new IpopError(condition, `server ended the stream: ${condition}${detail}`);
  }
}
