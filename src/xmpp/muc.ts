// SPDX-License-Identifier: MIT
// The group: one occupant's view of a MUC room (XEP-0045) whose members' nicks are node ids.

import xml, {type Element} from '@xmpp/xml';
import {IpopError, textOf} from '../base/errors.ts';
import {configureRoom, destroyRoom, grantMembers, type Request} from './muc-config.ts';
import {watchPlace} from './self-ping.ts';
import {conditionOf, said} from './stanza-error.ts';
import {noteNick, realJidOf, TwinNotes} from './twin.ts';
import type {Member} from './types.ts';

const NS_MUC = 'http://jabber.org/protocol/muc';
const NS_MUC_USER = 'http://jabber.org/protocol/muc#user';
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info';
const NODE_ID = /^[0-9a-f]{40}$/;
/** More nodes than a full mesh of links can serve; further occupants are not seen. */
const MAX_MEMBERS = 1024;
/** After a server's outage nodes come back one by one, within two of their back-offs; so long nobody is called gone. */
const RETURN_MS = 30_000;

export interface RoomOptions {
  readonly room: string;
  readonly nick: string;
  /** Bare JID of the account, for sentences. */
  readonly jid: string;
  readonly owner: boolean;
  readonly members: readonly string[];
}

/** What the room asks of the connection of the moment. */
export interface RoomIo {
  send(element: Element): void;
  request: Request;
}

export interface RoomHandlers {
  onJoined(): void;
  /** Not in the room (any more); the caller tries again. */
  onRefused(error: IpopError): void;
  onMemberOnline(member: Member): void;
  onMemberOffline(id: string): void;
  /** Another node has our identity; its real full JID, if known. */
  onTwin(jid: string | undefined): void;
  log(level: 'debug' | 'info' | 'warning', text: string): void;
  after(delayMs: number, callback: () => void): () => void;
}

/** Lives across connections: members stay known while the server is away, because their links stay up. */
export class Room {
  readonly #options: RoomOptions;
  readonly #handlers: RoomHandlers;
  /** Who is to be a member. */
  #granted: readonly string[];
  /** The list changed since the room was entered: a connection that broke may have lost requests. */
  #regrant = false;
  /** Node id -> full JID. */
  readonly #members = new Map<string, string>();
  /** Who was there since we began to enter. */
  #seen = new Set<string>();
  /** settling: the room let us in, and its owner sets it up. */
  #state: 'out' | 'entering' | 'settling' | 'in' = 'out';
  /** Grows with each entry and exit: an answer of an earlier one is void. */
  #attempt = 0;
  #io: RoomIo | undefined;
  #hidden = false;
  #crowded = false;
  #cancelReturn: (() => void) | undefined;
  #cancelWatch: (() => void) | undefined;
  readonly #notes: TwinNotes;

  constructor(options: RoomOptions, handlers: RoomHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#granted = this.#others(options.members);
    this.#notes = new TwinNotes(options.room, options.nick, handlers.after);
  }

  /** Whether the full JID is that of a node in the room. */
  hasOccupant(jid: string): boolean {
    for (const known of this.#members.values()) if (known === jid) return true;
    return false;
  }

  /** Enters the room; ends in `onJoined` or `onRefused`, unless `leave` or `resume` comes first. The caller limits the time. */
  join(io: RoomIo): void {
    this.pause();
    this.#io = io;
    this.#state = 'entering';
    this.#hidden = false;
    this.#regrant = false;
    this.#seen = new Set();
    const attempt = ++this.#attempt;
    void this.#enter(io, attempt);
  }

  /** The stream came back as it was: we never left. False when we had not been in. */
  resume(io: RoomIo): boolean {
    if (this.#state !== 'in') return false;
    this.#io = io;
    this.#awaitReturn();
    this.#watch(io);
    if (this.#regrant) void this.#grant(io);
    this.#regrant = false;
    return true;
  }

  /** The connection is lost: while it is, nobody is called gone. */
  pause(): void {
    this.#notes.forget();
    this.#cancelReturn?.();
    this.#cancelReturn = undefined;
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
  }

  /** Takes another member list. Who is no longer listed stays a member: that is for the room's owner to undo, by hand. */
  setMembers(members: readonly string[]): void {
    this.#granted = this.#others(members);
    this.#regrant = this.#options.owner;
    // While the room is still settling, `#manage` looks at the list again before it is done.
    if (this.#state === 'in' && this.#regrant && this.#io) void this.#grant(this.#io);
  }

  /** Leaves, telling the room if it can be told. */
  leave(): void {
    if (this.#notes.isLeaving) this.#notes.withdraw();
    else if (this.#state !== 'out') this.#io?.send(xml('presence', {to: this.#self, type: 'unavailable'}));
    this.#exit();
  }

  /** Any presence; those of other rooms and people are passed over. */
  handlePresence(presence: Element): void {
    const from = presence.attrs['from'] ?? '';
    const slash = from.indexOf('/');
    const bare = slash < 0 ? from : from.slice(0, slash);
    if (bare.toLowerCase() !== this.#options.room.toLowerCase() || this.#state === 'out') return;
    const nick = slash < 0 ? '' : from.slice(slash + 1);
    const type = presence.attrs['type'] ?? 'available';
    if (this.#notes.isLeaving) {
      const twin = this.#notes.handle(nick, type, presence);
      return twin === undefined ? undefined : this.#handlers.onTwin(twin);
    }
    const user = presence.getChild('x', NS_MUC_USER);
    const statuses = new Set(user?.getChildren('status').map((status) => status.attrs['code']));
    if (nick === noteNick(this.#options.nick)) {
      // Not our own, which may come late.
      if (type === 'available' && !statuses.has('110')) this.#handlers.onTwin(realJidOf(presence));
      return;
    }
    if (type === 'error') return this.#onError(presence);
    const isSelf = nick === this.#options.nick || statuses.has('110');
    if (type === 'unavailable') {
      if (isSelf) this.#onRemoved(user, statuses);
      else this.#onGone(nick);
    } else if (type === 'available') {
      if (isSelf) this.#onSelf(user, statuses);
      else this.#onOccupant(nick, presence);
    }
  }

  #onError(presence: Element): void {
    const error = this.#refusal(presence);
    if (error.code !== 'nick-conflict') return this.#refuse(error);
    this.#handlers.onTwin(undefined);
    const io = this.#io;
    const isLeft =
      io &&
      this.#notes.leave(
        (element) => io.send(element),
        () => this.#refuse(error),
      );
    if (isLeft !== true) this.#refuse(error);
  }

  get #self(): string {
    return `${this.#options.room}/${this.#options.nick}`;
  }

  async #enter(io: RoomIo, attempt: number): Promise<void> {
    const {room, owner} = this.#options;
    if (!owner) {
      // Entering a room that is not there would create it, and then its owner could not.
      const missing = await isRoomMissing(io.request, room);
      if (attempt !== this.#attempt) return;
      if (missing) return this.#refuse(this.#missing());
    }
    const history = xml('history', {maxstanzas: '0'});
    io.send(xml('presence', {to: this.#self}, xml('x', {xmlns: NS_MUC}, history)));
  }

  #onSelf(user: Element | undefined, statuses: ReadonlySet<string | undefined>): void {
    if (this.#state !== 'entering') return;
    this.#state = 'settling';
    const {owner, room, jid} = this.#options;
    this.#awaitReturn();
    if (statuses.has('201') && !owner) return void this.#undoCreation();
    if (!owner) return this.#finish();
    if (user?.getChild('item')?.attrs['affiliation'] !== 'owner') {
      const text = `room '${room}' exists and '${jid}' is not its owner`;
      this.leave();
      return this.#handlers.onRefused(new IpopError('not-owner', text));
    }
    void this.#manage(this.#attempt);
  }

  /** Reports those who were there before the outage and do not come back. */
  #awaitReturn(): void {
    const isMissing = (id: string): boolean => !this.#seen.has(id);
    if (![...this.#members.keys()].some(isMissing)) return;
    this.#cancelReturn = this.#handlers.after(RETURN_MS, () => {
      for (const id of [...this.#members.keys()].filter(isMissing)) this.#onGone(id);
    });
  }

  async #manage(attempt: number): Promise<void> {
    const {room} = this.#options;
    const io = this.#io;
    if (!io) return;
    try {
      const warn = (text: string): void => this.#handlers.log('warning', text);
      await configureRoom(io.request, room, warn);
      await this.#grant(io);
      if (attempt === this.#attempt) this.#finish();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      this.leave();
      this.#handlers.onRefused(error instanceof IpopError ? error : new IpopError('room-config', textOf(error)));
    }
  }

  /** Until the list is one that did not change meanwhile. */
  async #grant(io: RoomIo): Promise<void> {
    let done: readonly string[] | undefined;
    while (done !== this.#granted && io === this.#io) {
      done = this.#granted;
      await grantMembers(io.request, this.#options.room, done, (text) => this.#handlers.log('warning', text));
    }
  }

  #others(members: readonly string[]): readonly string[] {
    return members.filter((member) => member.toLowerCase() !== this.#options.jid);
  }

  async #undoCreation(): Promise<void> {
    const io = this.#io;
    if (!io) return;
    this.#exit();
    const attempt = this.#attempt;
    await destroyRoom(io.request, this.#options.room).catch(() => {
      io.send(xml('presence', {to: this.#self, type: 'unavailable'}));
    });
    if (attempt === this.#attempt) this.#handlers.onRefused(this.#missing());
  }

  #finish(): void {
    this.#state = 'in';
    if (this.#hidden) return this.#refuseHidden();
    if (this.#io) this.#watch(this.#io);
    this.#handlers.onJoined();
  }

  #watch(io: RoomIo): void {
    const {room} = this.#options;
    this.#cancelWatch = watchPlace(io.request, this.#handlers.after, this.#self, () => {
      this.#refuse(new IpopError('room-removed', `room '${room}' has forgotten us`));
    });
  }

  #onOccupant(nick: string, presence: Element): void {
    if (!NODE_ID.test(nick)) return;
    const jid = realJidOf(presence);
    if (jid === undefined) {
      this.#hidden = true;
      if (this.#state === 'in') this.#refuseHidden();
      return;
    }
    const known = this.#members.get(nick);
    if (known === undefined && this.#members.size >= MAX_MEMBERS) return this.#warnCrowded();
    if (known !== undefined && known !== jid) this.#onGone(nick);
    this.#seen.add(nick);
    if (known === jid) return;
    this.#members.set(nick, jid);
    this.#handlers.onMemberOnline({id: nick, jid});
  }

  #warnCrowded(): void {
    if (this.#crowded) return;
    this.#crowded = true;
    this.#handlers.log(
      'warning',
      `room '${this.#options.room}' has more than ${MAX_MEMBERS} nodes; the others are not seen`,
    );
  }

  #onGone(nick: string): void {
    this.#seen.delete(nick);
    if (this.#members.delete(nick)) this.#handlers.onMemberOffline(nick);
  }

  #onRemoved(user: Element | undefined, statuses: ReadonlySet<string | undefined>): void {
    const {room, jid} = this.#options;
    if (user?.getChild('destroy')) return this.#expel('room-removed', `room '${room}' was destroyed`);
    if (statuses.has('301')) return this.#expel('room-banned', `'${jid}' was banned from room '${room}'`);
    if (statuses.has('321') || statuses.has('322')) {
      return this.#expel('not-a-member', `'${jid}' is no longer a member of room '${room}'`);
    }
    if (statuses.has('307')) return this.#expel('room-removed', `'${jid}' was kicked out of room '${room}'`);
    this.#refuse(new IpopError('room-removed', `server took '${jid}' out of room '${room}'`));
  }

  /** Somebody took us out on purpose: we may not go on as if the others were there. */
  #expel(code: string, text: string): void {
    for (const id of [...this.#members.keys()]) this.#onGone(id);
    this.#refuse(new IpopError(code, text));
  }

  #refuseHidden(): void {
    const {room} = this.#options;
    this.leave();
    const text = `room '${room}' hides its members' addresses; its owner must let anyone see them (whois=anyone)`;
    this.#handlers.onRefused(new IpopError('room-anonymous', text));
  }

  #refuse(error: IpopError): void {
    this.#exit();
    this.#handlers.onRefused(error);
  }

  #exit(): void {
    this.pause();
    this.#state = 'out';
    this.#attempt++;
  }

  #missing(): IpopError {
    return new IpopError('room-missing', `waiting for the owner of room '${this.#options.room}' to create it`);
  }

  /** XEP-0045, 7.2. */
  #refusal(presence: Element): IpopError {
    const {room, jid, nick, owner} = this.#options;
    const condition = conditionOf(presence);
    const detail = said(presence.getChild('error')?.getChildText('text'));
    switch (condition) {
      case 'registration-required':
        return new IpopError('not-a-member', `waiting for the owner of room '${room}' to add '${jid}' as a member`);
      case 'item-not-found':
        return owner
          ? new IpopError('room-locked', `room '${room}' is locked by whoever is creating it`)
          : this.#missing();
      case 'forbidden':
        return new IpopError('room-banned', `'${jid}' is banned from room '${room}'`);
      case 'conflict':
        return new IpopError(
          'nick-conflict',
          `node id ${nick.slice(0, 8)} is already in room '${room}', under another address`,
        );
      case 'not-allowed':
        return owner
          ? new IpopError('room-refused', `server does not let '${jid}' create room '${room}'`)
          : this.#missing();
      case 'not-authorized':
        return new IpopError('room-refused', `room '${room}' has a password; ipop's rooms have none`);
      case 'service-unavailable':
        return new IpopError('room-full', `room '${room}' is full`);
      case 'remote-server-not-found':
      case 'remote-server-timeout':
        return new IpopError('room-unreachable', `server cannot reach the service of room '${room}'`);
      default:
        return new IpopError('room-refused', `room '${room}' refused '${jid}': ${condition}${detail}`);
    }
  }
}

/** Whether the server says that there is no such room; when in doubt it is there, and entering tells. */
async function isRoomMissing(request: Request, room: string): Promise<boolean> {
  try {
    await request(xml('iq', {type: 'get', to: room}, xml('query', {xmlns: NS_DISCO_INFO})));
    return false;
  } catch (error) {
    return error instanceof IpopError && error.code === 'item-not-found';
  }
}
