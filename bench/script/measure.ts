// SPDX-License-Identifier: MIT
// Short rounds of stage and reference in turn, and the shortest of each: what nothing disturbed, also on a busy machine.

/** What the stages are told by whoever runs them. */
export interface Bench {
  /** A clock of any origin. */
  nowNs(): number;
  /** Seconds, and the names of the stages to run; none: all. */
  readonly args: readonly string[];
  out(line: string): void;
}

/** One stage of the TypeScript half. */
export interface Stage {
  readonly name: string;
  /** Frames, or what stands for one (a rule, a file, a stanza), and bytes of a call. */
  readonly count: number;
  readonly bytes: number;
  call(): void;
}

/** Far shorter than a scheduler's time slice. */
const ROUND_NS = 150_000;
/** Rounds of a stage before the next stage's turn, each beside one of the reference. */
const TURN = 6;
/** Long enough for a compiler at run time to have done its work. */
const WARM_UP_NS = 60_000_000;

/** What was found about a stage. */
export interface Found {
  readonly stage: Stage;
  readonly bestNs: number;
  /** The reference's best beside it. */
  readonly referenceNs: number;
}

/** Measures all stages again and again, in turns, for so long. */
export function measure(stages: readonly Stage[], seconds: number, nowNs: () => number): Found[] {
  const reference = new Work(referenceCall(), nowNs);
  reference.warmUp();
  const found = stages.map((stage) => ({
    stage,
    work: new Work(() => stage.call(), nowNs),
    bestNs: Infinity,
    referenceNs: Infinity,
  }));
  for (const {work} of found) work.warmUp();
  const end = nowNs() + seconds * 1e9;
  while (nowNs() < end) {
    for (const one of found) {
      for (let round = 0; round < TURN; round++) {
        one.referenceNs = Math.min(one.referenceNs, reference.round());
        one.bestNs = Math.min(one.bestNs, one.work.round());
      }
    }
  }
  return found;
}

class Work {
  #calls = 1;

  constructor(
    readonly call: () => void,
    readonly nowNs: () => number,
  ) {}

  /** Runs it until it is as fast as it gets, and finds how many calls make a round. */
  warmUp(): void {
    const end = this.nowNs() + WARM_UP_NS;
    while (this.nowNs() < end) this.call();
    // One round may be disturbed, and would leave too few calls for all that follow.
    const bestOfFew = (): number => Math.min(...Array.from({length: 5}, () => this.round()));
    while (bestOfFew() * this.#calls < ROUND_NS) this.#calls *= 2;
  }

  /** Does one round; returns ns of a call. */
  round(): number {
    const started = this.nowNs();
    for (let i = 0; i < this.#calls; i++) this.call();
    return (this.nowNs() - started) / this.#calls;
  }
}

/** A fixed piece of work of the same kind as the stages: small strings, a Map by them, small objects, bytes and arithmetic. */
function referenceCall(): () => void {
  const bytes = Uint8Array.from({length: 256}, (_, i) => i * 7);
  const table = new Map<string, {seen: number}>();
  let sum = 0;
  return () => {
    for (let i = 0; i < 32; i++) {
      let part = '';
      for (let at = 0; at < 6; at++) part += bytes[(i * 6 + at) & 255]!.toString(16).padStart(2, '0');
      const key = `${i & 3}/${part}`;
      const entry = table.get(key);
      table.set(key, {seen: (entry?.seen ?? 0) + 1});
      sum = (Math.imul(sum ^ (bytes[i] ?? 0), 0x01000193) + (entry?.seen ?? 0)) >>> 0;
    }
  };
}
