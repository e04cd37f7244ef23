// SPDX-License-Identifier: MIT
// The switch's core: learns where addresses are, decides first frames, and keeps native's rules true. Frames themselves never come here.

import type {Deadline, Millis} from '../base/time.ts';
import {OUT_DROP, OUT_FLOOD, OUT_RULES, type PortId, type RuleUse, type Upcall} from '../native/datapath.ts';
import {Fdb, keyOf, MAX_ENTRIES, type FdbCounters} from './fdb.ts';
import {isGroup, parseFrame} from './frame.ts';
import {decide, type Decision, type FrameKey, type Reason, type SwitchView} from './policy.ts';
import type {Mac, PortKind, SwitchEffect} from './types.ts';

/** How often native's rules are looked through: an entry is at most this much older than it says. */
export const REVALIDATE_MS = 15_000;
/** An unknown destination that nobody asks for any more; short, since it may be learned on another path meanwhile. */
export const UNKNOWN_IDLE_MS = 15_000;
/** A group nobody sends to any more. */
export const GROUP_IDLE_MS = 300_000;
/** With `MAX_ENTRIES` they stay below native's 8192 rules. Over it, the one least recently set or used gives way. */
export const MAX_FLOOD_RULES = 2048;

interface FloodRule {
  readonly vlan: number;
  readonly mac: Mac;
  usedAt: Millis;
}

/** One line of the table, for `ipop fdb`. */
export interface SwitchEntry {
  readonly vlan: number;
  readonly mac: Mac;
  readonly port: PortId;
  /** Since a frame came from it. */
  readonly ageMs: number;
}

export interface SwitchCounters extends Readonly<FdbCounters> {
  readonly entries: number;
  readonly limit: number;
  readonly floodRules: number;
  /** Flood rules that gave way because there were too many. */
  readonly floodRulesEvicted: number;
  readonly upcalls: number;
  /** First frames by what was decided. */
  readonly reasons: Readonly<Partial<Record<Reason, number>>>;
}

/** See the head of the file. One instance serves one native switch. */
export class Switch implements SwitchView {
  readonly #fdb = new Fdb();
  readonly #ports = new Map<PortId, PortKind>();
  /** Ports that were replaced and still receive, with those that took their place. */
  readonly #replaced = new Map<PortId, PortId>();
  /** Rules that flood, the least recently used first. */
  readonly #floods = new Map<string, FloodRule>();
  readonly #reasons: Partial<Record<Reason, number>> = {};
  #upcalls = 0;
  #floodRulesEvicted = 0;
  #revalidateAt: Millis | undefined;
  #effects: SwitchEffect[] = [];

  /** A port carries frames from now on. */
  handlePortUp(port: PortId, kind: PortKind, _now: Millis): void {
    this.#ports.set(port, kind);
  }

  /** A port carries nothing any more: what was behind it is forgotten at once, so that it is looked for elsewhere. */
  handlePortDown(port: PortId, _now: Millis): void {
    this.#replaced.delete(port);
    if (!this.#ports.delete(port)) return;
    this.#fdb.forgetPort(port);
    this.#effects.push({type: 'flush-rules', port});
  }

  /**
   * Another port took this one's place: all that was behind it is behind that one. Native has led its rules there in one step. What
   * still asks for the old port, until that goes down, counts as coming from the new one.
   */
  handlePortReplaced(from: PortId, to: PortId, _now: Millis): void {
    const kind = this.#ports.get(from);
    if (kind === undefined) return;
    this.#ports.delete(from);
    this.#ports.set(to, kind);
    this.#replaced.set(from, to);
    this.#fdb.movePort(from, to);
  }

  /** A frame waits for a decision. */
  handleUpcall(asked: Upcall, now: Millis): void {
    const upcall = {...asked, port: this.#replaced.get(asked.port) ?? asked.port};
    this.#upcalls++;
    const head = parseFrame(upcall.head);
    if (head === undefined) return this.#finish(upcall.id, OUT_DROP, 'malformed');
    const {source, destination} = head;
    const frame: FrameKey = {port: upcall.port, vlan: upcall.vlan, source, destination};
    let decision = decide(frame, this, now);
    if (this.#mayLearn(decision)) {
      this.#learn(frame, upcall, now);
      // Anew: its source may be held elsewhere now, or be its own destination.
      decision = decide(frame, this, now);
    }
    if (upcall.miss !== 'destination' && this.#mayLearn(decision)) {
      // Its destination may well have a rule; if not, native asks again.
      this.#effects.push({type: 'finish-upcall', id: upcall.id, out: OUT_RULES});
      return;
    }
    this.#apply(upcall.id, decision, now);
  }

  /**
   * Native's rules and their use. What a frame came from lately is not old; what is old, or was not decided here, goes.
   */
  handleRules(uses: readonly RuleUse[], now: Millis): void {
    const oldestFirst = [...uses].sort((a, b) => (b.sourceIdleMs ?? Infinity) - (a.sourceIdleMs ?? Infinity));
    for (const use of oldestFirst) {
      if (use.out === OUT_FLOOD) this.#revalidateFlood(use, now);
      else this.#revalidateLearned(use, now);
    }
    for (const flood of [...this.#floods.values()]) this.#expireFlood(flood, now);
    for (const {vlan, mac} of this.#fdb.expire(now)) this.#effects.push({type: 'delete-rule', vlan, mac});
  }

  /** Records were lost, upcalls among them: starts over with nothing learned. Frames that wait time out in native. */
  handleGap(_now: Millis): void {
    this.#fdb.clear();
    this.#floods.clear();
    this.#effects.push({type: 'flush-rules', port: 0});
  }

  handleTimeout(now: Millis): void {
    if (this.#revalidateAt === undefined || now < this.#revalidateAt) return;
    this.#revalidateAt = undefined;
    if (this.#fdb.size + this.#floods.size === 0) return;
    this.#effects.push({type: 'dump-rules'});
    this.#revalidateAt = now + REVALIDATE_MS;
  }

  nextTimeout(): Deadline | undefined {
    return this.#revalidateAt === undefined
      ? undefined
      : {at: this.#revalidateAt, reason: 'switch: look through the rules'};
  }

  /** What is to be done, in order. */
  drain(): SwitchEffect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** The table, by VLAN and address. */
  entries(now: Millis): SwitchEntry[] {
    return this.#fdb.entries().map(({vlan, mac, port, seenAt}) => ({vlan, mac, port, ageMs: now - seenAt}));
  }

  /** How many addresses are behind a port. */
  countOf(port: PortId): number {
    return this.#fdb.countOf(port);
  }

  counters(): SwitchCounters {
    return {
      ...this.#fdb.counters,
      entries: this.#fdb.size,
      limit: MAX_ENTRIES,
      floodRules: this.#floods.size,
      floodRulesEvicted: this.#floodRulesEvicted,
      upcalls: this.#upcalls,
      reasons: {...this.#reasons},
    };
  }

  kindOf(port: PortId): PortKind | undefined {
    return this.#ports.get(port);
  }

  lookup(vlan: number, mac: Mac): PortId | undefined {
    return this.#fdb.lookup(vlan, mac);
  }

  isMoving(vlan: number, mac: Mac, port: PortId, now: Millis): boolean {
    return this.#fdb.isMoving(vlan, mac, port, now);
  }

  /** A frame that is refused for itself, not for its destination, teaches nothing. */
  #mayLearn({reason}: Decision): boolean {
    return !['port-down', 'reserved-address', 'bad-source', 'moving', 'malformed'].includes(reason);
  }

  /** Notes where the source is, unless it moves too often. */
  #learn({vlan, source, port}: FrameKey, {miss}: Upcall, now: Millis): void {
    const {outcome, evicted} = this.#fdb.learn(vlan, source, port, now);
    if (outcome === 'pinned') return;
    if (evicted) this.#effects.push({type: 'delete-rule', vlan: evicted.vlan, mac: evicted.mac});
    // A source miss means that native has no such rule, whatever we believe.
    if (outcome !== 'same' || miss !== 'destination') {
      this.#floods.delete(keyOf(vlan, source));
      this.#effects.push({type: 'set-rule', vlan, mac: source, out: port});
      this.#armRevalidation(now);
    }
  }

  #apply(id: number, decision: Decision, now: Millis): void {
    const {rule, reason} = decision;
    if (rule) {
      if (rule.out === OUT_FLOOD) this.#addFlood(rule.vlan, rule.mac, now);
      this.#effects.push({type: 'set-rule', ...rule});
    }
    // A drop that a rule stands for is left to native, which counts it under its own reason.
    this.#finish(id, rule ? rule.out : decision.out, reason);
  }

  #finish(id: number, out: number, reason: Reason): void {
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
    this.#effects.push({type: 'finish-upcall', id, out});
  }

  #addFlood(vlan: number, mac: Mac, now: Millis): void {
    const key = keyOf(vlan, mac);
    this.#floods.delete(key);
    if (this.#floods.size >= MAX_FLOOD_RULES) {
      const [oldestKey, oldest] = this.#floods.entries().next().value as [string, FloodRule];
      this.#floods.delete(oldestKey);
      this.#floodRulesEvicted++;
      this.#effects.push({type: 'delete-rule', vlan: oldest.vlan, mac: oldest.mac});
    }
    this.#floods.set(key, {vlan, mac, usedAt: now});
    this.#armRevalidation(now);
  }

  #revalidateFlood({vlan, mac, destinationIdleMs}: RuleUse, now: Millis): void {
    const key = keyOf(vlan, mac);
    const flood = this.#floods.get(key);
    if (flood === undefined) {
      this.#correct(vlan, mac);
      return;
    }
    if (destinationIdleMs === undefined || now - destinationIdleMs <= flood.usedAt) return;
    flood.usedAt = now - destinationIdleMs;
    this.#floods.delete(key);
    this.#floods.set(key, flood);
  }

  #revalidateLearned({vlan, mac, out, sourceIdleMs}: RuleUse, now: Millis): void {
    if (this.#fdb.lookup(vlan, mac) !== out) this.#correct(vlan, mac);
    else if (sourceIdleMs !== undefined) this.#fdb.seen(vlan, mac, now - sourceIdleMs);
  }

  /** Native has a rule that differs from what is known: sets it right, or takes it away. */
  #correct(vlan: number, mac: Mac): void {
    const port = this.#fdb.lookup(vlan, mac);
    if (port === undefined) this.#effects.push({type: 'delete-rule', vlan, mac});
    else this.#effects.push({type: 'set-rule', vlan, mac, out: port});
  }

  #expireFlood({vlan, mac, usedAt}: FloodRule, now: Millis): void {
    if (now - usedAt < (isGroup(mac) ? GROUP_IDLE_MS : UNKNOWN_IDLE_MS)) return;
    this.#floods.delete(keyOf(vlan, mac));
    this.#effects.push({type: 'delete-rule', vlan, mac});
  }

  #armRevalidation(now: Millis): void {
    this.#revalidateAt ??= now + REVALIDATE_MS;
  }
}
