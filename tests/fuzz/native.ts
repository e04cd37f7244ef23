// SPDX-License-Identifier: MIT
// Native targets: libFuzzer programs, built by stable rustc with LLVM's coverage pass.

import {spawn, spawnSync} from 'node:child_process';
import {copyFileSync, existsSync, mkdirSync, readdirSync, rmSync} from 'node:fs';
import {createInterface} from 'node:readline';
import {corpusOf, filesIn, nativePrefix, tree, workOf, type Outcome} from './places.ts';

/** What cargo-fuzz passes to rustc: counters at each edge, and the operands of comparisons. */
const FLAGS = [
  '-Cpasses=sancov-module',
  ...['level=4', 'inline-8bit-counters', 'pc-table', 'trace-compares'].map(
    (option) => `-Cllvm-args=-sanitizer-coverage-${option}`,
  ),
].join(' ');
const MAX_BYTES = 1024;
/** Of one input; the largest real ones take a millisecond. */
const TIMEOUT_SEC = 5;
const MEMORY_MB = 1024;

/** Names with their prefix, in order: one for each file of native/fuzz/src/bin. */
export function nativeTargets(): string[] {
  const sources = readdirSync(tree('native/fuzz/src/bin')).filter((file) => file.endsWith('.rs'));
  return sources.map((file) => `${nativePrefix}${file.slice(0, -3)}`).sort();
}

/** Builds all native targets; throws when one does not compile. Returns their folder. */
export function buildNative(): string {
  const {stdout: version} = spawnSync('rustc', ['-vV'], {encoding: 'utf8'});
  // With a triple, build scripts and macros are compiled without the flags.
  const triple = /^host: (.*)$/m.exec(version ?? '')?.[1];
  if (!triple) throw new Error('rustc does not run: see CONTRIBUTING.md for what is needed');
  const folder = process.env['CARGO_TARGET_DIR'] ?? tree('build/native-fuzz');
  const cargo = ['build', '--locked', '--release', '--features', 'libfuzzer', '--bins', '--target', triple];
  const {status} = spawnSync('cargo', [...cargo, '--manifest-path', tree('native/fuzz/Cargo.toml')], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: {...process.env, RUSTFLAGS: FLAGS, CARGO_TARGET_DIR: folder},
  });
  if (status !== 0) throw new Error(`cargo build of the targets ended with ${status}`);
  return `${folder}/${triple}/release`;
}

/** Runs one target, then writes its corpus anew: a few inputs that reach all that old and new ones reach. */
export async function fuzzNative(target: string, seconds: number, programs: string): Promise<Outcome> {
  const [program, corpus, work] = [
    `${programs}/${target.slice(nativePrefix.length)}`,
    corpusOf(target),
    workOf(target),
  ];
  const dictionary = tree(`tests/fuzz/dictionaries/${target}`);
  mkdirSync(corpus, {recursive: true});
  rmSync(work, {recursive: true, force: true});
  for (const folder of ['new', 'kept']) mkdirSync(`${work}/${folder}`, {recursive: true});
  const common = [`-max_len=${MAX_BYTES}`, `-rss_limit_mb=${MEMORY_MB}`, `-timeout=${TIMEOUT_SEC}`];
  const outcome: Outcome = {inputs: 0, seconds, edges: 0, places: 0, features: 0, added: 0, found: []};
  const run = [`-max_total_time=${seconds}`, '-print_final_stats=1', `-artifact_prefix=${work}/`, ...common];
  if (existsSync(dictionary)) run.push(`-dict=${dictionary}`);
  let tail: string[] = [];
  const code = await lines(program, [...run, `${work}/new`, corpus], (line) => {
    const [, edges, features] = /cov: (\d+) ft: (\d+)/.exec(line) ?? [];
    if (edges) [outcome.edges, outcome.features] = [Number(edges), Number(features)];
    const [, inputs] = /number_of_executed_units: *(\d+)/.exec(line) ?? [];
    if (inputs) outcome.inputs = Number(inputs);
    tail = [...tail, line].slice(-60);
  });
  outcome.found = readdirSync(work)
    .filter((file) => /^(crash|timeout|oom|leak)-/.test(file))
    .map((file) => `${work}/${file}`);
  if (code !== 0) {
    console.log(tail.join('\n'));
    if (outcome.found.length === 0) outcome.found.push(`${target} ended with exit code ${code}`);
    // The corpus is made anew by a program that gets through it.
    return outcome;
  }
  const before = new Set(filesIn(corpus));
  await lines(program, ['-set_cover_merge=1', ...common, `${work}/kept`, corpus, `${work}/new`], () => undefined);
  const kept = filesIn(`${work}/kept`).map((file) => [file, file.replace(`${work}/kept`, corpus)] as const);
  // Nothing is kept when the merge itself failed.
  if (kept.length > 0) for (const file of before) rmSync(file, {force: true});
  for (const [file, target] of kept) copyFileSync(file, target);
  outcome.added = kept.filter(([, file]) => !before.has(file)).length;
  return outcome;
}

async function lines(program: string, args: string[], each: (line: string) => void): Promise<number> {
  const child = spawn('nice', [program, ...args], {stdio: ['ignore', 'ignore', 'pipe']});
  createInterface({input: child.stderr}).on('line', each);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}
