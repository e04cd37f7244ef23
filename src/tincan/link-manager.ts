// SPDX-License-Identifier: MIT
// All links of one network. A full mesh: every node that is in the room is wanted, so every member has a link that tries until it is up.

import type {IpopError} from '../base/errors.ts';
import {type Deadline, earliest, type Millis} from '../base/time.ts';
import type {LinkDescription, LinkInfo, PortId} from '../native/datapath.ts';
import type {PeerStatus} from '../status/types.ts';
import {ANSWERS_AT_ONCE, OFFERS_AT_ONCE, PEERS} from './limits.ts';
import {Link} from './link.ts';
import type {LinkContext, LinkManagerDeps} from './link-context.ts';
import {isRelayed} from './link-state.ts';
import type {LinkEffect, NodeId, OwnSignal, Signal} from './types.ts';

export type {LinkManagerDeps} from './link-context.ts';

export interface LinkManagerOptions {
  /** Offers in progress at once. */
  readonly offersAtOnce?: number;
  readonly answersAtOnce?: number;
  /** Peers remembered. */
  readonly peers?: number;
  /** Offers count on from here: that of an earlier manager of the same network, whose peers remember it. */
  readonly generation?: number;
}

/** What may change while links are up; counts from the next try on. */
export type LinkSettings = Pick<LinkManagerDeps, 'servers' | 'carriage'> & Pick<LinkManagerDeps['self'], 'name'>;

/** The link's part of a peer's status, and where its traffic is counted. */
export interface LinkStatus extends Omit<PeerStatus, 'traffic' | 'macs'> {
  /** While it has a native link. */
  readonly port?: PortId;
}

/**
 * Takes what XMPP and native report, says what to do (`drain`). Never throws on what peers send. handle-methods that name a port or
 * key return whether it is one of this network's.
 */
export class LinkManager {
  #settings: LinkSettings;
  readonly #context: LinkContext;
  readonly #options: Required<LinkManagerOptions>;
  readonly #links = new Map<NodeId, Link>();
  /** Last full JID of each link's peer. */
  readonly #byJid = new Map<string, Link>();
  readonly #byPort = new Map<PortId, Link>();
  #effects: LinkEffect[] = [];
  #generationFloor: number;
  #stopped = false;

  constructor(deps: LinkManagerDeps, options: LinkManagerOptions = {}) {
    const fallbacks = {offersAtOnce: OFFERS_AT_ONCE, answersAtOnce: ANSWERS_AT_ONCE, peers: PEERS, generation: 0};
    this.#options = {...fallbacks, ...options};
    this.#generationFloor = this.#options.generation;
    this.#settings = {servers: deps.servers, carriage: deps.carriage, name: deps.self.name};
    const settings = () => this.#settings;
    this.#context = {
      get self() {
        return {...deps.self, name: settings().name};
      },
      get servers() {
        return settings().servers;
      },
      get carriage() {
        return settings().carriage;
      },
      network: deps.network,
      sign: (data) => deps.sign(data),
      verify: (key, data, signature) => deps.verify(key, data, signature),
      sha256: (data) => deps.sha256(data),
      randomBytes: (length) => deps.randomBytes(length),
      random: () => deps.random(),
      isOverlay: (address) => deps.isOverlay(address),
      infoOf: (port) => deps.infoOf(port),
      log: (level, text) => deps.log(level, text),
      emit: (effect) => this.#emit(effect),
      mayAnswer: () => this.#trying('answer') < this.#options.answersAtOnce,
    };
  }

  /** Takes other servers and another name; links that are up or on their way are left alone. */
  configure(settings: LinkSettings): void {
    this.#settings = settings;
  }

  // ---- what XMPP reports

  /** A node is in the room: for the first time, again, or with another full JID. */
  handleMemberOnline(member: {readonly id: NodeId; readonly jid: string}, now: Millis): void {
    const {id, jid} = member;
    if (this.#stopped || id === this.#context.self.id) return;
    const link = this.#links.get(id) ?? this.#add(id, now);
    if (!link) return this.#context.log('warning', `peer ${jid} ignored: ${this.#options.peers} peers are the limit`);
    if (this.#byJid.get(link.jid) === link) this.#byJid.delete(link.jid);
    this.#byJid.set(jid, link);
    link.handleOnline(jid, now);
    this.#startDue(now);
  }

  /** It left the room. Its link stays while it is up. */
  handleMemberOffline(id: NodeId, now: Millis): void {
    this.#links.get(id)?.handleOffline(now);
    this.#startDue(now);
  }

  /** The XMPP session ended: nobody can be reached until members come online again. Links that are up stay. */
  handleSessionOffline(now: Millis): void {
    for (const link of this.#links.values()) link.handleOffline(now);
  }

  /** A peer's signal, from its full JID. */
  handleSignal(from: string, signal: Signal, now: Millis): void {
    if (this.#stopped) return;
    const link = this.#byJid.get(from);
    if (link) link.handleSignal(signal, now);
    else {
      this.#context.log('debug', `${signal.type} from ${from}, which is no known node, refused`);
      const text = 'not seen in the room';
      // Only offers: a peer that we do not see yet must not wait for its time limit.
      const refusal: OwnSignal = {type: 'terminate', sid: signal.sid, reason: 'unknown-peer', text};
      if (signal.type === 'offer') this.#emit({type: 'signal', to: from, signal: refusal});
    }
    this.#startDue(now);
  }

  /** A signal of ours could not be delivered, or was refused (an iq error, or no answer to the iq). */
  handleSignalFailed(to: string, signal: OwnSignal, error: IpopError, now: Millis): void {
    const link = this.#byJid.get(to) ?? [...this.#links.values()].find((one) => one.hasSession(signal.sid));
    link?.handleSignalFailed(signal, error, now);
    this.#startDue(now);
  }

  // ---- what native reports

  /** The answer to an `open` effect. A port that nobody wants any more is closed. */
  handleOpened(key: string, port: PortId, now: Millis): void {
    const link = this.#links.get(key.slice(0, 40));
    if (link) this.#byPort.set(port, link);
    if (!link?.handleOpened(key, port)) this.#emit({type: 'close', port});
    this.#startDue(now);
  }

  handleOpenFailed(key: string, error: IpopError, now: Millis): void {
    this.#links.get(key.slice(0, 40))?.handleOpenFailed(key, error, now);
    this.#startDue(now);
  }

  handleLocal(port: PortId, description: LinkDescription, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleLocal(port, description, now));
  }

  handleCandidate(port: PortId, line: string, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleLocalCandidate(port, line));
  }

  /** No more local candidates; nothing waits for that (RFC 8838). */
  handleGathered(port: PortId, now: Millis): boolean {
    return this.#withPort(port, now, () => {});
  }

  handleUp(port: PortId, info: LinkInfo, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleUp(port, info, now));
  }

  handleLost(port: PortId, code: string, text: string, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleLost(port, code, text, now));
  }

  /** The link's path is gone or soon will be: it moves to another. */
  handleMoved(port: PortId, code: string, text: string, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleMoved(port, code, text, now));
  }

  handleMessage(port: PortId, bytes: Uint8Array, now: Millis): boolean {
    return this.#withPort(port, now, (link) => link.handleMessage(port, bytes, now));
  }

  /** Records were lost, the end of a link perhaps among them, which is never told twice: native is asked for each. */
  handleGap(isLost: (port: PortId) => boolean, now: Millis): void {
    const text = 'The link ended while the daemon was too slow to hear why';
    for (const [port, link] of [...this.#byPort]) if (isLost(port)) link.handleLost(port, 'internal', text, now);
    this.#startDue(now);
  }

  /** Local addresses changed: what backs off tries again soon, and a link whose own address is gone moves. */
  handleInterfacesChanged(now: Millis): void {
    for (const link of this.#links.values()) link.handleInterfacesChanged(now);
    this.#startDue(now);
  }

  // ---- time

  handleTimeout(now: Millis): void {
    for (const link of this.#links.values()) link.handleTimeout(now);
    this.#startDue(now);
  }

  nextTimeout(): Deadline | undefined {
    let next: Deadline | undefined;
    // When all slots are taken, an attempt's own deadline frees one.
    const mayOffer = this.#trying('offer') < this.#options.offersAtOnce;
    for (const link of this.#links.values()) {
      next = earliest(next, link.nextTimeout());
      if (mayOffer && link.dueAt !== undefined) next = earliest(next, {at: link.dueAt, reason: 'link turn'});
    }
    return next;
  }

  /** Says goodbye on every link and closes it. Final. */
  stop(now: Millis): void {
    this.#stopped = true;
    for (const link of this.#links.values()) link.stop(now);
  }

  /** What is to be done, in order; each effect is handed out once. */
  drain(): LinkEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  // ---- queries

  /** The highest generation offered. */
  get generation(): number {
    return [...this.#links.values()].reduce(
      (highest, link) => Math.max(highest, link.generation),
      this.#generationFloor,
    );
  }

  /** All links that native should have open. */
  ports(): PortId[] {
    return [...this.#links.values()].flatMap((link) => link.ports);
  }

  /** Sorted by name, then id. */
  peers(now: Millis): LinkStatus[] {
    const order = (a: Link, b: Link) => compare(a.name, b.name) || compare(a.id, b.id);
    return [...this.#links.values()].sort(order).map((link) => statusOf(link, now));
  }

  // ---- private

  #withPort(port: PortId, now: Millis, act: (link: Link) => void): boolean {
    const link = this.#byPort.get(port);
    if (!link) return false;
    act(link);
    this.#startDue(now);
    return true;
  }

  /** Gives free slots to links whose turn has come, those that wait longest first. */
  #startDue(now: Millis): void {
    let free = this.#options.offersAtOnce - this.#trying('offer');
    if (free <= 0 || this.#stopped) return;
    const due = [...this.#links.values()].filter((link) => link.dueAt !== undefined && link.dueAt <= now);
    due.sort((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0) || compare(a.id, b.id));
    for (const link of due) if (free-- > 0) link.offer(now);
  }

  #trying(role: 'offer' | 'answer'): number {
    let count = 0;
    for (const link of this.#links.values()) if (link.trying === role) count++;
    return count;
  }

  #add(id: NodeId, now: Millis): Link | undefined {
    if (this.#links.size >= this.#options.peers && !this.#forgetOne()) return undefined;
    const link = new Link(this.#context, id, this.#generationFloor, now);
    this.#links.set(id, link);
    return link;
  }

  /** Forgets the peer that has been gone the longest. */
  #forgetOne(): boolean {
    const gone = [...this.#links.values()].filter((link) => !link.present && link.state === 'idle');
    gone.sort((a, b) => a.since - b.since);
    const [link] = gone;
    if (!link) return false;
    this.#links.delete(link.id);
    if (this.#byJid.get(link.jid) === link) this.#byJid.delete(link.jid);
    // Should it return, it still remembers how far our generations had come.
    this.#generationFloor = Math.max(this.#generationFloor, link.generation);
    return true;
  }

  #emit(effect: LinkEffect): void {
    if (effect.type === 'close') this.#byPort.delete(effect.port);
    this.#effects.push(effect);
  }
}

function statusOf(link: Link, now: Millis): LinkStatus {
  const {id, name, present, state, attempts, port, info, moving, retryAt} = link;
  const error = link.error(now);
  const seconds = (ms: Millis) => Math.max(0, Math.floor(ms / 1000));
  return {
    id,
    name,
    jid: link.jid.split('/')[0] ?? '',
    present,
    state,
    sinceSec: seconds(now - link.since),
    attempts,
    ...(port === undefined ? {} : {port}),
    ...(info ? {path: pathOf(info)} : {}),
    ...(moving === undefined ? {} : {moving}),
    ...(error ? {error: {code: error.code, text: error.text, agoSec: seconds(now - error.at)}} : {}),
    ...(retryAt === undefined ? {} : {retryInSec: Math.max(0, Math.ceil((retryAt - now) / 1000))}),
  };
}

/** How people see native's report of a path. */
export function pathOf(info: LinkInfo): NonNullable<PeerStatus['path']> {
  const kind = isRelayed(info) ? 'relay' : 'direct';
  const {local, remote, carriage, carriageWhy, cipher, datagramBytes, lossPermille, throttled} = info;
  const sealed = carriage === 'express' ? {cipher, datagramBytes} : {};
  return {
    kind,
    local,
    remote,
    carriage,
    ...sealed,
    ...(carriageWhy === '' ? {} : {carriageWhy}),
    ...(lossPermille === undefined ? {} : {lossPermille}),
    ...(throttled ? {throttled} : {}),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
