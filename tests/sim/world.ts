// SPDX-License-Identifier: MIT
// Many nodes in virtual time: real LinkManagers, a signal bus that loses, doubles, delays and reorders, and links that behave as
// native's do (ICE check times, silence, DTLS close). Everything random comes from one seed.

import {IpopError} from '../../src/base/errors.ts';
import type {LinkDescription} from '../../src/native/datapath.ts';
import {parseJingle, writeJingle} from '../../src/tincan/jingle.ts';
import {LinkManager, type LinkManagerOptions} from '../../src/tincan/link-manager.ts';
import type {LinkEffect, OwnSignal} from '../../src/tincan/types.ts';
import {asReadBy, infoOf, type Port, randomFrom, sha256, SimNode, verifyEd25519} from './node.ts';

export {newIdentity, randomFrom, sha256, SimNode, verifyEd25519} from './node.ts';

export interface Weather {
  /** Milliseconds, least and most; different for each signal, so that they overtake each other. */
  latency: [number, number];
  /** Signals of one sender to one receiver stay in order, as RFC 6120 section 10.1 promises. */
  ordered?: boolean;
  /** Share of signals lost and doubled. */
  loss: number;
  twice: number;
}

export class World {
  now = 0;
  weather: Weather = {latency: [20, 60], loss: 0, twice: 0};
  /** Called after each event. */
  onStep: (() => void) | undefined;
  /** All links have traffic, so that silence is noticed soon. */
  isBusy = false;
  readonly nodes: SimNode[];
  readonly random: () => number;
  /** Every signal sent, for tests that replay or count. */
  readonly sent: {from: string; to: string; signal: OwnSignal}[] = [];
  readonly log: string[] = [];
  readonly #cuts = new Set<string>();
  readonly #blocked = new Set<string>();
  /** When the last signal of a sender arrives at a receiver. */
  readonly #arrivals = new Map<string, number>();
  readonly #queue: {at: number; order: number; act: () => void}[] = [];
  readonly #options: LinkManagerOptions;
  #order = 0;
  #port = 0;

  constructor(seed: number, count: number, options: LinkManagerOptions = {}) {
    this.random = randomFrom(seed);
    this.#options = options;
    this.nodes = Array.from({length: count}, (_, i) => new SimNode(`n${i}`));
    this.nodes.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const node of this.nodes) this.#boot(node);
  }

  // ---- faults

  setCut(a: SimNode, b: SimNode, cut: boolean): void {
    if (cut) this.#cuts.add(pair(a, b));
    else this.#cuts.delete(pair(a, b));
  }

  isCut(a: SimNode, b: SimNode): boolean {
    return this.#cuts.has(pair(a, b));
  }

  /** The stream comes (back): each learns of the other. */
  connect(node: SimNode): void {
    if (!node.alive || node.online) return;
    node.online = true;
    for (const other of this.nodes) {
      if (other === node || !other.online) continue;
      this.later(this.delay(), () => this.#presence(node, other));
      this.later(this.delay(), () => this.#presence(other, node));
    }
  }

  /** The stream breaks. The others are told at once, or only later (`quietly`), when the server notices. */
  disconnect(node: SimNode, quietly = false): void {
    if (!node.online) return;
    node.online = false;
    node.manager.handleSessionOffline(this.now);
    for (const other of this.nodes) {
      if (other === node) continue;
      this.later(quietly ? 5_000 + this.random() * 25_000 : this.delay(), () => {
        if (!node.online && other.online) this.input(other, (m) => m.handleMemberOffline(node.id, this.now));
      });
    }
  }

  /** kill -9 */
  kill(node: SimNode): void {
    if (!node.alive) return;
    this.disconnect(node, true);
    node.alive = false;
    node.ports.clear();
    node.carrying.clear();
    node.taking.clear();
  }

  restart(node: SimNode): void {
    if (node.alive) return;
    node.boot++;
    this.#boot(node);
    this.connect(node);
  }

  /** The direct path is blocked, or free: links go by the relay then. */
  setBlocked(a: SimNode, b: SimNode, blocked: boolean): void {
    if (blocked) this.#blocked.add(pair(a, b));
    else this.#blocked.delete(pair(a, b));
  }

  /**
   * Its WAN address changes: links from the old one carry nothing any more. Its XMPP stream dies with it, and is back after 5 s.
   * `noticed`: its own kernel tells.
   */
  readdress(node: SimNode, noticed: boolean): void {
    node.address++;
    if (noticed) this.input(node, (m) => m.handleInterfacesChanged(this.now));
    this.disconnect(node, true);
    this.later(5_000, () => this.connect(node));
  }

  /** Native says that a link's path is gone or going. */
  tellMoved(node: SimNode, code: string): void {
    for (const port of [...node.carrying])
      this.input(node, (m) => void m.handleMoved(port, code, `${code} in the simulation`, this.now));
  }

  // ---- time

  later(delay: number, act: () => void): void {
    this.#queue.push({at: this.now + delay, order: this.#order++, act});
  }

  delay(): number {
    const [least, most] = this.weather.latency;
    return least + this.random() * (most - least);
  }

  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
      const timer = this.#nextTimer();
      const event = this.#queue[0];
      const at = Math.min(timer?.at ?? Infinity, event?.at ?? Infinity);
      if (at > end) break;
      this.now = Math.max(this.now, at);
      if (event && event.at <= (timer?.at ?? Infinity)) {
        this.#queue.shift();
        event.act();
      } else if (timer) this.#wake(timer.node);
      this.onStep?.();
    }
    this.now = end;
  }

  /** Gives a node an input and carries out what it wants. */
  input(node: SimNode, act: (manager: LinkManager) => void): void {
    if (!node.alive) return;
    act(node.manager);
    this.settle(node);
  }

  settle(node: SimNode): void {
    for (let effects = node.manager.drain(); effects.length > 0; effects = node.manager.drain()) {
      for (const effect of effects) this.#perform(node, effect);
    }
  }

  // ---- what tests look at

  /** Pairs of living nodes that do not carry frames both ways over one and the same link. */
  pairsDown(): string[] {
    const down: string[] = [];
    for (const [i, a] of this.nodes.entries()) {
      for (const b of this.nodes.slice(i + 1))
        if (a.alive && b.alive && !this.#joined(a, b)) down.push(`${a.name}-${b.name}`);
    }
    return down;
  }

  /** Ways between living nodes on which frames that are sent now are lost. */
  waysLost(): string[] {
    const lost: string[] = [];
    for (const a of this.nodes) {
      for (const b of this.nodes)
        if (a !== b && a.alive && b.alive && !this.#delivers(a, b)) lost.push(`${a.name}>${b.name}`);
    }
    return lost;
  }

  /** How the link of two nodes goes. */
  pathOf(a: SimNode, b: SimNode): 'direct' | 'relay' | undefined {
    return a.manager.peers(this.now).find((peer) => peer.id === b.id)?.path?.kind;
  }

  /** Throws unless native has exactly the links that the managers know. */
  checkPorts(): void {
    for (const node of this.nodes) {
      if (!node.alive) continue;
      const known = node.manager.ports();
      const open = [...node.ports.keys()];
      if (`${known.sort()}` !== `${open.sort()}`)
        throw new Error(`${node.name}: knows ports ${known}, open are ${open}`);
    }
  }

  state(a: SimNode, b: SimNode): string {
    return a.manager.peers(this.now).find((peer) => peer.id === b.id)?.state ?? 'none';
  }

  /** Code of the last failure. */
  error(a: SimNode, b: SimNode): string | undefined {
    return a.manager.peers(this.now).find((peer) => peer.id === b.id)?.error?.code;
  }

  // ---- private

  #boot(node: SimNode): void {
    node.alive = true;
    const {identity} = node;
    node.manager = new LinkManager(
      {
        self: {id: identity.id, name: node.name, publicKey: identity.publicKey, boot: node.boot},
        network: 'room@sim',
        servers: {stun: ['stun:s:1'], turn: ['turn:u:p@t:1', 'turn:u:p@t:2', 'turn:u:p@t:3']},
        carriage: 'auto',
        sign: identity.sign,
        verify: verifyEd25519,
        sha256,
        randomBytes: (length) => Uint8Array.from({length}, () => Math.floor(this.random() * 256)),
        random: this.random,
        infoOf: (port) => infoOf(node.ports.get(port), this.now),
        isOverlay: (address) => address.startsWith('10.9.'),
        log: (level, text) => void this.log.push(`${Math.round(this.now)} ${node.name} ${level} ${text}`),
      },
      this.#options,
    );
  }

  #presence(to: SimNode, of: SimNode): void {
    if (to.online && of.online) this.input(to, (m) => m.handleMemberOnline({id: of.id, jid: of.jid}, this.now));
  }

  #nextTimer(): {at: number; node: SimNode} | undefined {
    let first: {at: number; node: SimNode} | undefined;
    for (const node of this.nodes) {
      const at = node.alive ? node.manager.nextTimeout()?.at : undefined;
      if (at !== undefined && (!first || at < first.at)) first = {at, node};
    }
    return first;
  }

  #wake(node: SimNode): void {
    node.wakeups = node.lastWake === this.now ? node.wakeups + 1 : 0;
    node.lastWake = this.now;
    if (node.wakeups > 200) throw new Error(`${node.name} spins: ${node.manager.nextTimeout()?.reason}`);
    this.input(node, (m) => m.handleTimeout(this.now));
  }

  #perform(node: SimNode, effect: LinkEffect): void {
    switch (effect.type) {
      case 'open':
        return this.#open(node, effect.key, effect.role === 'offer');
      case 'set-remote': {
        const port = this.#port_(node, effect.port);
        if (port.remote) throw new Error('set-remote twice');
        port.remote = effect.remote;
        if (port.local.setup !== 'actpass') this.later(5, () => this.#describe(port));
        for (const at of [0, 500, 1500, 3500, 7500]) this.later(at + 20, () => this.#check(port));
        return;
      }
      case 'add-candidate': {
        const port = this.#port_(node, effect.port);
        if (!port.remote) throw new Error('candidate before description');
        if (/10\.9\./.test(effect.candidate)) throw new Error('overlay candidate let through');
        port.candidates++;
        return;
      }
      case 'send-message':
        return this.#message(this.#port_(node, effect.port), effect.message);
      case 'close':
        return this.#close(this.#port_(node, effect.port));
      case 'signal':
        return this.#signal(node, effect.to, effect.signal);
      case 'port-up':
        this.#port_(node, effect.port);
        if (node.carrying.has(effect.port)) throw new Error('port-up twice');
        node.carrying.add(effect.port);
        return;
      case 'port-down':
        this.#port_(node, effect.port);
        if (!node.carrying.delete(effect.port) && !node.taking.delete(effect.port))
          throw new Error('port-down without port-up');
        return;
      case 'port-beside':
        this.#port_(node, effect.port);
        if (!node.carrying.has(effect.of)) throw new Error('beside a port that is not up');
        if (node.carrying.has(effect.port) || node.taking.has(effect.port)) throw new Error('port-beside twice');
        node.taking.add(effect.port);
        return;
      case 'port-replaced':
        for (const port of [effect.from, effect.to]) this.#port_(node, port);
        if (!node.carrying.delete(effect.from)) throw new Error('replaced a port that is not up');
        if (!node.taking.delete(effect.to)) throw new Error('replaced by a port that takes no frames');
        node.carrying.add(effect.to);
        node.taking.add(effect.from);
        return;
      case 'probe-session':
        return;
    }
  }

  #port_(node: SimNode, number: number): Port {
    const port = node.ports.get(number);
    if (!port) throw new Error(`${node.name}: port ${number} is not open`);
    return port;
  }

  #open(node: SimNode, key: string, offers: boolean): void {
    const number = ++this.#port;
    const text = (length: number) => Array.from({length}, () => 'abcdefgh'[Math.floor(this.random() * 8)]).join('');
    const fingerprint = Array.from({length: 32}, () =>
      Math.floor(this.random() * 256)
        .toString(16)
        .padStart(2, '0'),
    );
    const local: LinkDescription = {
      ufrag: text(8),
      pwd: text(22),
      fingerprint: fingerprint.join(':').toUpperCase(),
      setup: offers ? 'actpass' : 'active',
    };
    const port: Port = {
      number,
      node,
      local,
      remote: undefined,
      candidates: 0,
      up: false,
      dead: false,
      address: node.address,
      relayed: false,
      heardAt: this.now,
    };
    node.ports.set(number, port);
    node.opened++;
    node.manager.handleOpened(key, number, this.now);
    if (offers) this.later(5, () => this.#describe(port));
  }

  #describe(port: Port): void {
    const {node, number, local} = port;
    if (!isOpen(port)) return;
    this.input(node, (m) => void m.handleLocal(number, local, this.now));
    for (const address of ['198.51.100.1', '10.9.0.1']) {
      const line = `candidate:1 1 UDP 2122317823 ${address} ${10_000 + number} typ host`;
      if (isOpen(port)) this.input(node, (m) => void m.handleCandidate(number, line, this.now));
    }
    if (isOpen(port)) this.input(node, (m) => void m.handleGathered(number, this.now));
  }

  /** The other end of a link: the port that took our description and whose description we took. */
  #otherEnd(port: Port): Port | undefined {
    for (const node of this.nodes) {
      for (const other of node.ports.values()) {
        if (other.remote?.ufrag === port.local.ufrag && port.remote?.ufrag === other.local.ufrag) return other;
      }
    }
    return undefined;
  }

  #check(port: Port): void {
    const other = this.#otherEnd(port);
    if (!isOpen(port) || !other || port.up || !this.#passes(port, other)) return;
    if (port.candidates + other.candidates === 0) return;
    for (const end of [port, other]) {
      if (end.up) continue;
      end.up = true;
      end.relayed = this.#blocked.has(pair(port.node, other.node));
      this.later(50 + this.random() * 100, () => {
        if (!isOpen(end)) return;
        this.#watch(end);
        const info = infoOf(end, this.now);
        if (info) this.input(end.node, (m) => void m.handleUp(end.number, info, this.now));
      });
    }
  }

  /** Silence is noticed after 12 s with traffic to 30 s without. */
  #watch(port: Port): void {
    const {node} = port;
    const limit = 12_000 + this.random() * (this.isBusy ? 3_000 : 18_000);
    let silent = 0;
    const tick = () => {
      if (!isOpen(port)) return;
      const other = this.#otherEnd(port);
      silent = other && this.#passes(port, other) ? 0 : silent + 1000;
      if (silent === 0) port.heardAt = this.now;
      // With traffic, as its limit shows.
      if (silent === 4_000 && limit < 16_000 && node.carrying.has(port.number)) this.tellMoved(node, 'silent');
      if (silent >= limit) this.#lose(port, 'silent');
      else this.later(1000, tick);
    };
    this.later(1000, tick);
  }

  #lose(port: Port, code: string): void {
    if (!isOpen(port) || port.dead) return;
    port.dead = true;
    this.input(port.node, (m) => void m.handleLost(port.number, code, `${code} in the simulation`, this.now));
  }

  #close(port: Port): void {
    const other = this.#otherEnd(port);
    port.node.taking.delete(port.number);
    port.node.ports.delete(port.number);
    port.node.closed++;
    if (!other?.up) return;
    this.later(this.delay(), () => {
      if (this.#passes(port, other)) this.#lose(other, 'closed');
    });
  }

  /** The control channel: reliable, ordered, as long as both ends are open. */
  #message(port: Port, bytes: Uint8Array): void {
    const other = this.#otherEnd(port);
    if (!other) return;
    const attempt = () => {
      if (!isOpen(other) || other.dead) return;
      if (!this.#passes(port, other)) {
        if (isOpen(port)) this.later(500, attempt);
      } else this.input(other.node, (m) => void m.handleMessage(other.number, bytes, this.now));
    };
    // After both ends' "up".
    this.later(160, attempt);
  }

  #signal(from: SimNode, to: string, signal: OwnSignal): void {
    this.sent.push({from: from.jid, to, signal});
    const failed = (error: string) => {
      this.later(this.delay(), () =>
        this.input(from, (m) => m.handleSignalFailed(to, signal, new IpopError(error, error), this.now)),
      );
    };
    if (!from.online) return failed('offline');
    if (this.random() < this.weather.loss) return;
    const copies = this.random() < this.weather.twice ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const way = `${from.jid} ${to}`;
      const last = this.weather.ordered ? (this.#arrivals.get(way) ?? 0) : 0;
      const arrival = Math.max(this.now + this.delay(), last);
      this.#arrivals.set(way, arrival);
      this.later(arrival - this.now, () => {
        const node = this.nodes.find((one) => one.jid === to);
        if (!node?.online) return failed('service-unavailable');
        const parsed = parseJingle(writeJingle(signal));
        this.input(node, (m) => m.handleSignal(from.jid, asReadBy(node, from, parsed), this.now));
      });
    }
  }

  /** Datagrams pass between two ends. */
  #passes(port: Port, other: Port): boolean {
    const here = port.address === port.node.address && other.address === other.node.address;
    const direct = !this.#blocked.has(pair(port.node, other.node)) || port.relayed || !port.up;
    return here && direct && !this.isCut(port.node, other.node);
  }

  /** What a sends to b arrives: on the one link that it sends on. */
  #delivers(a: SimNode, b: SimNode): boolean {
    for (const number of a.carrying) {
      const port = a.ports.get(number);
      const other = port && this.#otherEnd(port);
      if (!port || other?.node !== b) continue;
      return !other.dead && this.#passes(port, other) && (b.carrying.has(other.number) || b.taking.has(other.number));
    }
    return false;
  }

  #joined(a: SimNode, b: SimNode): boolean {
    for (const number of a.carrying) {
      const port = a.ports.get(number);
      const other = port && this.#otherEnd(port);
      if (other?.node === b && b.carrying.has(other.number)) return true;
    }
    return false;
  }
}

function isOpen(port: Port): boolean {
  return port.node.ports.get(port.number) === port;
}

function pair(a: SimNode, b: SimNode): string {
  return [a.name, b.name].sort().join(' ');
}
