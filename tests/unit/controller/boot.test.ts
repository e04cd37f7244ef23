// SPDX-License-Identifier: MIT
import test from 'ava';
import {utf8} from '../../../src/base/bytes.ts';
import {nextBoot, storeBoot, takeBoot} from '../../../src/controller/boot.ts';
import {NativeError} from '../../../src/native/datapath.ts';

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

test('a number that cannot be stored is taken all the same, with the cause', (t) => {
  const full = () => {
    throw new NativeError('write', 28, "cannot write '/x/boot': No space left on device");
  };
  const files = {readFile: () => utf8('41\n'), writeFile: full};
  t.deepEqual(takeBoot(files, '/x/boot', 7), {boot: 42, problem: "cannot write '/x/boot': No space left on device"});
  t.is(storeBoot(files, '/x/boot', 42), "cannot write '/x/boot': No space left on device");
});

test('a first start has no file to read and no problem; one that cannot be read is told', (t) => {
  const written: string[] = [];
  const failing = (errno: number) => ({
    readFile: () => {
      throw new NativeError('read', errno, 'cannot read');
    },
    writeFile: (path: string) => void written.push(path),
  });
  t.deepEqual(takeBoot(failing(2), '/x/boot', 7), {boot: 7, problem: undefined});
  t.deepEqual(takeBoot(failing(5), '/x/boot', 7), {boot: 7, problem: 'cannot read'});
  t.deepEqual(written, ['/x/boot', '/x/boot']);
});
