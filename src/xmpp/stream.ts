// SPDX-License-Identifier: MIT
// An XMPP stream (RFC 6120) over native's bytes, in the shape the @xmpp modules expect.

import Connection from '@xmpp/connection';
import xml, {type Element} from '@xmpp/xml';
import jidOf from '@xmpp/jid';
import {Utf8Decoder, utf8} from '../base/bytes.ts';
import {blank, StreamParser, type XmlFault} from './parser.ts';

const NS_STREAM = 'http://etherx.jabber.org/streams';
const NS_STREAM_ERRORS = 'urn:ietf:params:xml:ns:xmpp-streams';

export interface StreamIo {
  write(data: Uint8Array): void;
  /** Runs a callback in another turn of the host's loop. */
  later(callback: () => void): void;
  /** A stanza that is too large or too deep was dropped. */
  onDropped(name: string): void;
  /** The server's `<stream:error/>`, or bad XML: the stream is of no use any more. */
  onFatal(condition: string, text: string): void;
}

/** One stream; a new one is made for each connection, so nothing of a dead one can be mistaken for the living. */
export class XmppStream extends Connection {
  readonly #io: StreamIo;
  readonly #from: string;
  #decoder = new Utf8Decoder();
  #closed = false;

  /** `from`: our bare JID, told to the server because the stream is inside TLS (RFC 6120, 4.7.1). */
  constructor(domain: string, from: string, io: StreamIo) {
    super({domain});
    this.#from = from;
    this.#io = io;
  }

  /** Bytes of the server. */
  receive(data: Uint8Array): void {
    this.parser?.write(this.#decoder.decode(data));
  }

  /** Calls back once all that came has been dealt with; never when it led to `onFatal`. */
  whenIdle(callback: () => void): void {
    if (this.parser instanceof StreamParser) this.parser.whenIdle(callback);
    else callback();
  }

  /** Sends the stream header. Time limits are the session's. */
  override async open(): Promise<void> {
    this._status('opening');
    this.#detach();
    const header = xml('stream:stream', {
      version: '1.0',
      xmlns: 'jabber:client',
      'xmlns:stream': NS_STREAM,
      to: this.options.domain,
      from: this.#from,
      'xml:lang': 'en',
    });
    this.root = header;
    this._attachParser(
      new StreamParser(
        (callback) => this.#io.later(callback),
        (fault) => this.#onFault(fault),
        (name) => this.#io.onDropped(name),
      ),
    );
    await this.write(`<?xml version='1.0'?>${header.toString().replace(/\/>$/, '>')}`);
  }

  override async restart(): Promise<void> {
    return this.open();
  }

  override async write(text: string): Promise<void> {
    if (this.#closed) throw new Error('Cannot send: the stream is closed');
    try {
      this.#io.write(utf8(text));
    } catch {
      // The bytes are gone, which their owner hears of. To stream management the stanza is sent and not acknowledged: it goes again.
    }
  }

  /** Wanted by stream management, which sends again what was not acknowledged. */
  async sendMany(elements: readonly Element[]): Promise<void> {
    for (const element of elements) await this.send(element);
  }

  /** Connection asks for it after a stream error; the session has closed the stream already. */
  override async disconnect(): Promise<void> {}

  /** Modules take every address for a valid one; a stanza with another is only counted (XEP-0198, 4), its content is dropped. */
  override _onElement(element: Element): void {
    const {from, to} = element.attrs;
    if (!isAddress(from) || !isAddress(to)) {
      blank(element);
    }
    super._onElement(element);
  }

  override _onStreamError(element: Element): void {
    const condition = element.getChildElements()[0]?.getName() ?? 'undefined-condition';
    this.#io.onFatal(condition, element.getChildText('text') ?? '');
  }

  /** Ends our side of the stream; the server's footer comes as `close`. */
  async sendFooter(): Promise<void> {
    await this.write('</stream:stream>');
  }

  /** Nothing is sent or emitted after it; what waits for an event of it is told. */
  dispose(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#detach();
    this._status('disconnect');
  }

  #detach(): void {
    if (this.parser instanceof StreamParser) this.parser.detach();
    this._detachParser();
  }

  #onFault(fault: XmlFault): void {
    const error = xml('stream:error', {}, xml(fault.condition, {xmlns: NS_STREAM_ERRORS}));
    void this.write(`${error.toString()}</stream:stream>`).catch(() => undefined);
    this.#io.onFatal(fault.condition, fault.text);
  }
}

function isAddress(text: string | undefined): boolean {
  try {
    if (text) jidOf(text);
    return true;
  } catch {
    return false;
  }
}
