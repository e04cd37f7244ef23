// SPDX-License-Identifier: MIT
// What happens to a frame, as one pure function: asked for each first frame, and again for each cached rule when rules are looked through.

import type {Millis} from '../base/time.ts';
import {OUT_DROP, OUT_FLOOD, type PortId} from '../native/datapath.ts';
import {isGroup, isReserved} from './frame.ts';
import type {Mac, PortKind} from './types.ts';

/** What the decision rests on. */
export interface FrameKey {
  readonly port: PortId;
  readonly vlan: number;
  readonly source: Mac;
  readonly destination: Mac;
}

/** What the switch knows, read only. */
export interface SwitchView {
  /** undefined: no such port, or not up. */
  kindOf(port: PortId): PortKind | undefined;
  lookup(vlan: number, mac: Mac): PortId | undefined;
  /** Whether the source is held elsewhere because it moves too often. */
  isMoving(vlan: number, mac: Mac, port: PortId, now: Millis): boolean;
}

export type Verdict = 'forward' | 'flood' | 'drop';

export type Reason =
  /** The destination is known. */
  | 'learned'
  /** To many. */
  | 'group'
  /** The destination was not seen yet, or too long ago. */
  | 'unknown-unicast'
  /** The destination is behind the port it came from. */
  | 'same-port'
  /** From a link, destination behind a link: the peer has a link of its own to it. */
  | 'split-horizon'
  /** The source was seen behind several ports in turn. */
  | 'moving'
  | 'reserved-address'
  /** Source is a group address or zero. */
  | 'bad-source'
  | 'port-down'
  | 'malformed';

/** What native may remember: frames to `mac` go to `out`. */
export interface Rule {
  readonly vlan: number;
  readonly mac: Mac;
  readonly out: number;
}

export interface Decision {
  readonly verdict: Verdict;
  /** A port, OUT_FLOOD or OUT_DROP. */
  readonly out: number;
  /** Absent: nothing to remember. Holds for frames from any port; native applies split horizon and same-port to it. */
  readonly rule?: Rule;
  readonly reason: Reason;
}

/** Decides one frame. */
export function decide(frame: FrameKey, view: SwitchView, now: Millis): Decision {
  const from = view.kindOf(frame.port);
  if (from === undefined) return drop('port-down');
  if (isReserved(frame.destination)) return drop('reserved-address');
  if (isGroup(frame.source) || frame.source === '000000000000') return drop('bad-source');
  if (view.isMoving(frame.vlan, frame.source, frame.port, now)) return drop('moving');
  return decideDestination(frame, from, view);
}

function decideDestination(frame: FrameKey, from: PortKind, view: SwitchView): Decision {
  const {vlan, destination: mac} = frame;
  const flood = {verdict: 'flood', out: OUT_FLOOD, rule: {vlan, mac, out: OUT_FLOOD}} as const;
  if (isGroup(mac)) return {...flood, reason: 'group'};
  const out = view.lookup(vlan, mac);
  if (out === undefined) return {...flood, reason: 'unknown-unicast'};
  const rule = {vlan, mac, out};
  if (out === frame.port) return drop('same-port', rule);
  if (from === 'link' && view.kindOf(out) === 'link') return drop('split-horizon', rule);
  return {verdict: 'forward', out, rule, reason: 'learned'};
}

function drop(reason: Reason, rule?: Rule): Decision {
  return {verdict: 'drop', out: OUT_DROP, reason, ...(rule ? {rule} : {})};
}
