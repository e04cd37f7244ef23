// SPDX-License-Identifier: MIT
// What lies between fake datapaths: links find each other by their descriptions, as ICE agents do, and carry messages and frames.

import {earliest, type Deadline, type Millis} from '../base/time.ts';
import {concat, hex} from '../base/bytes.ts';
import type {LinkDescription, LinkInfo, LinkRole} from './datapath.ts';

/** How long an agent tries, unless the wire is told otherwise. */
const CONNECT_TIMEOUT_MS = 20_000;
/** Over it, frames are lost on the way, as datagrams are. */
const MAX_IN_FLIGHT = 10_000;

/** What happens at one end of a link. */
export interface WireHandlers {
  onUp(info: LinkInfo): void;
  onLost(code: string, text: string): void;
  onMessage(message: Uint8Array): void;
  onFrame(frame: Uint8Array): void;
}

export interface FakeWireOptions {
  nowMs(): Millis;
  /** One way; 0: everything arrives before the call returns. */
  readonly latencyMs?: number;
  readonly connectTimeoutMs?: number;
}

interface Delivery {
  readonly at: Millis;
  readonly run: () => void;
}

/** One end of a link: what an ICE agent is in the real one. */
export class WireEnd {
  /** Of the datapath it belongs to. */
  readonly node: string;
  readonly local: LinkDescription;
  readonly candidate: string;
  readonly handlers: WireHandlers;
  remote: LinkDescription | undefined;
  peer: WireEnd | undefined;
  state: 'new' | 'connecting' | 'up' | 'over' = 'new';
  readonly candidates: string[] = [];
  failAt: Millis | undefined;

  constructor(node: string, local: LinkDescription, candidate: string, handlers: WireHandlers) {
    this.node = node;
    this.local = local;
    this.candidate = candidate;
    this.handlers = handlers;
  }
}

/** All the network there is between fakes. Shared by them; deterministic. */
export class FakeWire {
  readonly #options: FakeWireOptions;
  readonly #ends: WireEnd[] = [];
  readonly #cut = new Set<string>();
  #queue: Delivery[] = [];
  #running = false;
  #made = 0;
  #lost = 0;

  constructor(options: FakeWireOptions) {
    this.#options = options;
  }

  /** Frames and messages lost on the way. */
  get lost(): number {
    return this.#lost;
  }

  /** A new end; it waits for `setRemote`. */
  open(node: string, role: LinkRole, handlers: WireHandlers): WireEnd {
    const n = ++this.#made;
    const number = n.toString(16).padStart(8, '0');
    const seed = hex(concat(Uint8Array.from({length: 32}, (_, i) => (n * 31 + i * 7) & 255))).toUpperCase();
    const local: LinkDescription = {
      ufrag: `fake${number}`,
      pwd: `fake-password-${number}`,
      fingerprint: `${number.toUpperCase()}${seed.slice(8)}`.replace(/(..)(?!$)/g, '$1:'),
      setup: role === 'offer' ? 'actpass' : 'active',
    };
    const candidate = `candidate:1 1 UDP 2122317823 192.0.2.${(n % 254) + 1} ${1024 + (n % 60_000)} typ host`;
    const end = new WireEnd(node, local, candidate, handlers);
    this.#ends.push(end);
    return end;
  }

  setRemote(end: WireEnd, remote: LinkDescription): void {
    end.remote = remote;
    end.state = 'connecting';
    end.failAt = this.#options.nowMs() + (this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
    this.#connect(end);
  }

  addCandidate(end: WireEnd, candidate: string): void {
    end.candidates.push(candidate);
    if (end.state === 'connecting') this.#connect(end);
  }

  /** Closes an end; the other one hears of it. */
  close(end: WireEnd): void {
    const {peer} = end;
    const wasUp = end.state === 'up';
    this.#end(end);
    if (wasUp && peer) this.#post(() => this.#lose(peer, 'closed', 'the peer closed the link'));
  }

  sendMessage(end: WireEnd, message: Uint8Array): void {
    const copy = message.slice();
    this.#carry(end, (peer) => peer.handlers.onMessage(copy));
  }

  sendFrame(end: WireEnd, frame: Uint8Array): void {
    const copy = frame.slice();
    this.#carry(end, (peer) => peer.handlers.onFrame(copy));
  }

  /** Nothing passes between two nodes from now on: links that are up are lost as silent at once, new ones fail. */
  cut(a: string, b: string): void {
    this.#cut.add(pairOf(a, b));
    for (const end of [...this.#ends]) {
      if (end.state === 'up' && end.peer && pairOf(end.node, end.peer.node) === pairOf(a, b)) {
        this.#lose(end, 'silent', 'nothing heard for 12 s');
      }
    }
  }

  /** Undoes `cut`. */
  mend(a: string, b: string): void {
    this.#cut.delete(pairOf(a, b));
    for (const end of [...this.#ends]) if (end.state === 'connecting') this.#connect(end);
  }

  handleTimeout(now: Millis): void {
    for (const end of [...this.#ends]) {
      if (end.failAt !== undefined && end.failAt <= now) this.#lose(end, 'ice-failed', 'no candidate pair worked');
    }
    this.#run(now);
  }

  nextTimeout(): Deadline | undefined {
    const fails = this.#ends.map(({failAt}) =>
      failAt === undefined ? undefined : {at: failAt, reason: 'fake wire: connect'},
    );
    const first = this.#queue[0];
    return earliest(first && {at: first.at, reason: 'fake wire: deliver'}, ...fails);
  }

  #connect(end: WireEnd): void {
    const peer = this.#ends.find((other) => other.state === 'connecting' && meant(end, other) && meant(other, end));
    if (peer === undefined || this.#cut.has(pairOf(end.node, peer.node))) return;
    if (!end.candidates.includes(peer.candidate) && !peer.candidates.includes(end.candidate)) return;
    for (const [one, other] of [
      [end, peer],
      [peer, end],
    ] as const) {
      if (one.remote?.fingerprint === other.local.fingerprint) continue;
      this.#lose(one, 'fingerprint', "the peer's certificate is not the one it signed");
      this.#lose(other, 'dtls-failed', 'the peer refused the handshake');
      return;
    }
    for (const one of [end, peer]) {
      one.state = 'up';
      one.failAt = undefined;
    }
    end.peer = peer;
    peer.peer = end;
    this.#post(() => end.state === 'up' && end.handlers.onUp(infoOf(end)));
    this.#post(() => peer.state === 'up' && peer.handlers.onUp(infoOf(peer)));
  }

  #carry(end: WireEnd, deliver: (peer: WireEnd) => void): void {
    const {peer} = end;
    if (end.state !== 'up' || peer === undefined || this.#queue.length >= MAX_IN_FLIGHT) {
      this.#lost++;
      return;
    }
    this.#post(() => {
      if (peer.state === 'up') deliver(peer);
      else this.#lost++;
    });
  }

  #lose(end: WireEnd, code: string, text: string): void {
    if (end.state === 'over') return;
    this.#end(end);
    end.handlers.onLost(code, text);
  }

  #end(end: WireEnd): void {
    end.state = 'over';
    end.failAt = undefined;
    const at = this.#ends.indexOf(end);
    if (at >= 0) this.#ends.splice(at, 1);
  }

  #post(run: () => void): void {
    const now = this.#options.nowMs();
    this.#queue.push({at: now + (this.#options.latencyMs ?? 0), run});
    if (!this.#options.latencyMs) this.#run(now);
  }

  /** Latency is the same for all, so the queue is in order of time. */
  #run(now: Millis): void {
    if (this.#running) return;
    this.#running = true;
    try {
      for (let first = this.#queue[0]; first !== undefined && first.at <= now; first = this.#queue[0]) {
        this.#queue = this.#queue.slice(1);
        first.run();
      }
    } finally {
      this.#running = false;
    }
  }
}

function meant(end: WireEnd, other: WireEnd): boolean {
  return end !== other && end.remote?.ufrag === other.local.ufrag && end.remote.pwd === other.local.pwd;
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** What `linkInfo` says of an end. */
export function infoOf(end: WireEnd): LinkInfo {
  const address = (candidate: string | undefined): string => candidate?.split(' ').slice(4, 6).join(':') ?? '';
  return {
    state: end.state === 'over' ? 'lost' : end.state,
    local: address(end.candidate),
    remote: address(end.peer?.candidate),
    localType: 'host',
    remoteType: end.peer ? 'host' : '',
    carriage: 'srtp',
    carriageWhy: 'the fake has no other',
    cipher: '',
    datagramBytes: 0,
    rtpSent: 0,
    rtpReceived: 0,
    ssrcChanges: 0,
    silentMs: 0,
    localGone: false,
    lossPermille: undefined,
    throttled: false,
  };
}
