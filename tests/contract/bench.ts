// SPDX-License-Identifier: MIT
// The test bench of the contract suite: one switch with four ports.

import type {ExecutionContext} from 'ava';
import {
  NativeError,
  type Datapath,
  type NativeEvent,
  type PortId,
  type SwitchId,
  type Upcall,
} from '../../src/native/datapath.ts';

/** A datapath on the test bench. */
export interface Bench {
  readonly path: Datapath;
  /** Events since the last call. */
  events(): NativeEvent[];
  /** Waits for a condition, at most 10 s of the datapath's own time; false when it did not come. */
  until(condition: () => boolean): Promise<boolean>;
}

export const A = '02000000000a';
export const B = '02000000000b';
export const C = '02000000000c';
export const ENOENT = 2;
export const EINVAL = 22;
export const ENOSPC = 28;

/** A switch with two LAN ports and two links, all enabled. */
export class Site {
  readonly path: Datapath;
  readonly sw: SwitchId;
  readonly lan: PortId;
  readonly lan2: PortId;
  readonly link: PortId;
  readonly link2: PortId;
  readonly bench: Bench;

  constructor(bench: Bench) {
    this.bench = bench;
    this.path = bench.path;
    this.sw = this.path.openSwitch();
    const open = (isLink: boolean): PortId => {
      const port = this.path.openMemory(this.sw, isLink);
      this.path.enablePort(port, true);
      return port;
    };
    [this.lan, this.lan2, this.link, this.link2] = [open(false), open(false), open(true), open(true)];
  }

  /** Upcalls of this switch since the last call. */
  upcalls(): Upcall[] {
    return this.bench
      .events()
      .flatMap((event) => (event.type === 'upcall' && event.sw === this.sw ? [event.upcall] : []));
  }

  /** The one upcall there is. */
  upcall(t: ExecutionContext): Upcall {
    const all = this.upcalls();
    t.is(all.length, 1, 'one upcall');
    return all[0] as Upcall;
  }

  bind(mac: string, port: PortId, vlan = 0): void {
    this.path.setRule(this.sw, mac, vlan, port);
  }

  write(port: PortId, frame: Uint8Array): void {
    this.path.writeMemory(port, frame);
  }

  read(port: PortId): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let frame = this.path.readMemory(port); frame; frame = this.path.readMemory(port)) frames.push(frame);
    return frames;
  }

  /** How many frames came out of each port: lan, lan2, link, link2. */
  out(): number[] {
    return [this.lan, this.lan2, this.link, this.link2].map((port) => this.read(port).length);
  }

  drops(port: PortId): Readonly<Record<string, number>> {
    return this.path.portCounters(port).drops;
  }
}

export type Case = (t: ExecutionContext, site: Site) => void | Promise<void>;

/** Cases by their titles. */
export type Cases = Readonly<Record<string, Case>>;

/** The call fails with this errno, and with a sentence. */
export function hasErrno(t: ExecutionContext, run: () => unknown, errno: number): void {
  const error = t.throws(run, {instanceOf: NativeError});
  t.is(error?.errno, errno);
  t.true((error?.message.length ?? 0) > 0);
}
