// SPDX-License-Identifier: MIT
// The judge of the churn tests can say no.

import test from 'ava';
import {growth} from './growth.ts';

const readings = (y: (x: number) => number) => Array.from({length: 40}, (_, i) => ({x: 250 * i, y: y(250 * i)}));
/** Up and down by 4 MB, as pages come and go. */
const noise = (x: number): number => 4096 * Math.sin(x / 300);

test('a leak of a kilobyte a link shows through noise of megabytes', (t) => {
  const {slope, gain} = growth(readings((x) => 100_000 + x + noise(x)));
  t.true(slope > 0.7 && slope < 1.3, `${slope}`);
  t.true(gain > 5_000);
});

test('noise without a leak is no growth, and neither is a warm-up', (t) => {
  const {gain} = growth(readings((x) => 100_000 + 30_000 * Math.min(1, x / 2_400) + noise(x)));
  t.true(Math.abs(gain) < 3_000, `${gain}`);
});

test('too few readings are refused', (t) => {
  t.throws(() => growth([{x: 1, y: 1}]), {message: /too few/});
});
