// SPDX-License-Identifier: MIT
// Measures every stage of the frame path and of the TypeScript half beside a reference of the same run, and compares with bench/baseline.json.
//
//   npm run bench -- --quick           exit code 1 when a stage has become slow; the table says which
//   npm run bench -- --quick --save    three runs, and their middle becomes the baseline

import {execFileSync, spawnSync} from 'node:child_process';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {cpus} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {build} from 'esbuild';
import {better, middle, misfits, parseLine, slowOnes, table, TOLERANCE, type Baseline, type Measured} from './judge.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const BASELINE = join(root, 'bench/baseline.json');
const PROGRAM = join(process.env['CARGO_TARGET_DIR'] ?? join(root, 'native/target'), 'release/ipop-bench');
const SCRIPTS = join(root, 'build/bench');
/** Together with what is repeated they stay below a minute. */
const SECONDS = {native: 9, node: 8, quickjs: 8};
/** A stage that seems slow is measured again before it is called so. */
const REPEATS = 3;
const REPEAT_SECONDS = 2.5;
const SAVE_RUNS = 3;

type Group = keyof typeof SECONDS;
const GROUPS: readonly Group[] = ['native', 'node', 'quickjs'];

const COMMANDS: Readonly<Record<Group, readonly string[]>> = {
  native: [PROGRAM, 'stages'],
  node: [process.execPath, join(SCRIPTS, 'node.js')],
  quickjs: [PROGRAM, 'script', join(SCRIPTS, 'main.js')],
};

function measure(group: Group, seconds: number, names: readonly string[] = []): Measured[] {
  const [file = '', ...args] = COMMANDS[group];
  const out = execFileSync(file, [...args, `${seconds}`, ...names], {
    encoding: 'utf8',
    timeout: (seconds + 120) * 1000,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return out
    .trimEnd()
    .split('\n')
    .map((line) => parseLine(group, line));
}

/** All stages once. */
function measureAll(): Measured[] {
  return GROUPS.flatMap((group) => measure(group, SECONDS[group]));
}

/** Measures anew what seems slow; a stage that is slow is so each time. */
function repeatSlow(first: readonly Measured[], baseline: Baseline): Measured[] {
  let all = [...first];
  for (let i = 0; i < REPEATS; i++) {
    const slow = slowOnes(all, baseline).map(({name}) => name);
    for (const group of GROUPS) {
      const mine = slow.filter((name) => name.startsWith(`${group}: `)).map((name) => name.slice(group.length + 2));
      if (mine.length > 0) all = better(all, measure(group, REPEAT_SECONDS, mine));
    }
  }
  return all;
}

async function prepare(): Promise<void> {
  const cargo = ['build', '--manifest-path', join(root, 'native/Cargo.toml'), '--release', '--locked', '--quiet'];
  const {status} = spawnSync('cargo', [...cargo, '-p', 'ipop-bench'], {stdio: 'inherit'});
  if (status !== 0) {
    console.error('bench: the native half does not build: see above');
    process.exit(2);
  }
  mkdirSync(SCRIPTS, {recursive: true});
  await build({
    entryPoints: ['node', 'main'].map((name) => join(root, `bench/script/${name}.ts`)),
    outdir: SCRIPTS,
    bundle: true,
    platform: 'neutral',
    mainFields: ['module', 'main'],
    format: 'esm',
    target: 'es2023',
    define: {IPOP_VERSION: '"0"'},
    logLevel: 'warning',
  });
  // The bundles are ES modules, whatever folder they are in.
  writeFileSync(join(SCRIPTS, 'package.json'), '{"type": "module"}\n');
}

function readBaseline(): Baseline | undefined {
  try {
    return JSON.parse(readFileSync(BASELINE, 'utf8')) as Baseline;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`${BASELINE}: ${(error as Error).message}`);
  }
}

const here = {cpu: cpus()[0]?.model ?? process.arch, node: process.versions.node.split('.')[0] ?? ''};

function save(): void {
  const found = middle(Array.from({length: SAVE_RUNS}, measureAll));
  const ratios = Object.fromEntries(found.map(({name, ratio}) => [name, ratio]));
  writeFileSync(BASELINE, `${JSON.stringify({...here, ratios}, undefined, 2)}\n`);
  console.log(table(found, undefined));
  console.log(`\nsaved to ${BASELINE}`);
}

/** The exit code. */
function compare(): number {
  const baseline = readBaseline();
  if (baseline === undefined) {
    console.error('bench: there is no bench/baseline.json: npm run bench -- --quick --save makes it');
    return 1;
  }
  if (baseline.cpu !== here.cpu || baseline.node !== here.node) {
    console.log(table(measureAll(), baseline));
    console.log(
      `\nNOT JUDGED: the baseline is of '${baseline.cpu}' and Node ${baseline.node}, this is '${here.cpu}' and Node ${here.node}. ` +
        'npm run bench -- --quick --save makes one for this machine.',
    );
    return 0;
  }
  const found = repeatSlow(measureAll(), baseline);
  console.log(table(found, baseline));
  const wrong = misfits(found, baseline);
  for (const text of wrong) console.log(`\n${text}: npm run bench -- --quick --save`);
  const slow = slowOnes(found, baseline);
  const limit = `more than ${100 * TOLERANCE} % slower than the baseline`;
  console.log(
    `\n${slow.length === 0 ? 'ok: no stage is' : `FAILED: ${slow.map(({name}) => name).join('; ')}:`} ${limit}`,
  );
  return slow.length + wrong.length > 0 ? 1 : 0;
}

const options = new Set(process.argv.slice(2));
const unknown = [...options].find((option) => option !== '--quick' && option !== '--save');
if (unknown !== undefined) {
  console.error(`bench: '${unknown}' does not go with --quick; it takes --save`);
  process.exit(2);
}
await prepare();
if (options.has('--save')) save();
else process.exitCode = compare();
