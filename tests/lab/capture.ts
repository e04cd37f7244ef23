// SPDX-License-Identifier: MIT
// A packet capture by tcpdump, and the verdict direct or relay from what crossed the internet.

import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import type {Flow} from './internet.ts';
import type {Netns} from './netns.ts';
import type {Proc} from './proc.ts';

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
    const file = join(ns.lab.dir, `${ns.label}-${name}.pcap`);
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
