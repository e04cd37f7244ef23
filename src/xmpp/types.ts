// SPDX-License-Identifier: MIT
// The XMPP half as the rest of the program sees it: a session that stays up by itself, and a group that is a MUC room.

import type {Element} from '@xmpp/xml';
import type {IpopError} from '../base/errors.ts';
import type {XmppState} from '../status/types.ts';
import type {SrvRecord, Tls, TlsMode} from './servers.ts';

/** Bytes to and from the server over native's TLS. */
export interface ByteStream {
  write(data: Uint8Array): void;
  close(): void;
}

export interface ByteStreamHandlers {
  /** `exporter`: RFC 9266, hex; empty: none. */
  onOpen(info: {readonly address: string; readonly tls: string; readonly exporter: string}): void;
  onData(data: Uint8Array): void;
  /** Once; nothing follows. */
  onClosed(code: string, text: string): void;
}

export interface StreamTarget {
  readonly host: string;
  readonly port: number;
  /** The name the certificate must have: the JID's domain. */
  readonly name: string;
  readonly caFile: string | undefined;
  /** SHA-256 of the only certificate to accept, 64 hex digits. */
  readonly pin: string | undefined;
  readonly tls: Tls;
  readonly timeoutMs: number;
}

export type HashName = 'SHA-1' | 'SHA-256';

/** What the session needs of the outside. */
export interface XmppDeps {
  openStream(target: StreamTarget, handlers: ByteStreamHandlers): ByteStream;
  /** The SRV records of a name, none when it has none; rejects when no name server answered. Off the loop. */
  lookupSrv(name: string, timeoutMs: number): Promise<readonly SrvRecord[]>;
  hash(name: HashName, data: Uint8Array): Uint8Array;
  hmac(name: HashName, key: Uint8Array, data: Uint8Array): Uint8Array;
  /** Off the loop. */
  pbkdf2(name: HashName, password: Uint8Array, salt: Uint8Array, rounds: number): Promise<Uint8Array>;
  randomBytes(length: number): Uint8Array;
  nowMs(): number;
  /** One-shot timer; the returned function cancels it. */
  after(delayMs: number, callback: () => void): () => void;
  log(level: 'debug' | 'info' | 'warning' | 'error', text: string): void;
}

/** An occupant of the room that is a node of ours: its nick is a node id and its real JID is known. */
export interface Member {
  readonly id: string;
  /** Real full JID, from `whois=anyone`. */
  readonly jid: string;
}

export interface XmppHandlers {
  /** Every change; error and retry time when it is not online. */
  onState(state: XmppState, error: IpopError | undefined, retryAtMs: number | undefined): void;
  /** A node entered the room, or its stream came back with another JID. */
  onMemberOnline(member: Member): void;
  onMemberOffline(id: string): void;
  /** Another node has our identity; its real full JID, or our own bare one when it has the account too; undefined: not known. */
  onTwin?(jid: string | undefined): void;
  /** A `jingle` child of an iq set (or a terminate) from a full JID; the iq is answered by the session. */
  onJingle(from: string, jingle: Element): void;
}

export interface XmppOptions {
  readonly jid: string;
  readonly password: string;
  /** undefined: found by DNS. A server without a port is tried at both usual ones. */
  readonly server: {readonly host: string; readonly port: number | undefined} | undefined;
  readonly tls: TlsMode;
  readonly caFile: string | undefined;
  readonly pin: string | undefined;
  /** `ipop-` and the first 16 digits of the node id: a returning node replaces its ghost. */
  readonly resource: string;
  readonly room: string;
  /** The node id. */
  readonly nick: string;
  readonly owner: boolean;
  readonly members: readonly string[];
}

/** A running account. */
export interface XmppSession {
  start(): void;
  /** Sends unavailable presence and ends the stream; at most 2 s. */
  stop(): Promise<void>;
  /** Sends an iq set to a full JID; rejects with the peer's or server's error (IpopError), or after 15 s. */
  sendJingle(to: string, jingle: Element): Promise<void>;
  /** Tests the stream now (a ping with a short limit) and reconnects when it is dead. */
  probe(): void;
  /** Another list of members: those who are new are given membership, at once or when the room is entered. */
  setMembers(members: readonly string[]): void;
  /** Address of the server while connected. */
  readonly server: string | undefined;
}
