// SPDX-License-Identifier: MIT
// The host on the real txiki.js and the real library: records, timers, faults and signals as interface Host promises them.

import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {createInterface} from 'node:readline/promises';
import test from 'ava';
import {build} from 'esbuild';
import {run, type RunResult} from '../lab/exec.ts';
import {LIBRARY} from '../lab/ipopd.ts';
import {prepareTjs, TJS} from './prepare.ts';

/** Nearly all that the queue holds. */
const RECORDS = 4000;

const folder = mkdtempSync(join(tmpdir(), 'ipop-runtime-'));
const program = join(folder, 'program.js');
test.before(async () => {
  prepareTjs();
  await build({
    entryPoints: [fileURLToPath(new URL('host-program.ts', import.meta.url))],
    bundle: true,
    platform: 'neutral',
    format: 'esm',
    target: 'es2023',
    external: ['tjs:*'],
    outfile: program,
    logLevel: 'warning',
  });
});
test.after.always(() => rmSync(folder, {recursive: true, force: true}));

const argv = (...words: readonly string[]): string[] => [
  '/usr/bin/env',
  `IPOP_LIBRARY=${LIBRARY}`,
  TJS,
  'run',
  program,
  ...words,
];

async function scene(...words: readonly string[]): Promise<RunResult> {
  return await run(argv(...words), {timeoutMs: 60_000});
}

test.serial(
  'a flood of records comes whole, in order, each with its promise jobs, and timers come in between',
  async (t) => {
    const {code, stdout, stderr} = await scene('records', `${RECORDS}`);
    t.is(stderr, '');
    t.is(code, 0);
    const seen = JSON.parse(stdout) as Record<string, number>;
    t.log(`${RECORDS} records in ${seen['elapsedMs']?.toFixed(0)} ms, ${seen['timers']} timers meanwhile`);
    t.is(seen['records'], RECORDS);
    for (const fault of ['gaps', 'disorder', 'mixed', 'recordsDropped']) t.is(seen[fault], 0, fault);
    t.true(seen['timers']! > 1, `${seen['timers']} timers`);
  },
);

test.serial('no timer is early, also when it was set late in a long turn', async (t) => {
  const {code, stdout, stderr} = await scene('timers');
  t.is(stderr, '');
  t.is(code, 0);
  const seen = JSON.parse(stdout) as Record<string, number>;
  t.deepEqual(Object.keys(seen), ['late', 'inside']);
  t.true(seen['late']! >= 40 && seen['inside']! >= 20, stdout);
});

test.serial('a timer may be set anew by promise jobs while it fires', async (t) => {
  const {code, stdout, stderr} = await scene('resets', '300');
  t.is(stderr, '');
  t.is(code, 0);
  const {records, fired} = JSON.parse(stdout) as Record<string, number>;
  t.log(`fired ${fired} times between ${records} records`);
  t.is(records, 300);
});

test.serial('what is thrown or rejected and not caught is logged once, and the program goes on', async (t) => {
  const {code, stdout, stderr} = await scene('faults');
  t.is(code, 5);
  t.is(stdout, 'still here\n');
  const lines = stderr.split('\n').filter((line) => !line.startsWith('    at '));
  t.deepEqual(lines, [
    'ipopd: uncaught exception: Error: thrown',
    'caught',
    'ipopd: uncaught rejection: Error: rejected',
    '',
  ]);
});

test.serial('signals come by their numbers, and SIGTERM ends it as the program says', async (t) => {
  const [file = '', ...args] = argv('signals');
  const child = spawn(file, args, {stdio: ['ignore', 'pipe', 'inherit']});
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const lines = createInterface({input: child.stdout})[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await lines.next()).value as string;
  t.is(await next(), 'ready');
  for (const [name, number] of [
    ['SIGHUP', 1],
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    child.kill(name);
    t.is(await next(), `signal ${number}`);
  }
  t.deepEqual(await ended, [0, null]);
});
