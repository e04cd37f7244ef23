// SPDX-License-Identifier: MIT
// A switch in memory with the semantics of native/include/ipop.h: two look-ups, parked frames, split horizon. No policy.

import type {Millis} from '../base/time.ts';
import {
  OUT_DROP,
  OUT_FLOOD,
  OUT_RULES,
  type Miss,
  type PortId,
  type RuleUse,
  type SwitchId,
  type Upcall,
} from './datapath.ts';
import {lookupOf, refuse, type DropName, type FrameLookup} from './fake-frame.ts';
import type {FakePort} from './fake-port.ts';

const MAX_RULES = 8192;
const MAX_UPCALLS = 256;
const MAX_PARKED = 32;
const MAX_PARKED_BYTES = 1 << 20;
const TIMEOUT_MS = 2000;
const MAX_HEAD = 128;

interface Rule {
  readonly mac: string;
  readonly vlan: number;
  readonly out: number;
  sourceAt: Millis | undefined;
  destinationAt: Millis | undefined;
  hits: number;
}

interface Parked {
  readonly frame: Uint8Array;
  readonly lookup: FrameLookup;
  /** Kinds of questions asked for it, this one included. */
  readonly asked: readonly string[];
}

interface Waiting {
  readonly question: string;
  readonly port: FakePort;
  readonly deadline: Millis;
  readonly frames: Parked[];
}

export interface FakeSwitchDeps {
  nowMs(): Millis;
  /** Tells of an upcall; false when it could not be queued. */
  tell(upcall: Upcall): boolean;
}

export class FakeSwitch {
  readonly id: SwitchId;
  readonly ports = new Map<PortId, FakePort>();
  readonly #deps: FakeSwitchDeps;
  readonly #rules = new Map<string, Rule>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #questions = new Map<string, number>();
  #parkedBytes = 0;
  #lastUpcall = 0;

  constructor(id: SwitchId, deps: FakeSwitchDeps) {
    this.id = id;
    this.#deps = deps;
  }

  /** A frame came in at a port: it is forwarded, parked or dropped before this returns. */
  input(port: FakePort, frame: Uint8Array): void {
    this.expire();
    if (!port.carries) return port.drop('port-disabled');
    const lookup = lookupOf(frame);
    if (!lookup) return port.drop('malformed');
    port.received(frame);
    const why = refuse(frame, lookup);
    if (why) return port.drop(why);
    this.#route(port, {frame, lookup, asked: []});
  }

  /** False when there are too many. One that leads there already keeps its counters. */
  setRule(mac: string, vlan: number, out: number): boolean {
    const key = `${vlan}/${mac}`;
    const old = this.#rules.get(key);
    if (old?.out === out) return true;
    if (!old && this.#rules.size >= MAX_RULES) return false;
    this.#rules.set(key, {mac, vlan, out, sourceAt: undefined, destinationAt: undefined, hits: 0});
    return true;
  }

  deleteRule(mac: string, vlan: number): boolean {
    return this.#rules.delete(`${vlan}/${mac}`);
  }

  flushRules(port: PortId): number {
    const before = this.#rules.size;
    for (const [key, rule] of this.#rules) if (port === 0 || rule.out === port) this.#rules.delete(key);
    return before - this.#rules.size;
  }

  /** `port` receives for `of`, and its rules lead there, with their counters. */
  standIn(port: FakePort, of: FakePort): void {
    of.standsFor = undefined;
    port.standsFor = of.id;
    for (const [key, rule] of this.#rules) if (rule.out === port.id) this.#rules.set(key, {...rule, out: of.id});
  }

  dumpRules(): RuleUse[] {
    const now = this.#deps.nowMs();
    const since = (at: Millis | undefined): number | undefined => (at === undefined ? undefined : now - at);
    return [...this.#rules.values()].map(({mac, vlan, out, sourceAt, destinationAt, hits}) => {
      return {mac, vlan, out, sourceIdleMs: since(sourceAt), destinationIdleMs: since(destinationAt), hits};
    });
  }

  /** False when there is no such upcall (any more). */
  finishUpcall(id: number, out: number): boolean {
    this.expire();
    const waiting = this.#take(`${id}`);
    if (!waiting) return false;
    for (const parked of waiting.frames) {
      if (!waiting.port.carries) waiting.port.drop('port-disabled');
      else if (out === OUT_RULES) this.#route(waiting.port, parked);
      else this.#forward(waiting.port, out, parked.frame);
    }
    return true;
  }

  /** The port carries nothing any more: its rules and parked frames go at once. */
  losePort(port: FakePort): void {
    port.lost = true;
    this.flushRules(port.id);
    for (const [id, waiting] of [...this.#waiting]) {
      if (waiting.port === port) this.#take(id)?.frames.forEach(() => port.drop('port-disabled'));
    }
  }

  /** Drops frames that were parked for 2 s. */
  expire(): void {
    const now = this.#deps.nowMs();
    for (const [id, {deadline, port}] of [...this.#waiting]) {
      if (deadline <= now) this.#take(id)?.frames.forEach(() => port.drop('upcall-timeout'));
    }
  }

  /** When the first parked frame is dropped; they wait equally long, so it is the oldest. */
  nextTimeout(): Millis | undefined {
    return this.#waiting.values().next().value?.deadline;
  }

  #route(port: FakePort, parked: Parked): void {
    const {lookup, frame, asked} = parked;
    const judged = this.#judge(lookup, port);
    if (typeof judged === 'number') return this.#forward(port, judged, frame);
    const kind = judged === 'destination' ? 'destination' : 'source';
    const why = asked.includes(kind) ? 'policy' : this.#park(port, judged, {frame, lookup, asked: [...asked, kind]});
    if (why) port.drop(why);
  }

  /** Only a rule that leads to a port binds a source to it. */
  #judge({vlan, source, destination}: FrameLookup, port: FakePort): number | Miss {
    const now = this.#deps.nowMs();
    const bound = this.#rules.get(`${vlan}/${source}`);
    if (bound === undefined || bound.out <= 0) return 'source';
    if (bound.out !== port.boundAs) return 'moved';
    bound.sourceAt = now;
    bound.hits++;
    const rule = this.#rules.get(`${vlan}/${destination}`);
    if (rule === undefined) return 'destination';
    rule.destinationAt = now;
    rule.hits++;
    return rule.out;
  }

  #park(port: FakePort, miss: Miss, parked: Parked): DropName | undefined {
    const {frame, lookup} = parked;
    if (this.#parkedBytes + frame.length > MAX_PARKED_BYTES) return 'upcall-full';
    const missing = miss === 'destination' ? lookup.destination : lookup.source;
    const question = `${port.boundAs} ${miss} ${lookup.vlan}/${missing}`;
    const open = this.#questions.get(question);
    if (open === undefined) return this.#ask(port, miss, question, parked);
    const frames = this.#waiting.get(`${open}`)?.frames ?? [];
    if (frames.length >= MAX_PARKED) return 'upcall-full';
    frames.push({...parked, frame: frame.slice()});
    this.#parkedBytes += frame.length;
    return undefined;
  }

  #ask(port: FakePort, miss: Miss, question: string, parked: Parked): DropName | undefined {
    const {frame, lookup} = parked;
    const now = this.#deps.nowMs();
    if (this.#waiting.size >= MAX_UPCALLS) return 'upcall-full';
    if (!port.takeUpcall(now)) return 'upcall-limited';
    const id = ++this.#lastUpcall;
    const head = frame.slice(0, MAX_HEAD);
    const told = this.#deps.tell({id, port: port.boundAs, vlan: lookup.vlan, miss, head, frameLength: frame.length});
    if (!told) return 'upcall-full';
    this.#questions.set(question, id);
    const frames = [{...parked, frame: frame.slice()}];
    this.#waiting.set(`${id}`, {question, port, deadline: now + TIMEOUT_MS, frames});
    this.#parkedBytes += frame.length;
    return undefined;
  }

  #take(id: string): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (!waiting) return undefined;
    this.#waiting.delete(id);
    this.#questions.delete(waiting.question);
    for (const {frame} of waiting.frames) this.#parkedBytes -= frame.length;
    return waiting;
  }

  #forward(from: FakePort, out: number, frame: Uint8Array): void {
    const why =
      out === OUT_DROP ? 'policy' : out === OUT_FLOOD ? this.#flood(from, frame) : this.#send(from, out, frame);
    if (why) from.drop(why);
  }

  #flood(from: FakePort, frame: Uint8Array): DropName | undefined {
    const others = [...this.ports.values()].filter(
      (port) => port !== from && port.carries && port.boundAs === port.id && !(from.isLink && port.isLink),
    );
    for (const port of others) port.send(frame);
    return others.length > 0 ? undefined : 'no-port';
  }

  #send(from: FakePort, out: PortId, frame: Uint8Array): DropName | undefined {
    const port = this.ports.get(out);
    if (!port) return 'no-port';
    if (port === from) return 'same-port';
    if (from.isLink && port.isLink) return 'split-horizon';
    port.send(frame);
    return undefined;
  }
}
