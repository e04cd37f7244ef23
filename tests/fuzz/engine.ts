// SPDX-License-Identifier: MIT
// The search, in a worker: keeps each input that reaches something new, and stops at one that breaks a promise. `script.ts` watches it.

import {createRequire} from 'node:module';
import {parentPort, workerData} from 'node:worker_threads';
import {compileFunction} from 'node:vm';
import {belowFrom, mutate} from './mutate.ts';
import {seedBytes, type Target} from './target.ts';

export interface Task {
  readonly code: string;
  readonly places: number;
  readonly words: readonly string[];
  readonly corpus: readonly Uint8Array[];
  readonly seconds: number;
  readonly seed: number;
  /** How many checks there were, the length of the input of this one, and its bytes: for the one who watches. */
  readonly now: SharedArrayBuffer;
}

export interface Report {
  readonly inputs: number;
  readonly edges: number;
  readonly features: number;
  /** The fewest inputs, small ones first, that reach all that was reached. */
  readonly corpus: readonly Uint8Array[];
  readonly found: {readonly input: Uint8Array; readonly text: string} | undefined;
}

/** Before the bytes in `now`. */
export const NOW_HEAD = 8;
export const DEFAULT_MAX = 2048;
const DEFAULT_LIMIT_MS = 100;
/** Pairs of compared strings that are remembered. */
const COMPARED = 64;
/** Bytes that are worth trying to do without. */
const LEAST_CUT = 8;
/** For all inputs together. */
const SHORTEN_MS = 30_000;
/** Inputs between two looks at the clock. */
const TURN = 64;

class Search {
  readonly #task: Task;
  readonly #target: Target;
  /** Does not go round: 255 is 255 or more. */
  readonly #hits: Uint8ClampedArray;
  /** Orders of magnitude seen at each place, a bit each. */
  readonly #seen: Uint8Array;
  readonly #compared: (readonly [string, string])[] = [];
  readonly #corpus: Uint8Array[] = [];
  readonly #counter: Int32Array;
  readonly #bytes: Uint8Array;
  #inputs = 0;
  #found: Report['found'];

  constructor(task: Task) {
    this.#task = task;
    this.#hits = new Uint8ClampedArray(task.places);
    this.#seen = new Uint8Array(task.places);
    this.#counter = new Int32Array(task.now, 0, 2);
    this.#bytes = new Uint8Array(task.now, NOW_HEAD);
    const module = {exports: {} as {target: Target}};
    const load = compileFunction(task.code, ['module', 'exports', 'require', 'fuzzHits', 'fuzzCompared']);
    load(module, module.exports, createRequire(`${process.cwd()}/`), this.#hits, (a: unknown, b: unknown) =>
      this.#compare(a, b),
    );
    this.#target = module.exports.target;
  }

  async run(): Promise<Report> {
    const {task, target} = {task: this.#task, target: this.#target};
    const below = belowFrom(task.seed);
    const max = target.maxBytes ?? DEFAULT_MAX;
    for (const input of [new Uint8Array(), ...target.seeds.map(seedBytes), ...task.corpus]) await this.#try(input);
    const words = [...task.words, ...(target.words ?? [])].map((word) => Buffer.from(word));
    const pool = {inputs: this.#corpus, words, compared: this.#compared};
    const end = performance.now() + task.seconds * 1000;
    while (!this.#found && performance.now() < end) {
      for (let i = 0; i < TURN && !this.#found; i++) {
        // Late finds lead on more often than early ones.
        const recent = below(2) === 0 ? Math.min(64, this.#corpus.length) : this.#corpus.length;
        const parent = this.#corpus[this.#corpus.length - 1 - below(recent)] as Uint8Array;
        await this.#try(mutate(parent, pool, max, below));
      }
    }
    const edges = this.#seen.reduce((sum, bits) => sum + (bits > 0 ? 1 : 0), 0);
    const features = this.#seen.reduce((sum, bits) => sum + bitsOf(bits), 0);
    return {inputs: this.#inputs, edges, features, corpus: await this.#fewest(), found: this.#found};
  }

  async #try(input: Uint8Array): Promise<void> {
    this.#inputs++;
    const limit = this.#target.limitMs ?? DEFAULT_LIMIT_MS;
    let {ms: fastest, broken} = await this.#check(input);
    // The first time compiles, and any time may collect garbage: only what is slow each time is slow.
    for (let tries = 0; fastest > limit && tries < 4; tries++)
      fastest = Math.min(fastest, (await this.#check(input)).ms);
    if (fastest > limit) broken = `takes ${Math.round(fastest)} ms for ${input.length} bytes, more than ${limit}`;
    if (broken !== undefined) this.#found = {input: input.slice(), text: broken};
    else if (this.#isNew()) this.#corpus.push(input.slice());
  }

  async #check(input: Uint8Array): Promise<{ms: number; broken: string | undefined}> {
    this.#bytes.set(input.subarray(0, this.#bytes.length));
    this.#counter[1] = input.length;
    Atomics.add(this.#counter, 0, 1);
    this.#hits.fill(0);
    const start = cpuMs();
    try {
      // A copy: what keeps or changes its input must not reach the corpus.
      const checked = this.#target.check(input.slice());
      if (checked) await checked;
      return {ms: cpuMs() - start, broken: undefined};
    } catch (thrown) {
      return {ms: 0, broken: thrown instanceof Error ? `${thrown.stack}` : `${thrown}`};
    }
  }

  #isNew(): boolean {
    let isNew = false;
    for (let place = 0; place < this.#hits.length; place++) {
      const hits = this.#hits[place] as number;
      if (hits === 0) continue;
      const bit = bucket(hits);
      if (((this.#seen[place] as number) & bit) === 0) {
        this.#seen[place] = (this.#seen[place] as number) | bit;
        isNew = true;
      }
    }
    return isNew;
  }

  async #fewest(): Promise<Uint8Array[]> {
    const seen = new Uint8Array(this.#seen.length);
    const fewest: Uint8Array[] = [];
    const end = performance.now() + SHORTEN_MS;
    for (const input of [...this.#corpus].sort((a, b) => a.length - b.length)) {
      const wanted = (await this.#bits(input))?.map((bits, place) => bits & ~(seen[place] as number));
      if (!wanted?.some((bits) => bits > 0)) continue;
      const short = performance.now() < end ? await this.#shortest(input, wanted) : input;
      (await this.#bits(short))?.forEach((bits, place) => (seen[place] = (seen[place] as number) | bits));
      fewest.push(short);
    }
    return fewest;
  }

  /** The input without the pieces that it does not need to reach what is wanted. */
  async #shortest(input: Uint8Array, wanted: Uint8Array): Promise<Uint8Array> {
    let short = input;
    for (let size = input.length >> 1; size >= LEAST_CUT; size >>= 1) {
      for (let at = 0; at < short.length;) {
        const cut = Uint8Array.from([...short.subarray(0, at), ...short.subarray(at + size)]);
        const bits = await this.#bits(cut);
        if (bits && wanted.every((one, place) => (one & ~(bits[place] as number)) === 0)) short = cut;
        else at += size;
      }
    }
    return short;
  }

  /** What an input reaches: for each place the bit of its hits. Undefined when it breaks a promise. */
  async #bits(input: Uint8Array): Promise<Uint8Array | undefined> {
    if ((await this.#check(input)).broken !== undefined) return undefined;
    return Uint8Array.from(this.#hits, (hits) => (hits > 0 ? bucket(hits) : 0));
  }

  #compare(a: unknown, b: unknown): boolean {
    const equal = a === b;
    if (!equal && typeof a === 'string' && typeof b === 'string' && a.length < 200 && b.length < 200) {
      this.#compared[this.#inputs % COMPARED] = [a, b];
    }
    return equal;
  }
}

/** Processor time, so that a busy machine makes nothing look slow. */
function cpuMs(): number {
  const {user, system} = process.cpuUsage();
  return (user + system) / 1000;
}

/** One bit: 1, 2, 3, 4-7, 8-15, 16-31, 32-127, more. */
function bucket(hits: number): number {
  if (hits < 4) return 1 << (hits - 1);
  if (hits < 32) return 1 << (32 - Math.clz32(hits));
  return hits < 128 ? 64 : 128;
}

function bitsOf(bits: number): number {
  let count = 0;
  for (let rest = bits; rest > 0; rest &= rest - 1) count++;
  return count;
}

if (parentPort) void new Search(workerData as Task).run().then((report) => parentPort?.postMessage(report));
