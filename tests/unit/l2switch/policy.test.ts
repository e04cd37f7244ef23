// SPDX-License-Identifier: MIT
import test from 'ava';
import {decide, type FrameKey, type SwitchView} from '../../../src/l2switch/policy.ts';
import type {PortKind} from '../../../src/l2switch/types.ts';
import {OUT_DROP, OUT_FLOOD} from '../../../src/native/datapath.ts';

const LAN = 1;
const CABIN = 2;
const BOAT = 3;
const a = '02000000000a';
const b = '02000000000b';

function view(known: Record<string, number>, moving = false): SwitchView {
  const kinds: Record<number, PortKind> = {[LAN]: 'lan', [CABIN]: 'link', [BOAT]: 'link'};
  return {
    kindOf: (port) => kinds[port],
    lookup: (vlan, mac) => known[`${vlan}/${mac}`],
    isMoving: () => moving,
  };
}

const frame = (port: number, destination: string, source = a): FrameKey => ({port, vlan: 0, source, destination});

test('a known destination is forwarded, and the rule leads to its port', (t) => {
  const decision = decide(frame(LAN, b), view({[`0/${b}`]: CABIN}), 0);
  t.deepEqual(decision, {verdict: 'forward', out: CABIN, rule: {vlan: 0, mac: b, out: CABIN}, reason: 'learned'});
});

test('an unknown destination and a group are flooded, each with its reason', (t) => {
  const unknown = decide(frame(LAN, b), view({}), 0);
  t.like(unknown, {verdict: 'flood', out: OUT_FLOOD, reason: 'unknown-unicast'});
  const group = decide(frame(LAN, 'ffffffffffff'), view({}), 0);
  t.like(group, {verdict: 'flood', out: OUT_FLOOD, reason: 'group', rule: {mac: 'ffffffffffff', out: OUT_FLOOD}});
});

test('a destination known in another VLAN is unknown', (t) => {
  t.is(decide({...frame(LAN, b), vlan: 7}, view({[`0/${b}`]: CABIN}), 0).reason, 'unknown-unicast');
});

test('a frame to the port it came from is dropped, and the rule still leads there for others', (t) => {
  const decision = decide(frame(LAN, b), view({[`0/${b}`]: LAN}), 0);
  t.deepEqual(decision, {verdict: 'drop', out: OUT_DROP, rule: {vlan: 0, mac: b, out: LAN}, reason: 'same-port'});
});

test('a frame from one link to another link is dropped', (t) => {
  const decision = decide(frame(CABIN, b), view({[`0/${b}`]: BOAT}), 0);
  t.like(decision, {verdict: 'drop', reason: 'split-horizon', rule: {out: BOAT}});
});

test('a refused source leaves no rule behind', (t) => {
  for (const [reason, decision] of [
    ['moving', decide(frame(LAN, b), view({}, true), 0)],
    ['bad-source', decide(frame(LAN, b, '010000000001'), view({}), 0)],
    ['bad-source', decide(frame(LAN, b, '000000000000'), view({}), 0)],
    ['reserved-address', decide(frame(LAN, '0180c200000e'), view({}), 0)],
    ['port-down', decide(frame(9, b), view({}), 0)],
  ] as const) {
    t.deepEqual(decision, {verdict: 'drop', out: OUT_DROP, reason});
  }
});
