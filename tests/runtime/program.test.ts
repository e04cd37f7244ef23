// SPDX-License-Identifier: MIT
// The bundle as a program on stock txiki.js: start, output and exit codes are ipopd's and ipop's.

import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {run, type RunResult} from '../lab/exec.ts';
import {BUNDLE, IPOP, IPOPD} from '../lab/ipopd.ts';
import {lowerNeeds, ORIGINAL, prepareTjs, TJS} from './prepare.ts';

const folder = mkdtempSync(join(tmpdir(), 'ipop-runtime-'));
test.before(() => void prepareTjs());
test.after.always(() => rmSync(folder, {recursive: true, force: true}));

function tjs(...words: readonly string[]): Promise<RunResult> {
  return run([TJS, 'run', BUNDLE, ...words]);
}

test.serial('the binary is the package’s but for the four entries that ask for a newer glibc', (t) => {
  const [before, after] = [readFileSync(ORIGINAL), readFileSync(TJS)];
  t.is(before.length, after.length);
  let changed = 0;
  for (let i = 0; i < before.length; i++) if (before[i] !== after[i]) changed++;
  // Two hashes and two name offsets of versions, two name offsets of symbols: 4 bytes each at most.
  t.true(changed > 0 && changed <= 6 * 4, `${changed} bytes`);
  t.deepEqual(lowerNeeds(after), [], 'nothing is left to change');
});

test.serial('version and help are those of ipopd and ipop, byte for byte', async (t) => {
  for (const [program, words] of [
    [IPOPD, ['--version']],
    [IPOPD, ['--help']],
    [IPOP, ['--version']],
    [IPOP, ['help']],
    [IPOP, ['stauts']],
    [IPOPD, ['--bad']],
  ] as const) {
    const ours = await run([program, ...words]);
    const theirs = await tjs(...(program === IPOPD ? ['daemon'] : []), ...words);
    t.deepEqual(theirs, ours, words.join());
    t.true(ours.stdout !== '' || ours.stderr !== '');
  }
});

test.serial('a wrong configuration is said and ends with 78, as does one that cannot be read', async (t) => {
  const file = join(folder, 'bad');
  writeFileSync(file, `config ipop 'main'\n\toption enabled 'perhaps'\n`);
  for (const path of [file, join(folder, 'none')]) {
    const {code, stdout, stderr} = await tjs('daemon', '--config', path);
    t.is(code, 78, stderr);
    t.is(stdout, '');
    t.deepEqual((await run([IPOPD, '--config', path])).stderr, stderr);
  }
});

test.serial('status without a daemon says so', async (t) => {
  const {code, stderr} = await tjs('status', '--socket', join(folder, 'none.sock'));
  t.is(code, 1);
  t.regex(stderr, /the daemon is not running \(no answer at .*none\.sock\); start ipopd/);
});

test.serial('a library that is missing, or another, ends the start with 70 and its name', async (t) => {
  const other = join(folder, 'other.so');
  writeFileSync(other, 'no library');
  for (const path of [join(folder, 'none.so'), other]) {
    const {code, stderr} = await run(['/usr/bin/env', `IPOP_LIBRARY=${path}`, TJS, 'run', BUNDLE, '--version']);
    t.is(code, 70);
    t.regex(stderr, new RegExp(`^cannot start on txiki.js 24\\.12\\.0: .*${path}`));
  }
});

test.serial('output that nobody reads does not end it by a signal', async (t) => {
  // `true` has ended long before the runtime has started.
  const {stderr} = await run(['/bin/sh', '-c', `{ "$0" run "$1" help; echo "ended $?" >&2; } | true`, TJS, BUNDLE]);
  t.is(stderr, 'ended 0\n');
});
