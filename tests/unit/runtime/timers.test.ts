// SPDX-License-Identifier: MIT
import test from 'ava';
import {Timers} from '../../../src/runtime/timers.ts';

/** A host with one timer and a clock that only moves when told. */
class FakeHost {
  now = 1000;
  #due: {at: number; callback: () => void} | undefined;

  nowMs(): number {
    return this.now;
  }

  setTimer(delayMs: number | undefined, callback: () => void): void {
    this.#due = delayMs === undefined ? undefined : {at: this.now + delayMs, callback};
  }

  get armed(): boolean {
    return this.#due !== undefined;
  }

  /** Goes to `at`, one turn for each firing; returns the number of turns. */
  goTo(at: number): number {
    let turns = 0;
    while (this.#due !== undefined && this.#due.at <= at) {
      const {callback, at: due} = this.#due;
      this.#due = undefined;
      this.now = Math.max(this.now, due);
      turns++;
      callback();
    }
    this.now = at;
    return turns;
  }
}

function setUp(): {host: FakeHost; timers: Timers; fired: string[]; note: (name: string) => () => void} {
  const host = new FakeHost();
  const fired: string[] = [];
  return {host, timers: new Timers(host), fired, note: (name) => () => fired.push(`${name}@${host.now}`)};
}

test('timers fire in the order of their times, those of one time as they were set, one a turn', (t) => {
  const {host, timers, fired, note} = setUp();
  timers.after(30, note('c'));
  timers.after(10, note('a'));
  timers.after(10, note('b'));
  t.is(host.goTo(1010), 2);
  t.is(host.goTo(1040), 1);
  t.deepEqual(fired, ['a@1010', 'b@1010', 'c@1030']);
  t.false(host.armed);
});

test('a cancelled timer does not fire, and cancelling it again harms no other', (t) => {
  const {host, timers, fired, note} = setUp();
  const cancel = timers.after(10, note('a'));
  cancel();
  timers.after(20, note('b'));
  cancel();
  host.goTo(2000);
  t.deepEqual(fired, ['b@1020']);
});

test('a callback may cancel itself and others, and set new timers', (t) => {
  const {host, timers, fired, note} = setUp();
  const cancelOther = timers.after(10, note('other'));
  const cancelSelf = timers.after(5, () => {
    cancelSelf();
    cancelOther();
    timers.after(0, note('new'));
  });
  host.goTo(2000);
  t.deepEqual(fired, ['new@1005']);
});

test('an interval repeats until it is cleared, also by itself', (t) => {
  const {host, timers, fired} = setUp();
  const id = timers.set(10, 10, () => {
    fired.push(`${host.now}`);
    if (fired.length === 3) timers.clear(id);
  });
  host.goTo(2000);
  t.deepEqual(fired, ['1010', '1020', '1030']);
});

test('a callback that throws does not stop the others', (t) => {
  const {host, timers, fired, note} = setUp();
  timers.after(1, () => {
    throw new Error('bad');
  });
  timers.after(2, note('next'));
  t.throws(() => host.goTo(1001), {message: 'bad'});
  host.goTo(1010);
  t.deepEqual(fired, ['next@1002']);
});

test('the number of timers is bounded', (t) => {
  const {timers} = setUp();
  for (let i = 0; i < 1024; i++) timers.after(10, () => {});
  t.throws(() => timers.after(10, () => {}), {instanceOf: RangeError});
});
