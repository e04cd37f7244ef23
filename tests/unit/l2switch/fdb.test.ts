// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {AGE_MS, Fdb, MAX_MOVES, MOVE_WINDOW_MS} from '../../../src/l2switch/fdb.ts';

const mac = (n: number): string => (0x020000000000 + n).toString(16).padStart(12, '0');

test('an address is found behind the port it was learned at, in its VLAN only', (t) => {
  const fdb = new Fdb();
  t.is(fdb.learn(0, mac(1), 7, 0).outcome, 'new');
  t.is(fdb.lookup(0, mac(1)), 7);
  t.is(fdb.lookup(5, mac(1)), undefined);
});

test('an entry leaves 300 s after its last frame, not after its first', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 7, 0);
  t.is(fdb.learn(0, mac(1), 7, 1000).outcome, 'same');
  t.deepEqual(fdb.expire(AGE_MS), []);
  t.deepEqual(
    fdb.expire(AGE_MS + 1000).map((entry) => entry.mac),
    [mac(1)],
  );
  t.is(fdb.size, 0);
  t.is(fdb.counters.expired, 1);
});

test('news older than what is known does not make an entry older', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 7, 5000);
  fdb.seen(0, mac(1), 2000);
  t.is(fdb.entries()[0]?.seenAt, 5000);
  fdb.seen(0, mac(1), 6000);
  t.is(fdb.entries()[0]?.seenAt, 6000);
});

test('when the table is full, the fullest port gives up its least recently used entry', (t) => {
  const fdb = new Fdb(4);
  fdb.learn(0, mac(1), 1, 0);
  fdb.learn(0, mac(2), 2, 1);
  fdb.learn(0, mac(3), 2, 2);
  fdb.learn(0, mac(4), 2, 3);
  fdb.learn(0, mac(2), 2, 4);
  const learned = fdb.learn(0, mac(5), 2, 5);
  t.is(learned.evicted?.mac, mac(3));
  t.is(fdb.lookup(0, mac(1)), 1);
  t.is(fdb.size, 4);
  t.is(fdb.counters.evicted, 1);
});

test('a port that floods addresses cannot push out those of other ports', (t) => {
  const fdb = new Fdb(64);
  for (let i = 0; i < 20; i++) fdb.learn(0, mac(i), 1, i);
  for (let i = 0; i < 1000; i++) fdb.learn(0, mac(10_000 + i), 2, 100 + i);
  t.is(fdb.countOf(1), 20);
  t.is(fdb.countOf(2), 44);
});

test('forgetting a port takes all its entries and no others', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 1, 0);
  fdb.learn(0, mac(2), 2, 0);
  fdb.learn(3, mac(1), 1, 0);
  t.is(fdb.forgetPort(1).length, 2);
  t.is(fdb.size, 1);
  t.is(fdb.countOf(1), 0);
});

test('an address that moves is found at its new port', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 1, 0);
  t.is(fdb.learn(0, mac(1), 2, 1).outcome, 'moved');
  t.is(fdb.lookup(0, mac(1)), 2);
  t.is(fdb.countOf(1), 0);
  t.is(fdb.counters.moved, 1);
});

test('an address that moves over ten times in ten seconds stays where it was for ten seconds', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 0, 0);
  for (let i = 1; i <= MAX_MOVES; i++) t.is(fdb.learn(0, mac(1), i % 2, i).outcome, 'moved');
  const at = MAX_MOVES + 1;
  t.is(fdb.learn(0, mac(1), 1, at).outcome, 'pinned');
  t.is(fdb.lookup(0, mac(1)), 0);
  t.true(fdb.isMoving(0, mac(1), 1, at));
  t.false(fdb.isMoving(0, mac(1), 0, at));
  t.is(fdb.learn(0, mac(1), 1, at + MOVE_WINDOW_MS - 1).outcome, 'pinned');
  t.is(fdb.learn(0, mac(1), 1, at + MOVE_WINDOW_MS).outcome, 'moved');
});

test('ten moves spread over minutes are a roaming host, not a loop', (t) => {
  const fdb = new Fdb();
  fdb.learn(0, mac(1), 0, 0);
  for (let i = 1; i <= 30; i++) t.is(fdb.learn(0, mac(1), i % 2, i * 5000).outcome, 'moved');
});

test('whatever happens, the table stays bounded and the counts by port add up', (t) => {
  const action = fc.record({
    mac: fc.integer({min: 0, max: 30}),
    port: fc.integer({min: 1, max: 4}),
    kind: fc.constantFrom('learn', 'learn', 'learn', 'forget', 'expire'),
    wait: fc.integer({min: 0, max: 100_000}),
  });
  fc.assert(
    fc.property(fc.array(action, {maxLength: 200}), (actions) => {
      const fdb = new Fdb(8);
      let now = 0;
      for (const {mac: n, port, kind, wait} of actions) {
        now += wait;
        if (kind === 'learn') fdb.learn(0, mac(n), port, now);
        else if (kind === 'forget') fdb.forgetPort(port);
        else fdb.expire(now);
        const counts = [1, 2, 3, 4].map((each) => fdb.countOf(each));
        t.true(fdb.size <= 8);
        t.is(
          counts.reduce((sum, count) => sum + count, 0),
          fdb.size,
        );
        t.is(fdb.entries().length, fdb.size);
        for (const entry of fdb.entries()) t.is(fdb.lookup(0, entry.mac), entry.port);
      }
    }),
    {numRuns: 50},
  );
});
