// SPDX-License-Identifier: MIT
// Packet captures by tcpdump, and the verdict direct or relay from what crossed the internet.

import {copyFileSync, readdirSync, readFileSync, statSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {Flow} from './internet.ts';
import type {Netns} from './netns.ts';
import type {Proc} from './proc.ts';
import {until} from './wait.ts';

/** Where the captures of a lab are, below its folder. */
export const CAPTURES = 'captures';
/** The kernel hands over what it caught after a second at the latest. */
const HANDED_OVER_MS = 1_200;
const RING = {files: 2, megabytes: 8} as const;
const RING_SNAP_BYTES = 192;
/**
 * Everything but the frames of links: no SRTP and no sealed datagrams (RFC 7983: first byte 128 and above), alone or in TURN's ChannelData. All
 * that makes and ends links is left: STUN, TURN, DTLS, XMPP.
 */
export const SIGNALS = 'not (udp and (udp[8] >= 0x80 or (udp[8] & 0xf0 = 0x40 and udp[12] >= 0x80)))';

/** Keeps the last megabytes that crossed a point, for whoever wants to see them afterwards. Costs next to nothing. */
export class Recorder {
  readonly #file: string;
  readonly #proc: Proc;

  private constructor(file: string, proc: Proc) {
    this.#file = file;
    this.#proc = proc;
  }

  /** Records a device (or `any`) of a namespace from when it resolves on. `filter`: as for tcpdump. */
  static async start(ns: Netns, device: string, filter: string): Promise<Recorder> {
    const name = `${ns.label}-${device}`;
    const file = join(ns.lab.folder(CAPTURES), `${name}.pcap`);
    const ring = ['-C', `${RING.megabytes}`, '-W', `${RING.files}`, '-s', `${RING_SNAP_BYTES}`];
    const argv = ['tcpdump', '-i', device, '-n', '-Z', 'root', ...ring, '-w', file, ...(filter === '' ? [] : [filter])];
    const recorder = new Recorder(file, ns.spawn(`record-${device}`, argv));
    await recorder.#proc.waitLog(/listening on/, 5_000);
    return recorder;
  }

  /** Copies what it holds to a folder: one or two pcap files. Takes a second. It goes on recording. */
  async save(folder: string): Promise<void> {
    await sleep(HANDED_OVER_MS);
    // It writes at once what it holds back: the file has not grown for a while then.
    this.#proc.signal('SIGUSR2');
    let size = 0;
    await until(`${this.#file} to be written`, 5_000, () => {
      const before = size;
      size = this.#parts().reduce((sum, part) => sum + statSync(part).size, 0);
      return size > 0 && size === before;
    });
    for (const part of this.#parts()) copyFileSync(part, join(folder, basename(part)));
  }

  /** The oldest is overwritten when the newest is full. */
  #parts(): string[] {
    const folder = dirname(this.#file);
    const names = readdirSync(folder).filter((name) => name.startsWith(basename(this.#file)));
    return names.map((name) => join(folder, name));
  }
}

export class Capture {
  readonly file: string;
  readonly #proc: Proc;

  private constructor(file: string, proc: Proc) {
    this.file = file;
    this.#proc = proc;
  }

  /** Starts to capture on a device (or `any`) and resolves once it does. `filter`: as for tcpdump. */
  static async start(ns: Netns, device: string, filter: string, snapBytes = 256): Promise<Capture> {
    const name = `tcpdump-${serial++}`;
    const file = join(ns.lab.folder(CAPTURES), `${ns.label}-${name}.pcap`);
    const argv = [
      'tcpdump',
      '-i',
      device,
      '-n',
      '-U',
      '--immediate-mode',
      '-Z',
      'root',
      '-s',
      `${snapBytes}`,
      '-w',
      file,
    ];
    const capture = new Capture(file, ns.spawn(name, [...argv, ...(filter === '' ? [] : [filter])]));
    await capture.#proc.waitLog(/listening on/, 5_000);
    return capture;
  }

  /** Ends it and returns the file's bytes (pcap). */
  async stop(): Promise<Buffer> {
    this.#proc.signal('SIGINT');
    await this.#proc.waitEnd(5_000);
    return readFileSync(this.file);
  }
}

/** How traffic between two sites crossed the internet. */
export interface Crossing {
  readonly kind: 'direct' | 'relay' | 'mixed' | 'none';
  /** Bytes between the two sites' public addresses. */
  readonly directBytes: number;
  /** Bytes between relay and each of them; the smaller of the two. */
  readonly relayedBytes: number;
  /** The biggest flow, `address:port - address:port`. */
  readonly by: string;
}

/**
 * Judges flows by where the bytes went: `direct` or `relay` if one way carried at least 95 % of them,
 * `none` if together they carried less than `leastBytes`.
 */
export function judge(flows: readonly Flow[], a: string, b: string, relay: string, leastBytes: number): Crossing {
  const bytes = (x: string, y: string): number =>
    flows.filter((flow) => joins(flow, x, y)).reduce((sum, flow) => sum + flow.bytes, 0);
  const directBytes = bytes(a, b);
  const relayedBytes = Math.min(bytes(a, relay), bytes(b, relay));
  const total = directBytes + relayedBytes;
  const kind =
    total < leastBytes
      ? 'none'
      : directBytes >= 0.95 * total
        ? 'direct'
        : relayedBytes >= 0.95 * total
          ? 'relay'
          : 'mixed';
  const main = flows.find((flow) => joins(flow, a, b) || joins(flow, a, relay) || joins(flow, b, relay));
  const by = main === undefined ? '-' : `${main.from.address}:${main.from.port} - ${main.to.address}:${main.to.port}`;
  return {kind, directBytes, relayedBytes, by};
}

function joins(flow: Flow, x: string, y: string): boolean {
  const {from, to} = flow;
  return (from.address === x && to.address === y) || (from.address === y && to.address === x);
}

let serial = 0;
