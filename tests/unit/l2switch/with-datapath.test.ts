// SPDX-License-Identifier: MIT
// The switch's core on the fake datapath: two sites and a link, frames as hosts send them.

import test from 'ava';
import fc from 'fast-check';
import {REVALIDATE_MS, Switch} from '../../../src/l2switch/switch.ts';
import type {PortId, SwitchId} from '../../../src/native/datapath.ts';
import {FakeDatapath} from '../../../src/native/fake.ts';
import {AGE_MS} from '../../../src/l2switch/fdb.ts';
import {BROADCAST, plain} from '../../contract/frames.ts';

/** A node: its core, its datapath, a LAN port and a port for each link. */
class Node {
  now = 0;
  readonly core = new Switch();
  readonly path = new FakeDatapath({nowMs: () => this.now});
  readonly sw: SwitchId = this.path.openSwitch();
  readonly lan: PortId;
  readonly links: readonly PortId[];

  constructor(links: number) {
    this.lan = this.#open(false);
    this.links = Array.from({length: links}, () => this.#open(true));
  }

  /** A frame comes in; the core answers until nobody asks any more. */
  receive(port: PortId, destination: string, source: string): void {
    this.path.writeMemory(port, plain(destination, source));
    this.settle();
  }

  settle(): void {
    for (let round = 0; round < 10; round++) {
      for (const event of this.path.drain())
        if (event.type === 'upcall') this.core.handleUpcall(event.upcall, this.now);
      const effects = this.core.drain();
      if (effects.length === 0) return;
      for (const effect of effects) {
        if (effect.type === 'set-rule') this.path.setRule(this.sw, effect.mac, effect.vlan, effect.out);
        else if (effect.type === 'delete-rule') this.path.deleteRule(this.sw, effect.mac, effect.vlan);
        else if (effect.type === 'flush-rules') this.path.flushRules(this.sw, effect.port);
        else if (effect.type === 'finish-upcall') this.path.finishUpcall(this.sw, effect.id, effect.out);
        else this.core.handleRules(this.path.dumpRules(this.sw), this.now);
      }
    }
    throw new Error('the core and the datapath go round in circles');
  }

  /** Time passes, with the core's timers. */
  wait(ms: number): void {
    const end = this.now + ms;
    for (let next = this.core.nextTimeout(); next && next.at <= end; next = this.core.nextTimeout()) {
      this.now = Math.max(this.now, next.at);
      this.core.handleTimeout(this.now);
      this.settle();
    }
    this.now = end;
  }

  /** How many frames each port gave out since the last call. */
  out(): number[] {
    return [this.lan, ...this.links].map((port) => {
      let count = 0;
      while (this.path.readMemory(port)) count++;
      return count;
    });
  }

  #open(isLink: boolean): PortId {
    const port = this.path.openMemory(this.sw, isLink);
    this.path.enablePort(port, true);
    this.core.handlePortUp(port, isLink ? 'link' : 'lan', 0);
    return port;
  }
}

const a = '02000000000a';
const b = '02000000000b';

test('ARP and its answer are enough for two hosts to talk by rules alone', (t) => {
  const node = new Node(2);
  const [first = 0] = node.links;
  node.receive(node.lan, BROADCAST, a);
  t.deepEqual(node.out(), [0, 1, 1]);
  node.receive(first, a, b);
  t.deepEqual(node.out(), [1, 0, 0]);
  const {upcalls} = node.core.counters();
  for (let i = 0; i < 100; i++) {
    node.receive(node.lan, b, a);
    node.receive(first, a, b);
  }
  t.deepEqual(node.out(), [100, 100, 0]);
  // The destination b was never asked for: its rule came with learning it.
  t.is(node.core.counters().upcalls, upcalls);
});

test('a host is found again after its link was lost and came back as another port', (t) => {
  const node = new Node(2);
  const [first = 0, second = 0] = node.links;
  node.receive(node.lan, BROADCAST, a);
  node.receive(first, a, b);
  node.out();
  node.core.handlePortDown(first, node.now);
  node.path.closePort(first);
  node.settle();
  node.receive(node.lan, b, a);
  t.is(node.path.readMemory(second)?.length, 60, 'flooded until b is heard of');
  node.receive(second, a, b);
  node.path.readMemory(node.lan);
  node.receive(node.lan, b, a);
  t.is(node.path.portCounters(second).txFrames, 3);
});

test('a link that moves to another port keeps what is behind it, and neither floods, asks nor loses a frame', (t) => {
  const node = new Node(2);
  const [old = 0, next = 0] = node.links;
  node.path.standIn(next, old);
  node.receive(node.lan, BROADCAST, a);
  const others = Array.from({length: 500}, (_, i) => (0x020000001000 + i).toString(16).padStart(12, '0'));
  for (const mac of others) {
    node.wait(10);
    node.receive(old, a, mac);
  }
  node.out();
  const {upcalls} = node.core.counters();
  const all = (port: PortId) => {
    for (const mac of others) {
      node.receive(port, a, mac);
      node.receive(node.lan, mac, a);
    }
    return node.out();
  };
  t.deepEqual(all(next), [500, 500, 0], 'the peer sends on the new link already');
  node.path.standIn(old, next);
  node.core.handlePortReplaced(old, next, node.now);
  t.deepEqual(all(old), [500, 0, 500], 'what was on its way on the old link arrives');
  t.deepEqual(all(next), [500, 0, 500]);
  node.core.handlePortDown(old, node.now);
  node.path.closePort(old);
  node.settle();
  node.core.handleRules(node.path.dumpRules(node.sw), node.now);
  t.deepEqual(node.core.drain(), [], 'rules and table agree');
  const counters = node.core.counters();
  t.deepEqual([counters.upcalls, counters.moved, node.core.countOf(next)], [upcalls, 0, 500]);
});

test('a question that was asked as the old port is answered as the new one', (t) => {
  const node = new Node(2);
  const [old = 0, next = 0] = node.links;
  node.path.writeMemory(old, plain(BROADCAST, b));
  node.path.standIn(old, next);
  node.core.handlePortReplaced(old, next, node.now);
  node.settle();
  t.deepEqual(node.out(), [1, 0, 0]);
  t.is(node.core.lookup(0, b), next);
});

test('a host that talks is kept for hours, and one that is silent leaves with its rule', (t) => {
  const node = new Node(1);
  const [link = 0] = node.links;
  node.receive(node.lan, BROADCAST, a);
  node.receive(link, a, b);
  for (let i = 0; i < 100; i++) {
    node.wait(60_000);
    node.receive(node.lan, BROADCAST, a);
  }
  t.deepEqual(
    node.core.entries(node.now).map((entry) => entry.mac),
    [a],
  );
  t.false(node.path.dumpRules(node.sw).some((rule) => rule.mac === b));
  node.wait(AGE_MS + 2 * REVALIDATE_MS);
  t.deepEqual(node.path.dumpRules(node.sw), []);
  t.is(node.core.nextTimeout(), undefined, 'an idle switch wakes nobody');
});

test('a unicast flood ends with the answer', (t) => {
  const node = new Node(2);
  const [first = 0] = node.links;
  node.receive(node.lan, b, a);
  t.deepEqual(node.out(), [0, 1, 1]);
  node.receive(first, a, b);
  node.out();
  node.receive(node.lan, b, a);
  t.deepEqual(node.out(), [0, 1, 0]);
});

test('whatever hosts send, no frame comes back, goes from link to link or leaves twice, and rules stay what is known', (t) => {
  const mac = fc.integer({min: 1, max: 6}).map((n) => `0200000000${n.toString(16).padStart(2, '0')}`);
  const action = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({port: fc.nat(2), source: mac, destination: fc.oneof(mac, fc.constant(BROADCAST))}),
    },
    {weight: 1, arbitrary: fc.record({wait: fc.integer({min: 1, max: 400_000})})},
    {weight: 1, arbitrary: fc.constant({gap: true})},
  );
  fc.assert(
    fc.property(fc.array(action, {maxLength: 60}), (actions) => {
      const node = new Node(2);
      const ports = [node.lan, ...node.links];
      for (const one of actions) {
        if ('wait' in one) node.wait(one.wait);
        else if ('gap' in one) {
          node.core.handleGap(node.now);
          node.settle();
        } else {
          node.receive(ports[one.port] as number, one.destination, one.source);
          const out = node.out();
          t.is(out[one.port], 0);
          t.true(out.every((count) => count <= 1));
          if (one.port > 0) t.is((out[1] ?? 0) + (out[2] ?? 0), 0);
        }
        const known = new Map(node.core.entries(node.now).map((entry) => [entry.mac, entry.port]));
        for (const rule of node.path.dumpRules(node.sw)) if (rule.out > 0) t.is(known.get(rule.mac), rule.out);
        for (const [address, port] of known) {
          const rule = node.path.dumpRules(node.sw).find((each) => each.mac === address);
          t.is(rule?.out, port);
        }
      }
    }),
  );
});
