// SPDX-License-Identifier: MIT
// Two nodes with one identity, as when a state folder was copied: the second may not enter the room under the nick of both. It enters
// for a moment under another one that both know, so that each hears of the other (docs/PROTOCOL.md, section 2).

import xml, {type Element} from '@xmpp/xml';

const NS_MUC = 'http://jabber.org/protocol/muc';
const NS_MUC_USER = 'http://jabber.org/protocol/muc#user';
/** While the other one stays it is told again. */
const NOTE_EVERY_MS = 60_000;

/** The nick of a note to the node of this id. */
export function noteNick(id: string): string {
  return `${id}-twin`;
}

/** Real full JID of the occupant whose presence this is; undefined when the room hides it. */
export function realJidOf(presence: Element): string | undefined {
  const items = presence.getChild('x', NS_MUC_USER)?.getChildren('item') ?? [];
  return items.find((item) => item.attrs['jid']?.includes('/'))?.attrs['jid'];
}

/** Leaves notes for the other node of our own identity. */
export class TwinNotes {
  readonly #room: string;
  readonly #id: string;
  readonly #after: (delayMs: number, callback: () => void) => () => void;
  #isDue = true;
  #onDone: (() => void) | undefined;
  #send: ((element: Element) => void) | undefined;

  constructor(room: string, id: string, after: (delayMs: number, callback: () => void) => () => void) {
    this.#room = room;
    this.#id = id;
    this.#after = after;
  }

  /** Enters under the note's nick; `onDone` when that is over. False: a note was left within the last minute. */
  leave(send: (element: Element) => void, onDone: () => void): boolean {
    if (!this.#isDue) return false;
    this.#isDue = false;
    this.#after(NOTE_EVERY_MS, () => {
      this.#isDue = true;
    });
    [this.#send, this.#onDone] = [send, onDone];
    send(xml('presence', {to: this.#place}, xml('x', {xmlns: NS_MUC}, xml('history', {maxstanzas: '0'}))));
    return true;
  }

  /** A presence of the room while a note is being left. Returns the other node's real JID when this tells it. */
  handle(nick: string, type: string, presence: Element): string | undefined {
    if (nick === this.#id && type === 'available') return realJidOf(presence);
    if (type !== 'error' && nick !== noteNick(this.#id)) return undefined;
    const done = this.#onDone;
    if (type === 'error') this.forget();
    else this.withdraw();
    done?.();
    return undefined;
  }

  /** Takes the note out of the room, if it may be there; `onDone` is not called. */
  withdraw(): void {
    if (this.isLeaving) this.#send?.(xml('presence', {to: this.#place, type: 'unavailable'}));
    this.forget();
  }

  /** The connection is lost, and the note with it. */
  forget(): void {
    this.#onDone = undefined;
  }

  get isLeaving(): boolean {
    return this.#onDone !== undefined;
  }

  get #place(): string {
    return `${this.#room}/${noteNick(this.#id)}`;
  }
}
