// SPDX-License-Identifier: MIT
// A WAN between two namespaces: delay, jitter, loss, bursts, reordering, duplication, a bottleneck with its queue, each direction for itself.
//
//   [ router ] wan ------ near [ wan of site n ] far ------ wn [ internet ]
//                        up: near to far, down: far to near
//
// The program tests/lab/wan (Rust) forwards the frames, in a namespace of its own.

import {execFileSync} from 'node:child_process';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {connect, Netns} from './netns.ts';
import type {Lab} from './lab.ts';
import type {Proc} from './proc.ts';

const TREE = fileURLToPath(new URL('../..', import.meta.url));
const TARGET = join(TREE, 'build/lab-wan');
const BUILD_MS = 220_000;
const ANSWER_MS = 5_000;
/** A bottleneck whose queue is not given holds so much: the buffer of a decent access line. */
const QUEUE_MS = 50;
/** But at least two full frames. */
const LEAST_QUEUE = 2 * 1514;

/** What one direction does to frames. What is left out is not done. */
export interface Impairment {
  /** One way, after the bottleneck. */
  readonly delayMs?: number;
  /** The delay wanders between delayMs - jitterMs and delayMs + jitterMs; order is kept. At most delayMs. */
  readonly jitterMs?: number;
  /** Probability of independent loss, 0 to 1. */
  readonly loss?: number;
  /** Losses in bursts. */
  readonly burst?: GilbertElliott;
  /** This share of the frames takes `byMs` longer; those behind overtake them. */
  readonly reorder?: {readonly share: number; readonly byMs: number};
  /** This share of the frames arrives twice. */
  readonly duplicate?: number;
  /** Bottleneck, counted in whole Ethernet frames without their checksum. */
  readonly rateMbps?: number;
  /** Bytes that may wait before the bottleneck (drop-tail); default: 50 ms of the rate. */
  readonly queueBytes?: number;
}

/** Gilbert-Elliott, one step of the chain a frame; see `bursts`. */
export interface GilbertElliott {
  /** Probability to go from good to bad, and from bad to good. */
  readonly enter: number;
  readonly leave: number;
  /** Probability of loss in the bad phase (default 1) and in the good one (default 0). */
  readonly lossBad?: number;
  readonly lossGood?: number;
}

export interface WanOptions extends Impairment {
  /** From the site to the internet: these instead of what is said for both. */
  readonly up?: Impairment;
  /** From the internet to the site. */
  readonly down?: Impairment;
  /** Repeats the same losses for the same frames; default 1. */
  readonly seed?: number;
}

/** Why a frame was dropped. The first three are the WAN's doing, the others its program's failure. */
export type WanDrop = 'loss' | 'burst' | 'queue' | 'underWay' | 'oversize' | 'receive' | 'send';

/** Frames of one direction. arrived + duplicated = delivered + underWay + all drops. */
export interface WanCounters {
  readonly arrived: number;
  readonly arrivedBytes: number;
  readonly delivered: number;
  readonly deliveredBytes: number;
  readonly underWay: number;
  readonly duplicated: number;
  readonly reordered: number;
  /** Left more than 0.5 ms after their time; the worst. */
  readonly late: number;
  readonly lateMaxUs: number;
  readonly drops: Readonly<Record<WanDrop, number>>;
}

/** Burst losses in the words of a measurement: this share of all frames is lost, in runs of so many on average. */
export function bursts(share: number, meanFrames: number): GilbertElliott {
  if (!(share > 0 && share < 1 && meanFrames >= 1))
    throw new Error(
      `bursts(${share}, ${meanFrames}): a share between 0 and 1, and runs of 1 frame or more are wanted.`,
    );
  const leave = 1 / meanFrames;
  return {enter: (leave * share) / (1 - share), leave};
}

/** Builds the program (quick when nothing changed) and returns its path. */
export function buildWan(): string {
  const manifest = join(TREE, 'tests/lab/wan/Cargo.toml');
  const args = ['build', '--release', '--quiet', '--locked', '--manifest-path', manifest, '--target-dir', TARGET];
  execFileSync('cargo', args, {timeout: BUILD_MS, stdio: ['ignore', 'inherit', 'inherit']});
  return join(TARGET, 'release/lab-wan');
}

export class Wan {
  readonly #ns: Netns;
  #options: WanOptions;
  #proc: Proc | undefined;
  #asked = 0;

  /** Its namespace, and a veth pair to each side, like `connect`. Nothing crosses until `start`. */
  constructor(lab: Lab, label: string, [near, nearDevice]: End, [far, farDevice]: End, options: WanOptions = {}) {
    this.#options = options;
    this.#ns = Netns.create(lab, label);
    this.#ns.sysctl([['net/ipv6/conf/default/disable_ipv6', '1']]);
    connect(near, nearDevice, this.#ns, 'near');
    connect(far, farDevice, this.#ns, 'far');
    // Each frame alone, as on a real line: no super-packets of the kernel.
    near.ip(`link set ${nearDevice} gso_max_segs 1`);
    far.ip(`link set ${farDevice} gso_max_segs 1`);
  }

  /** Forwards frames from when it resolves on. */
  async start(): Promise<void> {
    const {seed = 1} = this.#options;
    const [up, down] = specsOf(this.#options);
    this.#proc = this.#ns.spawn('wan', [buildWan(), 'near', 'far', `${seed}`, up, down], {input: true});
    await this.#proc.waitLog(/^\{"ready":true\}$/m, ANSWER_MS);
  }

  /** Does this from now on, all of it: what is left out ends. The seed stays. Frames under way leave when they were to. */
  async change(options: Omit<WanOptions, 'seed'>): Promise<void> {
    this.#options = options;
    const [up, down] = specsOf(options);
    await Promise.all([this.#ask(`set up ${up}`), this.#ask(`set down ${down}`)]);
  }

  /** What was done so far. `cpuMs`: of the program. */
  async counters(): Promise<{readonly up: WanCounters; readonly down: WanCounters; readonly cpuMs: number}> {
    return JSON.parse(await this.#ask('counters')) as {up: WanCounters; down: WanCounters; cpuMs: number};
  }

  async #ask(question: string): Promise<string> {
    const id = ++this.#asked;
    if (this.#proc === undefined) throw new Error(`The WAN ${this.#ns.label} was never started.`);
    this.#proc.write(`${id} ${question}`);
    const [answer] = await this.#proc.waitLog(new RegExp(`^\\{"id":${id}[,}].*$|^\\{"error".*$`, 'm'), ANSWER_MS);
    if (answer.startsWith('{"error"')) throw new Error(`The WAN ${this.#ns.label} refused "${question}": ${answer}`);
    return answer;
  }
}

/** A namespace and the name its interface is to have. */
export type End = readonly [ns: Netns, device: string];

/** A WAN between two namespaces of a lab, forwarding when it resolves. Sites of a world: `wan` in their plan. */
export async function wan(lab: Lab, near: End, far: End, options: WanOptions = {}): Promise<Wan> {
  const made = new Wan(lab, `wan${serial++}`, near, far, options);
  await made.start();
  return made;
}

let serial = 0;

/** Both directions in the program's words. Throws when something cannot be meant. */
export function specsOf({up, down, seed: _, ...both}: WanOptions): [up: string, down: string] {
  return [specOf({...both, ...up}), specOf({...both, ...down})];
}

function specOf(impairment: Impairment): string {
  const {delayMs = 0, jitterMs = 0, loss = 0, burst, reorder, duplicate = 0, rateMbps = 0, queueBytes} = impairment;
  for (const [name, value] of Object.entries(impairment)) {
    if (typeof value === 'number' && !(value >= 0)) throw new Error(`${name} ${value}: 0 or more is wanted.`);
  }
  if (queueBytes !== undefined && rateMbps === 0) throw new Error(`queueBytes ${queueBytes}: needs rateMbps.`);
  const rate = Math.round(rateMbps * 1e6);
  const queue = queueBytes ?? Math.max(LEAST_QUEUE, Math.round((rate / 8e3) * QUEUE_MS));
  const words: Record<string, number> = {
    delay: Math.round(delayMs * 1e6),
    jitter: Math.round(jitterMs * 1e6),
    loss,
    enter: burst?.enter ?? 0,
    leave: burst?.leave ?? 0,
    loss_bad: burst === undefined ? 0 : (burst.lossBad ?? 1),
    loss_good: burst?.lossGood ?? 0,
    reorder: reorder?.share ?? 0,
    reorder_by: Math.round((reorder?.byMs ?? 0) * 1e6),
    duplicate,
    rate,
    queue: rate === 0 ? 0 : queue,
  };
  const said = Object.entries(words).filter(([, value]) => value !== 0);
  return said.length === 0 ? 'none' : said.map(([key, value]) => `${key}=${value}`).join(',');
}
