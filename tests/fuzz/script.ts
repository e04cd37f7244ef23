// SPDX-License-Identifier: MIT
// Targets of the TypeScript half: runs the search in a worker, watches that it goes on, keeps what it found.

import {createHash} from 'node:crypto';
import {mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {Worker} from 'node:worker_threads';
import {build} from 'esbuild';
import {NOW_HEAD, type Report, type Task} from './engine.ts';
import {instrument} from './instrument.ts';
import {corpusOf, filesIn, tree, workOf, type Outcome} from './places.ts';

/** Longest input a watcher can name. */
const MAX_SHOWN = 65_536;
/** An input that takes so much processor time hangs. */
const HANG_MS = 10_000;
const LOOK_MS = 1000;
const MEMORY_MB = 512;

/** Names, in order: one for each file of tests/fuzz/targets. */
export function scriptTargets(): string[] {
  const sources = readdirSync(tree('tests/fuzz/targets')).filter((file) => file.endsWith('.ts'));
  return sources.map((file) => file.slice(0, -3)).sort();
}

/** Runs one target, then writes its corpus anew: the fewest inputs that reach all that old and new ones reach. */
export async function fuzzScript(target: string, seconds: number, seed: number): Promise<Outcome> {
  const [folder, work] = [corpusOf(target), workOf(target)];
  mkdirSync(folder, {recursive: true});
  rmSync(work, {recursive: true, force: true});
  mkdirSync(work, {recursive: true});
  const before = filesIn(folder);
  const corpus = before.map((file) => new Uint8Array(readFileSync(file)));
  const now = new SharedArrayBuffer(NOW_HEAD + MAX_SHOWN);
  const instrumented = await instrument(target);
  const report = await search({...instrumented, corpus, seconds, seed, now});
  const outcome: Outcome = {
    inputs: 0,
    seconds,
    edges: 0,
    places: instrumented.places,
    features: 0,
    added: 0,
    found: [],
  };
  if ('hangs' in report) {
    outcome.found.push(keep(`${work}/hang`, report.hangs));
    return outcome;
  }
  const {inputs, edges, features, found} = report;
  if (found) {
    outcome.found.push(keep(`${work}/broken`, found.input));
    console.log(found.text);
  }
  const names = new Set(report.corpus.map((input) => keep(`${folder}/`, input)));
  for (const file of before) if (!names.has(file)) rmSync(file, {force: true});
  const added = [...names].filter((name) => !before.includes(name)).length;
  return {...outcome, inputs, edges, features, added};
}

/** Writes an input to a file named after its hash. */
function keep(prefix: string, input: Uint8Array): string {
  const file = `${prefix}${prefix.endsWith('/') ? '' : '-'}${createHash('sha256').update(input).digest('hex').slice(0, 16)}`;
  writeFileSync(file, input);
  return file;
}

async function search(task: Task): Promise<Report | {hangs: Uint8Array}> {
  // As one script: a worker does not load TypeScript.
  const engine = await build({
    entryPoints: [tree('tests/fuzz/engine.ts')],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    logLevel: 'warning',
  });
  const worker = new Worker(engine.outputFiles[0]?.text ?? '', {
    eval: true,
    workerData: task,
    resourceLimits: {maxOldGenerationSizeMb: MEMORY_MB},
  });
  const number = new Int32Array(task.now, 0, 2);
  const current = (): Uint8Array =>
    new Uint8Array(task.now).slice(NOW_HEAD, NOW_HEAD + Math.min(MAX_SHOWN, number[1] ?? 0));
  return new Promise((resolve, reject) => {
    let last = {at: 0, cpu: process.cpuUsage()};
    const watch = setInterval(() => {
      const at = Atomics.load(number, 0);
      const {user, system} = process.cpuUsage(last.cpu);
      if (at !== last.at) last = {at, cpu: process.cpuUsage()};
      else if (at > 0 && (user + system) / 1000 > HANG_MS) finish(() => resolve({hangs: current()}));
    }, LOOK_MS);
    const finish = (tell: () => void): void => {
      clearInterval(watch);
      void worker.terminate().then(tell);
    };
    worker.once('message', (report: Report) => finish(() => resolve(report)));
    worker.once('error', (error) => {
      // Out of memory ends here too.
      console.log(`${error.message}; the last input was ${Buffer.from(current()).toString('hex')}`);
      finish(() => reject(error));
    });
  });
}
