// SPDX-License-Identifier: MIT
// The filtering database (IEEE 802.1Q 8.8): behind which port an address was last seen. It is the authority; native's rules are a cache.

import type {Millis} from '../base/time.ts';
import type {PortId} from '../native/datapath.ts';
import type {Mac} from './types.ts';

/** Default ageing time of IEEE 802.1Q, table 8-6. */
export const AGE_MS = 300_000;
/** Half of native's rules, so that every entry can have one; about 1 MB of memory. */
export const MAX_ENTRIES = 4096;
/** A host that roams moves once in a while; one that moves this often is seen behind two ports at once: a loop, or a copied address. */
export const MAX_MOVES = 10;
/** In which `MAX_MOVES` are allowed, and for how long an address then stays where it was. */
export const MOVE_WINDOW_MS = 10_000;

export interface FdbEntry {
  readonly vlan: number;
  readonly mac: Mac;
  readonly port: PortId;
  /** When a frame last came from it. */
  readonly seenAt: Millis;
}

interface Entry extends FdbEntry {
  port: PortId;
  seenAt: Millis;
  moves: number;
  movesSince: Millis;
  pinnedUntil: Millis;
}

/** new, seen again, moved to another port, or kept where it was because it moves too often. */
export type Learned = {
  readonly outcome: 'new' | 'same' | 'moved' | 'pinned';
  /** The entry that had to give way. */
  readonly evicted?: FdbEntry;
};

export interface FdbCounters {
  learned: number;
  expired: number;
  evicted: number;
  moved: number;
  /** Frames refused because their source moves too often. */
  pinned: number;
}

/**
 * Learned addresses, at most `MAX_ENTRIES`. When full, the entry least recently used of the port that holds most gives way, so that
 * no port can push out the entries of ports with fewer.
 */
export class Fdb {
  readonly counters: FdbCounters = {learned: 0, expired: 0, evicted: 0, moved: 0, pinned: 0};
  readonly #entries = new Map<string, Entry>();
  /** The same entries by port; within a port, the least recently used first. */
  readonly #ports = new Map<PortId, Map<string, Entry>>();
  readonly #limit: number;

  constructor(limit: number = MAX_ENTRIES) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** A frame from `mac` came in at `port`. */
  learn(vlan: number, mac: Mac, port: PortId, now: Millis): Learned {
    const key = keyOf(vlan, mac);
    const entry = this.#entries.get(key);
    if (entry === undefined) return this.#add(key, vlan, mac, port, now);
    if (entry.port === port) {
      this.#touch(key, entry, now);
      return {outcome: 'same'};
    }
    if (!mayMove(entry, now)) {
      this.counters.pinned++;
      return {outcome: 'pinned'};
    }
    this.#unlist(key, entry);
    entry.port = port;
    this.#list(key, entry);
    entry.seenAt = now;
    this.counters.moved++;
    return {outcome: 'moved'};
  }

  /** The port `mac` is behind, or undefined. Entries past their age count until `expire` takes them. */
  lookup(vlan: number, mac: Mac): PortId | undefined {
    return this.#entries.get(keyOf(vlan, mac))?.port;
  }

  /** Whether frames from `mac` at `port` are refused now because it moves too often. */
  isMoving(vlan: number, mac: Mac, port: PortId, now: Millis): boolean {
    const entry = this.#entries.get(keyOf(vlan, mac));
    return entry !== undefined && entry.port !== port && now < entry.pinnedUntil;
  }

  /** A frame came from `mac` at `seenAt` where it is known to be; older news than what is known is passed over. */
  seen(vlan: number, mac: Mac, seenAt: Millis): void {
    const key = keyOf(vlan, mac);
    const entry = this.#entries.get(key);
    if (entry && seenAt > entry.seenAt) this.#touch(key, entry, seenAt);
  }

  /** Takes out what was not seen for `AGE_MS`. */
  expire(now: Millis): FdbEntry[] {
    const old = [...this.#entries.values()].filter((entry) => now - entry.seenAt >= AGE_MS);
    for (const entry of old) this.#remove(entry);
    this.counters.expired += old.length;
    return old;
  }

  /** Takes out all that is behind `port`. */
  forgetPort(port: PortId): FdbEntry[] {
    const gone = [...(this.#ports.get(port)?.values() ?? [])];
    for (const entry of gone) this.#remove(entry);
    return gone;
  }

  /** All that is behind one port is behind another from now on: the same peer, by another link. It counts as no move. */
  movePort(from: PortId, to: PortId): void {
    const entries = [...(this.#ports.get(from) ?? [])];
    for (const [key, entry] of entries) {
      this.#unlist(key, entry);
      entry.port = to;
      this.#list(key, entry);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#ports.clear();
  }

  /** How many addresses are behind `port`. */
  countOf(port: PortId): number {
    return this.#ports.get(port)?.size ?? 0;
  }

  /** All entries, by VLAN and address. */
  entries(): FdbEntry[] {
    return [...this.#entries.values()].sort((a, b) => a.vlan - b.vlan || (a.mac < b.mac ? -1 : 1));
  }

  #add(key: string, vlan: number, mac: Mac, port: PortId, now: Millis): Learned {
    const evicted = this.#entries.size >= this.#limit ? this.#evict() : undefined;
    const entry = {vlan, mac, port, seenAt: now, moves: 0, movesSince: now, pinnedUntil: now};
    this.#entries.set(key, entry);
    this.#list(key, entry);
    this.counters.learned++;
    return evicted ? {outcome: 'new', evicted} : {outcome: 'new'};
  }

  #evict(): Entry | undefined {
    let fullest: Map<string, Entry> | undefined;
    for (const entries of this.#ports.values()) {
      if (fullest === undefined || entries.size > fullest.size) fullest = entries;
    }
    const oldest = fullest?.values().next().value;
    if (oldest === undefined) return undefined;
    this.#remove(oldest);
    this.counters.evicted++;
    return oldest;
  }

  #touch(key: string, entry: Entry, seenAt: Millis): void {
    entry.seenAt = seenAt;
    const entries = this.#ports.get(entry.port);
    entries?.delete(key);
    entries?.set(key, entry);
  }

  #remove(entry: FdbEntry): void {
    const key = keyOf(entry.vlan, entry.mac);
    this.#entries.delete(key);
    this.#unlist(key, entry);
  }

  #list(key: string, entry: Entry): void {
    const entries = this.#ports.get(entry.port) ?? new Map<string, Entry>();
    this.#ports.set(entry.port, entries.set(key, entry));
  }

  #unlist(key: string, entry: FdbEntry): void {
    const entries = this.#ports.get(entry.port);
    entries?.delete(key);
    if (entries?.size === 0) this.#ports.delete(entry.port);
  }
}

/** One string for a VLAN and an address. */
export function keyOf(vlan: number, mac: Mac): string {
  return `${vlan}/${mac}`;
}

/** Counts a move, and pins the address once there are too many. */
function mayMove(entry: Entry, now: Millis): boolean {
  if (now < entry.pinnedUntil) return false;
  if (now - entry.movesSince >= MOVE_WINDOW_MS) {
    entry.movesSince = now;
    entry.moves = 0;
  }
  if (entry.moves >= MAX_MOVES) {
    entry.pinnedUntil = now + MOVE_WINDOW_MS;
    return false;
  }
  entry.moves++;
  return true;
}
