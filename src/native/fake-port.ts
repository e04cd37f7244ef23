// SPDX-License-Identifier: MIT
// One port of a fake switch: its counters, its upcall budget, and where its frames go.

import type {Millis} from '../base/time.ts';
import type {PortCounters, PortId, SwitchId} from './datapath.ts';
import type {DropName} from './fake-frame.ts';

/** As native's: tokens a second, and at most. */
const UPCALL_RATE = 200;
const UPCALL_BURST = 400;
/** Frames that wait for `readMemory`. */
const MAX_WAITING = 1024;

export class FakePort {
  readonly id: PortId;
  readonly sw: SwitchId;
  readonly isLink: boolean;
  /** Of a tap. */
  readonly name: string | undefined;
  /** Frames that went out and were not read yet. */
  readonly waiting: Uint8Array[] = [];
  enabled = false;
  /** Carries nothing any more, for ever. */
  lost = false;
  /** The port that this one stands in for. */
  standsFor: PortId | undefined;
  /** Set by links: sends a frame, or says why not. */
  transmit: ((frame: Uint8Array) => DropName | undefined) | undefined;
  readonly #counters = {rxFrames: 0, rxBytes: 0, txFrames: 0, txBytes: 0, upcalls: 0};
  readonly #drops: Record<string, number> = {};
  #tokens = UPCALL_BURST;
  #filledAt: Millis;

  constructor(id: PortId, sw: SwitchId, isLink: boolean, now: Millis, name?: string) {
    this.id = id;
    this.sw = sw;
    this.isLink = isLink;
    this.name = name;
    this.#filledAt = now;
  }

  get carries(): boolean {
    return this.enabled && !this.lost;
  }

  /** The port that sources behind this one are bound to. */
  get boundAs(): PortId {
    return this.standsFor ?? this.id;
  }

  counters(): PortCounters {
    return {...this.#counters, drops: {...this.#drops}};
  }

  received(frame: Uint8Array): void {
    this.#counters.rxFrames++;
    this.#counters.rxBytes += frame.length;
  }

  drop(why: DropName): void {
    this.#drops[why] = (this.#drops[why] ?? 0) + 1;
  }

  /** Takes one upcall from the budget; false when there is none. */
  takeUpcall(now: Millis): boolean {
    this.#tokens = Math.min(UPCALL_BURST, this.#tokens + ((now - this.#filledAt) * UPCALL_RATE) / 1000);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    this.#counters.upcalls++;
    return true;
  }

  /** Sends a frame out here, or counts why not. */
  send(frame: Uint8Array): void {
    if (!this.carries) return this.drop('port-disabled');
    const why = this.transmit ? this.transmit(frame) : this.#keep(frame);
    if (why) return this.drop(why);
    this.#counters.txFrames++;
    this.#counters.txBytes += frame.length;
  }

  #keep(frame: Uint8Array): DropName | undefined {
    if (this.waiting.length >= MAX_WAITING) return 'tap-write';
    this.waiting.push(frame.slice());
    return undefined;
  }
}
