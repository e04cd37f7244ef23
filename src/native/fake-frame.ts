// SPDX-License-Identifier: MIT
// The checks a frame passes before any rule is looked at, as native makes them: well formed, addresses, DHCP and RA guard.

import {hex} from '../base/bytes.ts';
import {isGroup, isReserved} from '../l2switch/frame.ts';
import type {DROP_NAMES} from './datapath.ts';

/** One of `DROP_NAMES`. */
export type DropName = (typeof DROP_NAMES)[number];

/** What rules are looked up by. */
export interface FrameLookup {
  /** VID of the outermost tag; 0: none. */
  readonly vlan: number;
  readonly source: string;
  readonly destination: string;
}

const MAX_FRAME = 65535;
/** Up to here the field is not a type (IEEE 802.3 3.2.6 begins types at 1536), so LLC may follow. */
const MAX_LENGTH_FIELD = 1535;
const UDP = 17;
const ICMPV6 = 58;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** Hop-by-hop, routing, destination options, mobility, HIP, shim6 (RFC 8200 section 4): the length is in units of 8 bytes. */
const EXTENSIONS: readonly number[] = [0, 43, 60, 135, 139, 140];
const ROUTER_ADVERTISEMENT = 134;

/** A frame's addresses; undefined when it is too short or too long to be one. */
export function lookupOf(frame: Uint8Array): FrameLookup | undefined {
  const tagged = isTpid(u16(frame, 12));
  if (frame.length < (tagged ? 18 : 14) || frame.length > MAX_FRAME) return undefined;
  return {
    vlan: tagged ? u16(frame, 14) & 0xfff : 0,
    source: hex(frame.subarray(6, 12)),
    destination: hex(frame.subarray(0, 6)),
  };
}

/** Why a frame goes nowhere whatever the rules say; undefined: it may. */
export function refuse(frame: Uint8Array, {source, destination}: FrameLookup): DropName | undefined {
  if (isReserved(destination)) return 'reserved-address';
  if (isGroup(source)) return 'source-group';
  if (source === '000000000000') return 'source-zero';
  let at = 12;
  for (;;) {
    const type = u16(frame, at);
    if (isTpid(type) || type === 0x9100) at += 4;
    else if (
      type <= MAX_LENGTH_FIELD &&
      hex(frame.subarray(at + 2, at + 7)) === 'aaaa030000' &&
      [0, 0xf8].includes(byte(frame, at + 7))
    )
      at += 8;
    else if (type === 0x0800) return guardIpv4(frame.subarray(at + 2));
    else return type === 0x86dd ? guardIpv6(frame.subarray(at + 2)) : undefined;
    if (at + 2 > frame.length) return undefined;
  }
}

/** DHCPv4 (RFC 2131): UDP to port 67 or 68. Later fragments pass: without the first they are nothing. */
function guardIpv4(packet: Uint8Array): DropName | undefined {
  const header = (byte(packet, 0) & 15) * 4;
  const isFirst = (u16(packet, 6) & 0x1fff) === 0;
  if (byte(packet, 0) >> 4 !== 4 || header < 20 || byte(packet, 9) !== UDP || !isFirst) return undefined;
  return [67, 68].includes(u16(packet, header + 2)) ? 'guard-dhcp' : undefined;
}

/** DHCPv6 (RFC 8415): UDP to port 546 or 547; router advertisements (RFC 4861); first fragments that may hide either (RFC 7113). */
function guardIpv6(whole: Uint8Array): DropName | undefined {
  if (whole.length < 7 || byte(whole, 0) >> 4 !== 6) return undefined;
  const packet = u16(whole, 4) === 0 ? whole : whole.subarray(0, 40 + u16(whole, 4));
  let next = byte(packet, 6);
  let at = 40;
  let cut: DropName | undefined;
  for (;;) {
    if (next === UDP) {
      if (at + 8 > packet.length) return cut;
      return [546, 547].includes(u16(packet, at + 2)) ? 'guard-dhcp' : undefined;
    }
    if (next === ICMPV6) {
      if (at + 4 > packet.length) return cut;
      return byte(packet, at) === ROUTER_ADVERTISEMENT ? 'guard-ra' : undefined;
    }
    const length = headerLength(next, byte(packet, at + 1));
    if (length === undefined) return undefined;
    if (next === FRAGMENT) {
      if (at + 4 <= packet.length && (u16(packet, at + 2) & 0xfff8) !== 0) return undefined;
      if (at + 4 <= packet.length) cut = 'guard-unparsed';
    }
    if (at + length > packet.length) return cut;
    next = byte(packet, at);
    at += length;
  }
}

/** Bytes of an extension header; undefined: none that is followed. */
function headerLength(kind: number, lengthField: number): number | undefined {
  if (kind === FRAGMENT) return 8;
  if (kind === AUTHENTICATION) return 8 + lengthField * 4;
  return EXTENSIONS.includes(kind) ? 8 + lengthField * 8 : undefined;
}

function isTpid(type: number): boolean {
  return type === 0x8100 || type === 0x88a8;
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function u16(bytes: Uint8Array, at: number): number {
  return (byte(bytes, at) << 8) | byte(bytes, at + 1);
}
