// SPDX-License-Identifier: MIT
import test from 'ava';
import {MovePlan, type MoveReason} from '../../../src/tincan/move-plan.ts';

const MOVED: MoveReason = {code: 'peer-moved', text: 'it moved'};

test('a link that is told to move again and again does so less and less often, and soon again after a quiet time', (t) => {
  const plan = new MovePlan(true, () => 0);
  plan.settle(false, false, 0);
  let now = 0;
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    plan.wish(MOVED, 0, now);
    const due = plan.dueAt ?? Infinity;
    waits.push((due - now) / 1000);
    now = due;
    plan.begin();
    plan.settle(false, true, now);
  }
  t.deepEqual(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
  now += 700_000;
  plan.wish(MOVED, 0, now);
  t.is(plan.dueAt, now);
  plan.settle(false, true, now);
  plan.wish(MOVED, 0, now);
  t.is(plan.dueAt, now + 5_000);
});

test('a wish ends after a minute; what remains is the relay', (t) => {
  const plan = new MovePlan(true, () => 0);
  plan.settle(true, false, 0);
  t.is(plan.dueAt, 30_000);
  plan.wish(MOVED, 0, 10_000);
  t.deepEqual([plan.dueAt, plan.reason(10_000)?.code], [10_000, 'peer-moved']);
  for (let now = 10_000; now < 70_000; now += 10_000) {
    plan.begin();
    plan.fail(now);
    t.true((plan.dueAt ?? 0) - now <= 4_000);
  }
  plan.begin();
  plan.fail(70_000);
  t.deepEqual([plan.dueAt, plan.reason(70_000)?.code], [130_000, 'relay']);
});

test('what is no reason any more is no try', (t) => {
  const plan = new MovePlan(false, () => 0);
  plan.settle(true, false, 0);
  t.is(plan.dueAt, 40_000, 'the larger id leaves the other its turn');
  plan.foundDirect();
  t.is(plan.reason(40_000), undefined);
  plan.begin();
  plan.fail(40_000);
  t.is(plan.dueAt, undefined);
});
