// SPDX-License-Identifier: MIT
import test from 'ava';
import {concat, fromHex} from '../../../src/base/bytes.ts';
import {AGE_MS, MAX_ENTRIES, MAX_MOVES} from '../../../src/l2switch/fdb.ts';
import {GROUP_IDLE_MS, MAX_FLOOD_RULES, REVALIDATE_MS, Switch, UNKNOWN_IDLE_MS} from '../../../src/l2switch/switch.ts';
import {OUT_DROP, OUT_FLOOD, OUT_RULES, type Miss, type RuleUse, type Upcall} from '../../../src/native/datapath.ts';

const LAN = 1;
const CABIN = 2;
const BOAT = 3;
const a = '02000000000a';
const b = '02000000000b';
const broadcast = 'ffffffffffff';
const mac = (n: number): string => (0x020000000000 + n).toString(16).padStart(12, '0');

let nextId = 1;

function upcall(port: number, miss: Miss, source: string, destination: string, vlan = 0): Upcall {
  const head = concat(...[destination, source, '0800'].map((part) => fromHex(part) as Uint8Array));
  return {id: nextId++, port, vlan, miss, head, frameLength: 60};
}

function use(address: string, out: number, idle: Partial<RuleUse> = {}): RuleUse {
  return {mac: address, vlan: 0, out, sourceIdleMs: undefined, destinationIdleMs: undefined, hits: 0, ...idle};
}

function started(): Switch {
  const core = new Switch();
  core.handlePortUp(LAN, 'lan', 0);
  core.handlePortUp(CABIN, 'link', 0);
  core.handlePortUp(BOAT, 'link', 0);
  return core;
}

/** Teaches the core an address as a real first frame does. */
function learn(core: Switch, port: number, source: string, now: number): void {
  core.handleUpcall(upcall(port, 'source', source, broadcast), now);
  core.drain();
}

test('a new source gets a rule, and its frame goes through the rules again', (t) => {
  const core = started();
  const first = upcall(LAN, 'source', a, b);
  core.handleUpcall(first, 0);
  t.deepEqual(core.drain(), [
    {type: 'set-rule', vlan: 0, mac: a, out: LAN},
    {type: 'finish-upcall', id: first.id, out: OUT_RULES},
  ]);
});

test('a frame to a learned address is sent there and gets a rule', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  learn(core, CABIN, b, 0);
  const first = upcall(LAN, 'destination', a, b);
  core.handleUpcall(first, 1);
  t.deepEqual(core.drain(), [
    {type: 'set-rule', vlan: 0, mac: b, out: CABIN},
    {type: 'finish-upcall', id: first.id, out: CABIN},
  ]);
});

test('an unknown destination is flooded until it is learned', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  const first = upcall(LAN, 'destination', a, b);
  core.handleUpcall(first, 1);
  t.deepEqual(core.drain(), [
    {type: 'set-rule', vlan: 0, mac: b, out: OUT_FLOOD},
    {type: 'finish-upcall', id: first.id, out: OUT_FLOOD},
  ]);
  t.is(core.counters().floodRules, 1);
  core.handleUpcall(upcall(CABIN, 'source', b, a), 2);
  t.deepEqual(core.drain()[0], {type: 'set-rule', vlan: 0, mac: b, out: CABIN});
  t.is(core.counters().floodRules, 0);
});

test('a source is learned from a destination miss too', (t) => {
  const core = started();
  core.handleUpcall(upcall(LAN, 'destination', a, broadcast), 0);
  t.deepEqual(core.drain()[0], {type: 'set-rule', vlan: 0, mac: a, out: LAN});
});

test('a source miss for a known address sets its rule again, since native has none', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  core.handleUpcall(upcall(LAN, 'source', a, b), 1);
  t.deepEqual(core.drain()[0], {type: 'set-rule', vlan: 0, mac: a, out: LAN});
});

test('a frame from an address to itself does not unlearn it', (t) => {
  const core = started();
  core.handleUpcall(upcall(LAN, 'destination', a, a), 0);
  const rules = core.drain().filter((effect) => effect.type === 'set-rule');
  t.true(rules.length > 0 && rules.every((rule) => rule.out === LAN));
});

test('drops that a rule stands for are finished by the rule, so native counts their own reason', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  learn(core, CABIN, b, 0);
  learn(core, BOAT, mac(1), 0);
  const split = upcall(BOAT, 'destination', mac(1), b);
  core.handleUpcall(split, 1);
  t.deepEqual(core.drain().at(-1), {type: 'finish-upcall', id: split.id, out: CABIN});
  t.is(core.counters().reasons['split-horizon'], 1);
});

test('an upcall from a port that is not up, or without a whole head, is dropped and teaches nothing', (t) => {
  const core = started();
  const stray = upcall(9, 'source', a, b);
  const cut: Upcall = {...upcall(LAN, 'source', a, b), head: new Uint8Array(13)};
  core.handleUpcall(stray, 0);
  core.handleUpcall(cut, 0);
  t.deepEqual(core.drain(), [
    {type: 'finish-upcall', id: stray.id, out: OUT_DROP},
    {type: 'finish-upcall', id: cut.id, out: OUT_DROP},
  ]);
  t.deepEqual(core.entries(0), []);
  t.deepEqual(core.counters().reasons, {'port-down': 1, malformed: 1});
});

test('a host that moves is found at its new port at once', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  core.handleUpcall(upcall(CABIN, 'moved', a, b), 1);
  t.deepEqual(core.drain()[0], {type: 'set-rule', vlan: 0, mac: a, out: CABIN});
  t.is(core.counters().moved, 1);
});

test('an address that flaps between ports is held, and its frames from elsewhere are dropped as moving', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  for (let i = 1; i <= MAX_MOVES; i++) core.handleUpcall(upcall(i % 2 ? CABIN : LAN, 'moved', a, b), i);
  core.drain();
  const tooMany = upcall(CABIN, 'moved', a, b);
  core.handleUpcall(tooMany, 20);
  t.deepEqual(core.drain(), [{type: 'finish-upcall', id: tooMany.id, out: OUT_DROP}]);
  t.is(core.counters().reasons.moving, 1);
  t.is(core.lookup(0, a), LAN);
});

test('a lost port takes its addresses and rules with it at once', (t) => {
  const core = started();
  learn(core, CABIN, b, 0);
  learn(core, LAN, a, 0);
  core.handlePortDown(CABIN, 1);
  t.deepEqual(core.drain(), [{type: 'flush-rules', port: CABIN}]);
  t.deepEqual(core.entries(1), [{vlan: 0, mac: a, port: LAN, ageMs: 1}]);
  core.handlePortDown(CABIN, 2);
  t.deepEqual(core.drain(), []);
});

test('rules are looked through every 15 s while there are any, and not otherwise', (t) => {
  const core = started();
  t.is(core.nextTimeout(), undefined);
  learn(core, LAN, a, 100);
  t.is(core.nextTimeout()?.at, 100 + REVALIDATE_MS);
  core.handleTimeout(100 + REVALIDATE_MS);
  t.deepEqual(core.drain(), [{type: 'dump-rules'}]);
  t.is(core.nextTimeout()?.at, 100 + 2 * REVALIDATE_MS);
  core.handlePortDown(LAN, 200);
  core.drain();
  core.handleTimeout(100 + 2 * REVALIDATE_MS);
  t.deepEqual(core.drain(), []);
  t.is(core.nextTimeout(), undefined);
});

test('an address stays while its rule is used, and leaves with its rule when it was silent for 300 s', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  core.handleRules([use(a, LAN, {sourceIdleMs: 1000})], AGE_MS);
  t.deepEqual(core.drain(), []);
  t.is(core.entries(AGE_MS)[0]?.ageMs, 1000);
  const later = 2 * AGE_MS - 1000;
  core.handleRules([use(a, LAN, {sourceIdleMs: AGE_MS, destinationIdleMs: 0})], later);
  t.deepEqual(core.drain(), [{type: 'delete-rule', vlan: 0, mac: a}]);
  t.is(core.counters().expired, 1);
});

test('a flood rule for an unknown address goes after 15 s without use, one for a group after 300 s', (t) => {
  const core = started();
  core.handleUpcall(upcall(LAN, 'destination', a, b), 0);
  core.handleUpcall(upcall(LAN, 'destination', a, broadcast), 0);
  core.drain();
  const uses = (idle: number): RuleUse[] => [
    use(b, OUT_FLOOD, {destinationIdleMs: idle}),
    use(broadcast, OUT_FLOOD, {destinationIdleMs: idle}),
    use(a, LAN, {sourceIdleMs: 0}),
  ];
  core.handleRules(uses(5000), 20_000);
  t.deepEqual(core.drain(), []);
  core.handleRules(uses(UNKNOWN_IDLE_MS), 15_000 + UNKNOWN_IDLE_MS);
  t.deepEqual(core.drain(), [{type: 'delete-rule', vlan: 0, mac: b}]);
  const later = 15_000 + GROUP_IDLE_MS;
  core.handleRules(
    [use(broadcast, OUT_FLOOD, {destinationIdleMs: GROUP_IDLE_MS}), use(a, LAN, {sourceIdleMs: 0})],
    later,
  );
  t.deepEqual(core.drain(), [{type: 'delete-rule', vlan: 0, mac: broadcast}]);
});

test('a rule that was not decided here is set right or taken away', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  core.handleRules([use(a, CABIN), use(b, CABIN), use(mac(1), OUT_FLOOD), use(mac(2), OUT_DROP)], 1);
  t.deepEqual(core.drain(), [
    {type: 'set-rule', vlan: 0, mac: a, out: LAN},
    {type: 'delete-rule', vlan: 0, mac: b},
    {type: 'delete-rule', vlan: 0, mac: mac(1)},
    {type: 'delete-rule', vlan: 0, mac: mac(2)},
  ]);
});

test('after lost records nothing is believed any more, and all rules are flushed', (t) => {
  const core = started();
  learn(core, LAN, a, 0);
  core.handleGap(1);
  t.deepEqual(core.drain(), [{type: 'flush-rules', port: 0}]);
  t.deepEqual(core.entries(1), []);
  const first = upcall(LAN, 'source', a, b);
  core.handleUpcall(first, 2);
  t.deepEqual(core.drain()[0], {type: 'set-rule', vlan: 0, mac: a, out: LAN});
});

test('a flood of invented addresses never asks native for more than its 8192 rules', (t) => {
  const core = started();
  const rules = new Set<string>();
  for (let i = 0; i < 3 * MAX_ENTRIES; i++) {
    core.handleUpcall(upcall(LAN, 'source', mac(i), mac(100_000 + i)), i);
    core.handleUpcall(upcall(LAN, 'destination', mac(i), mac(100_000 + i)), i);
    for (const effect of core.drain()) {
      if (effect.type === 'set-rule') rules.add(effect.mac);
      if (effect.type === 'delete-rule') rules.delete(effect.mac);
    }
  }
  t.is(rules.size, MAX_ENTRIES + MAX_FLOOD_RULES);
  t.is(core.counters().evicted, 2 * MAX_ENTRIES);
  t.is(core.counters().floodRulesEvicted, 3 * MAX_ENTRIES - MAX_FLOOD_RULES);
});

test('VLANs learn apart', (t) => {
  const core = started();
  core.handleUpcall(upcall(LAN, 'source', a, b, 10), 0);
  core.handleUpcall(upcall(CABIN, 'source', a, b, 20), 0);
  t.deepEqual(
    core.entries(0).map(({vlan, port}) => [vlan, port]),
    [
      [10, LAN],
      [20, CABIN],
    ],
  );
  t.is(core.counters().moved, 0);
});
