// SPDX-License-Identifier: MIT
// The stream's XML parser: bounded, and it hands over one element per host turn.

import type {Element} from '@xmpp/xml';
import BaseParser from '@xmpp/xml/lib/Parser.js';
import {textOf} from '../base/errors.ts';

/** One stanza; the largest legitimate ones (room forms, offers) have a few KiB. A larger one is dropped: anybody may send us one. */
const MAX_ELEMENT_CHARS = 64 * 1024;
/** Above this the stream is ended, for the base parser keeps an unfinished text whole. Servers limit stanzas to less. */
const MAX_DROPPED_CHARS = 1024 * 1024;
/**
 * Size is judged after each slice, so an element may pass the bound by this much. Small, because in text the base parser looks for the next
 * tag from every character to the end of the slice (a stanza of 256 KB in slices of 4 096 held quickjs for 3 s, in these for 0.3 s); not
 * smaller, because it copies what is unfinished at each slice.
 */
const SLICE_CHARS = 256;
/** Of a stanza itself, inside the stream element. */
const STANZA_DEPTH = 2;
/** A Jingle offer has a depth of 6. */
const MAX_DEPTH = 32;
/**
 * What the end of a slice may be only a part of. The base parser looks for the ends of comments and declarations within one slice: were
 * `?` and `>` in two, it would pass over all that follows.
 */
const PARTIAL = /(?:<!\[C?D?A?T?A?|<?[-?!\]]{0,2})$/;
const CDATA = '<![CDATA[';
/** A `>` in an attribute's value does not end its tag. */
const WHOLE_TAG = /^<(?:[^'"]|'[^']*'|"[^"]*")*>$/;
/** What a server may send faster than we handle it: a room of 1 000 occupants, twice. */
const MAX_QUEUED = 4096;

/** Why the stream's XML is refused: a stream error condition (RFC 6120, 4.9.3). */
export interface XmlFault {
  readonly condition: 'not-well-formed' | 'policy-violation' | 'restricted-xml';
  readonly text: string;
}

/**
 * Queues what it has parsed and emits one element per turn: handlers of stream management count in later microtasks, so two elements in
 * one read would be counted before the first was dealt with (XEP-0198, 4). Nothing follows a fault or `detach`.
 */
export class StreamParser extends BaseParser {
  readonly #later: (callback: () => void) => void;
  readonly #onFault: (fault: XmlFault) => void;
  readonly #onDropped: (name: string) => void;
  readonly #queue: [event: string, value: unknown][] = [];
  #scheduled = false;
  #parsing = false;
  #dead = false;
  #depth = 0;
  #chars = 0;
  /** End of what came that may be a part of something. */
  #held = '';
  #inCdata = false;
  /** Something of the stream has come. */
  #begun = false;
  /** After the end of a stanza, before the next. */
  #between = false;
  /** Depth from which on content is dropped, while in an element that breaks a bound. */
  #dropFrom: number | undefined;
  #onIdle: (() => void) | undefined;

  /** `later` runs a callback in another turn of the host's loop; `onDropped` gets the name of each stanza that broke a bound. */
  constructor(
    later: (callback: () => void) => void,
    onFault: (fault: XmlFault) => void,
    onDropped: (name: string) => void,
  ) {
    super();
    this.#onDropped = onDropped;
    this.#later = later;
    this.#onFault = onFault;
  }

  /** Parses text as it came; reports at most one fault. */
  override write(text: string): void {
    const all = this.#held + text;
    let at = 0;
    while (!this.#dead) {
      const slice = withoutPartial(all.slice(at, at + SLICE_CHARS));
      if (slice === '') break;
      at += slice.length;
      // Keep-alives of a quiet server: the base parser would gather them until the next stanza.
      if (this.#between && slice.trim() === '') continue;
      this.#chars += slice.length;
      this.#refuseRestricted(slice);
      this.#begun = true;
      this.#parse(slice);
      this.#between = this.#depth === 1 && WHOLE_TAG.test(slice.slice(slice.lastIndexOf('<')));
      if (this.#chars > MAX_ELEMENT_CHARS) this.#dropFrom ??= Math.max(STANZA_DEPTH, this.#depth);
      if (this.#chars > MAX_DROPPED_CHARS) {
        this.#fail('policy-violation', `an element of the server is larger than ${MAX_DROPPED_CHARS} characters`);
      }
    }
    this.#held = all.slice(at);
    this.#schedule();
  }

  /** Calls back once all that was parsed has been handed over; never after a fault or `detach`. */
  whenIdle(callback: () => void): void {
    if (this.#dead) return;
    if (this.#queue.length === 0) callback();
    else this.#onIdle = callback;
  }

  /** Ends it: what is queued is dropped. */
  detach(): void {
    this.#dead = true;
    this.#queue.length = 0;
  }

  override onStartElement(name: string, attrs: Record<string, string>): void {
    if (this.#dead) return;
    if (this.#depth >= MAX_DEPTH) this.#dropFrom ??= Math.max(STANZA_DEPTH, this.#depth);
    this.#depth++;
    if (this.#dropFrom !== undefined && this.#depth > this.#dropFrom) return;
    super.onStartElement(name, attrs);
  }

  override onEndElement(name: string): void {
    if (this.#dead) return;
    if (!this.cursor) return this.#fail('not-well-formed', `the server's XML closes '${name}', which is not open`);
    const isDropped = this.#dropFrom !== undefined && this.#depth > this.#dropFrom;
    this.#depth--;
    if (isDropped) return;
    if (this.#depth < STANZA_DEPTH) this.#endStanza();
    super.onEndElement(name);
  }

  override onText(text: string): void {
    if (this.#dead) return;
    // Between stanzas only whitespace is allowed (keep-alives); keeping it would let the stream's root grow for ever.
    if (this.#dropFrom !== undefined && this.#depth > 1) return;
    if (this.cursor && this.cursor !== this.root) return super.onText(text);
    this.#chars = 0;
    if (text.trim() !== '') this.#fail('not-well-formed', "the server's XML has text between stanzas");
  }

  override emit(event: string, ...args: unknown[]): boolean {
    if (!this.#parsing) return super.emit(event, ...args);
    if (event === 'error') this.#fail('not-well-formed', `the server's XML is broken: ${textOf(args[0])}`);
    else if (this.#queue.length >= MAX_QUEUED) this.#fail('policy-violation', `more than ${MAX_QUEUED} stanzas wait`);
    else this.#queue.push([event, args[0]]);
    return true;
  }

  #endStanza(): void {
    this.#chars = 0;
    if (this.#dropFrom === undefined || !this.cursor) return;
    this.#dropFrom = undefined;
    this.#onDropped(this.cursor.name);
    blank(this.cursor);
  }

  /** Comments, processing instructions and document types have no place in a stream (RFC 6120, 11.1); the base parser skips them. */
  #refuseRestricted(slice: string): void {
    for (let at = 0; at >= 0 && at < slice.length;) {
      if (this.#inCdata) {
        const end = slice.indexOf(']]>', at);
        this.#inCdata = end < 0;
        at = end < 0 ? end : end + 3;
      } else {
        const [start = -1] = [slice.indexOf('<!', at), slice.indexOf('<?', at)]
          .filter((one) => one >= 0)
          .sort((a, b) => a - b);
        if (start < 0) return;
        this.#inCdata = slice.startsWith(CDATA, start);
        at = start + (this.#inCdata ? CDATA.length : 2);
        const isDeclaration = slice[start + 1] === '?' && !this.#begun && slice.slice(0, start).trim() === '';
        if (!this.#inCdata && !isDeclaration)
          this.#fail('restricted-xml', "the server's XML has what no stream may have");
      }
    }
  }

  #parse(slice: string): void {
    if (this.#dead) return;
    this.#parsing = true;
    try {
      super.write(slice);
    } catch (thrown) {
      this.#fail('not-well-formed', `the server's XML is broken: ${textOf(thrown)}`);
    } finally {
      this.#parsing = false;
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    this.#later(() => {
      this.#scheduled = false;
      const next = this.#queue.shift();
      if (!next) return;
      this.#schedule();
      super.emit(next[0], next[1]);
      if (this.#queue.length === 0 && !this.#dead) this.#onIdle?.();
    });
  }

  #fail(condition: XmlFault['condition'], sentence: string): void {
    if (this.#dead) return;
    this.detach();
    this.#onFault({condition, text: sentence});
  }
}

function withoutPartial(slice: string): string {
  const [partial = ''] = PARTIAL.exec(slice.slice(-CDATA.length)) ?? [];
  return slice.slice(0, slice.length - partial.length);
}

/** Takes a stanza's content, so that it is counted (XEP-0198, 4) and nothing else. */
export function blank(stanza: Element): void {
  stanza.attrs = {type: 'error'};
  stanza.children = [];
}
