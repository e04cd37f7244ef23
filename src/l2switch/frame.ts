// SPDX-License-Identifier: MIT
// The head of an Ethernet frame: all that the switch looks at.

import {hex} from '../base/bytes.ts';
import type {Mac} from './types.ts';

/** One tag of IEEE 802.1Q, clause 9. */
export interface VlanTag {
  /** 0x8100 (customer) or 0x88a8 (service). */
  readonly tpid: number;
  /** 0-7. */
  readonly priority: number;
  /** 0-4095; 0 is a priority tag: the frame belongs to no VLAN by it. */
  readonly vid: number;
}

export interface FrameHead {
  readonly destination: Mac;
  readonly source: Mac;
  /** Outermost first, at most two. */
  readonly tags: readonly VlanTag[];
  /** Type of what follows the tags (a third tag shows here as its TPID), or a length (IEEE 802.3) below 0x0600. */
  readonly etherType: number;
  /** Index of the first byte after the EtherType. */
  readonly payloadAt: number;
}

const MAX_TAGS = 2;

/** Reads a frame's head; undefined when it is cut short before the EtherType ends. */
export function parseFrame(bytes: Uint8Array): FrameHead | undefined {
  const tags: VlanTag[] = [];
  let at = 12;
  while (at + 2 <= bytes.length) {
    const type = u16(bytes, at);
    if (!isTpid(type) || tags.length === MAX_TAGS) {
      return {
        destination: hex(bytes.subarray(0, 6)),
        source: hex(bytes.subarray(6, 12)),
        tags,
        etherType: type,
        payloadAt: at + 2,
      };
    }
    if (at + 4 > bytes.length) return undefined;
    const tci = u16(bytes, at + 2);
    tags.push({tpid: type, priority: tci >> 13, vid: tci & 0xfff});
    at += 4;
  }
  return undefined;
}

/** Multicast or broadcast: the lowest bit of the first byte. */
export function isGroup(mac: Mac): boolean {
  return (Number.parseInt(mac.charAt(1), 16) & 1) === 1;
}

/** 01:80:c2:00:00:00-0f, which no bridge forwards (IEEE 802.1Q 8.6.3). */
export function isReserved(mac: Mac): boolean {
  return mac.startsWith('0180c200000');
}

/** `aa:bb:cc:dd:ee:ff`, as people write it. */
export function macText(mac: Mac): string {
  return mac.replace(/(..)(?!$)/g, '$1:');
}

function isTpid(type: number): boolean {
  return type === 0x8100 || type === 0x88a8;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}
