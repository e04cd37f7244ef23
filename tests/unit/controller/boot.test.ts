// SPDX-License-Identifier: MIT
import test from 'ava';
import {nextBoot} from '../../../src/controller/boot.ts';

test('a boot number is one more than the stored one when the clock is behind', (t) => {
  t.is(nextBoot('1800000000\n', 100), 1_800_000_001);
});

test('a boot number follows the wall clock when that is ahead', (t) => {
  t.is(nextBoot('5', 1_700_000_000.9), 1_700_000_000);
});

test('a missing, damaged or absurd file still gives a boot number above zero', (t) => {
  t.is(nextBoot(undefined, 0), 1);
  t.is(nextBoot('x'.repeat(10), Number.NaN), 1);
  t.is(nextBoot('9999999999999999', 7), 7);
});

test('a boot number never has more digits than peers take', (t) => {
  t.is(nextBoot('999999999999998', 7), 999_999_999_999_999);
  t.is(nextBoot('999999999999999', 7), 7);
  t.is(nextBoot(undefined, 1e15), 1);
});
