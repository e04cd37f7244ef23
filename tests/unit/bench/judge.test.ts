// SPDX-License-Identifier: MIT
import test from 'ava';
import {better, middle, misfits, parseLine, slowOnes, table, type Measured} from '../../../bench/judge.ts';

const stage = (name: string, ratio: number): Measured => ({name, nsPerCall: 100 * ratio, count: 2, bytes: 50, ratio});
const baseline = {cpu: 'a CPU', node: '20', ratios: {seal: 1, open: 2}};

test('a line of a program is read, and anything else refused', (t) => {
  t.deepEqual(parseLine('native', 'seal\t250.5\t1\t1444\t0.98'), {
    name: 'native: seal',
    nsPerCall: 250.5,
    count: 1,
    bytes: 1444,
    ratio: 0.98,
  });
  for (const line of ['', 'seal', 'seal\t1\t1\t1', 'seal\t1\t1\t1\tinf', 'seal\t1\t1\t1\tNaN', 'seal\t1\t0\t1\t1']) {
    t.throws(() => parseLine('native', line), {message: /no measurement/}, line);
  }
});

test('a stage is slow from 15 % over the baseline on', (t) => {
  t.deepEqual(slowOnes([stage('seal', 1.14), stage('open', 2.29)], baseline), []);
  t.deepEqual(slowOnes([stage('seal', 1.16), stage('open', 2.31)], baseline), [
    stage('seal', 1.16),
    stage('open', 2.31),
  ]);
});

test('a stage without a baseline is not slow, but told of, and so is a baseline without its stage', (t) => {
  const found = [stage('seal', 1), stage('join', 9)];
  t.deepEqual(slowOnes(found, baseline), []);
  t.deepEqual(misfits(found, baseline), ['join: not in the baseline', 'open: in the baseline, but no stage any more']);
  t.deepEqual(misfits([stage('seal', 1), stage('open', 2)], baseline), []);
});

test('of two measurements the better one counts', (t) => {
  const first = [stage('seal', 1.5), stage('open', 2), stage('join', 3)];
  t.deepEqual(better(first, [stage('seal', 1.1), stage('open', 2.5)]), [
    stage('seal', 1.1),
    stage('open', 2),
    stage('join', 3),
  ]);
});

test('of several runs the one in the middle is kept, for each stage its own', (t) => {
  const runs = [3, 1, 2].map((n) => [stage('seal', n), stage('open', 10 - n)]);
  t.deepEqual(middle(runs), [stage('seal', 2), stage('open', 8)]);
});

test('the table has ns for a frame and a byte, the change, and says what is slow', (t) => {
  t.is(
    table([stage('seal', 1.2), stage('open', 1.9)], baseline),
    [
      'stage  ns/frame  ns/byte   ratio  baseline  change',
      'seal       60.0    2.400  1.2000    1.0000   +20 %  SLOW',
      'open       95.0    3.800  1.9000    2.0000    -5 %',
    ].join('\n'),
  );
});
