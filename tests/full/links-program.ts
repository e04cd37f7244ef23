// SPDX-License-Identifier: MIT
// Makes and unmakes links, both ends in this one process, and prints what the process weighs after each batch, a JSON line each.
//   node --expose-gc --import tsx tests/full/links-program.ts TOTAL WIDTH BATCH
//
//   [ host port ] switch [ link ] ==== ICE, DTLS, SRTP over this namespace's own address ==== [ link ] switch [ host port ]
//
// Of eight links five live a whole life (up, a frame across, a goodbye from either side), one is closed at both ends as soon as it is up, one
// while it connects, and one before its offer was ever answered. Of 64, one end of one is closed without a word: the other must notice.

import {readdirSync, readFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import koffi from 'koffi';
import {hex, utf8} from '../../src/base/bytes.ts';
import {RecordReader} from '../../src/native/codec.ts';
import {OUT_FLOOD, type NativeEvent, type PortId, type SwitchId} from '../../src/native/datapath.ts';
import {Native} from '../../src/native/native.ts';
import {koffiHost} from '../contract/host-koffi.ts';
import {pool, until} from '../lab/wait.ts';

/** What one batch left behind. */
export interface Weight {
  /** Pairs of links made and unmade so far. */
  readonly made: number;
  /** Of those, the ones that came up. */
  readonly up: number;
  readonly seconds: number;
  /** Memory that is no file's: pages of programs and libraries come and go as the kernel likes. */
  readonly anonymousKb: number;
  /** What malloc has given out and not got back, in all its arenas: no page that comes or goes hides a leak of it. */
  readonly liveKb: number;
  /** Of V8, beside which the rest is native's and libdatachannel's. */
  readonly heapKb: number;
  readonly threads: number;
  readonly descriptors: number;
}

const STEP_MS = 30_000;
/** Agents say goodbye for a second; libdatachannel's threads drain their queues. */
const SETTLE_MS = 20_000;
const QUIET_MS = 1_500;
const BROADCAST = 'ffffffffffff';
const HOST = '020000000001';
const GOODBYE = utf8('{"type":"bye"}');

// mallinfo2(3) of glibc.
const FIELDS = [
  'arena',
  'ordblks',
  'smblks',
  'hblks',
  'hblkhd',
  'usmblks',
  'fsmblks',
  'uordblks',
  'fordblks',
  'keepcost',
];
koffi.struct('mallinfo2', Object.fromEntries(FIELDS.map((name) => [name, 'size_t'])));
const mallinfo2 = koffi.load('libc.so.6').func('mallinfo2', 'mallinfo2', []);

const [total = 0, width = 0, batch = 0] = process.argv.slice(2).map(Number);
const host = koffiHost();
const native = new Native(host.native);
const listeners = new Map<number, (event: NativeEvent) => void>();
let up = 0;

/** Events of one link, for whoever waits. */
class Ear {
  readonly #heard: NativeEvent[] = [];
  #wake: () => void = () => {};

  constructor(readonly link: PortId) {
    listeners.set(link, (event) => {
      this.#heard.push(event);
      this.#wake();
    });
  }

  /** The next event; throws after `STEP_MS`, and when the link is closed. */
  async next(): Promise<NativeEvent> {
    if (this.#heard.length === 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        timer = setTimeout(() => reject(new Error(`link ${this.link}: nothing heard for ${STEP_MS} ms`)), STEP_MS);
      }).finally(() => clearTimeout(timer));
    }
    if (!listeners.has(this.link)) throw new Error(`link ${this.link} is closed`);
    return this.#heard.shift()!;
  }

  async until(type: NativeEvent['type']): Promise<void> {
    for (;;) {
      const event = await this.next();
      if (event.type === type) return;
      if (event.type === 'link-lost') throw new Error(`link ${this.link} lost (${event.code}: ${event.text})`);
    }
  }

  async untilLost(): Promise<void> {
    while ((await this.next()).type !== 'link-lost');
  }

  close(): void {
    native.closeLink(this.link);
    listeners.delete(this.link);
    this.#wake();
  }
}

/** Two switches with a host each. */
interface Lane {
  readonly a: Side;
  readonly b: Side;
}
interface Side {
  readonly sw: SwitchId;
  readonly port: PortId;
}

function side(): Side {
  const sw = native.openSwitch();
  const port = native.openMemory(sw, false);
  native.enablePort(port, true);
  native.setRule(sw, BROADCAST, 0, OUT_FLOOD);
  return {sw, port};
}

/** Passes offer, answer and candidates on until both ends are up. */
async function introduce(a: Ear, b: Ear): Promise<void> {
  const pass = async (from: Ear, to: Ear): Promise<void> => {
    for (;;) {
      const event = await from.next();
      if (event.type === 'link-local') native.setRemote(to.link, event.local);
      else if (event.type === 'link-candidate') native.addCandidate(to.link, event.candidate);
      else if (event.type === 'link-up') return;
      else if (event.type === 'link-lost') throw new Error(`link ${from.link} lost (${event.code}: ${event.text})`);
    }
  };
  await Promise.all([pass(a, b), pass(b, a)]);
}

/** A frame of the one host, heard by the other. */
async function talk({a: left, b: right}: Lane, a: Ear, b: Ear): Promise<void> {
  native.enablePort(a.link, true);
  native.enablePort(b.link, true);
  native.setRule(left.sw, HOST, 0, left.port);
  native.setRule(right.sw, HOST, 0, b.link);
  const frame = new Uint8Array(200).fill(7);
  frame.set([255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
  native.writeMemory(left.port, frame);
  const isHere = (): boolean => {
    const heard = native.readMemory(right.port);
    return heard !== undefined && hex(heard) === hex(frame);
  };
  await until(`the frame over link ${a.link}`, STEP_MS, isHere, 2);
}

async function life(lane: Lane, number: number): Promise<void> {
  const kind = number % 8;
  const a = new Ear(native.openLink(lane.a.sw, 'offer', []));
  if (kind === 7) {
    await a.until('link-local');
    return a.close();
  }
  const b = new Ear(native.openLink(lane.b.sw, 'answer', []));
  if (kind === 6) {
    const meeting = introduce(a, b).catch(() => {});
    await sleep(20 + (number % 64));
    a.close();
    b.close();
    return void meeting;
  }
  await introduce(a, b);
  up++;
  if (kind < 5) await talk(lane, a, b);
  const [first, second] = kind % 2 === 0 ? [a, b] : [b, a];
  const isSilent = number % 64 === 0;
  if (kind < 5 && !isSilent) {
    native.sendMessage(first.link, GOODBYE);
    await second.until('link-message');
  }
  first.close();
  if (isSilent) await second.untilLost();
  second.close();
}

function statusField(name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

/** When descriptors and threads have been the same for a while. */
async function settled(): Promise<{threads: number; descriptors: number}> {
  const end = performance.now() + SETTLE_MS;
  let [last, since] = ['', performance.now()];
  for (;;) {
    const threads = statusField('Threads');
    const descriptors = readdirSync('/proc/self/fd').length;
    const now = `${threads} ${descriptors}`;
    if (now !== last) [last, since] = [now, performance.now()];
    if (performance.now() - since > QUIET_MS || performance.now() > end) return {threads, descriptors};
    await sleep(50);
  }
}

async function weigh(made: number): Promise<Weight> {
  const {threads, descriptors} = await settled();
  globalThis.gc?.();
  const heapKb = Math.round(process.memoryUsage().heapTotal / 1024);
  const seconds = Math.round(process.uptime());
  const liveKb = Math.round(Number((mallinfo2() as {uordblks: bigint | number}).uordblks) / 1024);
  return {made, up, seconds, anonymousKb: statusField('RssAnon'), liveKb, heapKb, threads, descriptors};
}

async function main(): Promise<void> {
  native.start();
  const reader = new RecordReader();
  host.onRecord((record) => {
    for (const event of reader.read(record)) {
      if (event.type === 'gap') throw new Error(`${event.missed} records were lost`);
      if ('link' in event) listeners.get(event.link)?.(event);
    }
  });
  const lanes: Lane[] = Array.from({length: width}, () => ({a: side(), b: side()}));
  for (let made = 0; made < total;) {
    const numbers = Array.from({length: Math.min(batch, total - made)}, (_, i) => made + i);
    await pool(
      width,
      numbers.map((number) => async () => {
        const lane = lanes.pop()!;
        await life(lane, number).finally(() => lanes.push(lane));
      }),
    );
    made += numbers.length;
    console.log(JSON.stringify(await weigh(made)));
  }
  native.stop();
  host.close();
}

await main();
