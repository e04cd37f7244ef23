// SPDX-License-Identifier: MIT
// Frames for tests, with just what switches look at; checksums are zero.

import {concat, fromHex} from '../../src/base/bytes.ts';

export const BROADCAST = 'ffffffffffff';

/** Bytes of hex digits; blanks are for the reader. */
export function bytes(text: string): Uint8Array {
  const out = fromHex(text.replace(/\s/g, ''));
  if (!out) throw new Error(`no hex digits: ${text}`);
  return out;
}

/** An Ethernet frame; `tags` are TPID and TCI in hex. */
export function ethernet(
  destination: string,
  source: string,
  type: string,
  payload: Uint8Array,
  tags = '',
): Uint8Array {
  return concat(bytes(destination), bytes(source), bytes(tags), bytes(type), payload);
}

/** A frame with 46 bytes of payload, all `fill`, of an EtherType for experiments. */
export function plain(destination: string, source: string, fill = 0, tags = ''): Uint8Array {
  return ethernet(destination, source, '88b5', new Uint8Array(46).fill(fill), tags);
}

/** IPv4 with UDP from and to these ports. */
export function udp4(destination: string, source: string, from: number, to: number, tags = ''): Uint8Array {
  const ip = bytes('4500 001c 0000 0000 4011 0000 00000000 ffffffff');
  return ethernet(destination, source, '0800', concat(ip, udp(from, to)), tags);
}

/** An IPv6 packet whose first header is `next`. */
export function ipv6(destination: string, source: string, next: number, payload: Uint8Array, tags = ''): Uint8Array {
  const head = concat(bytes('60000000'), u16(payload.length), Uint8Array.of(next, 255));
  const addresses = bytes('fe80000000000000 0000000000000001 ff02000000000000 0000000000000001');
  return ethernet(destination, source, '86dd', concat(head, addresses, payload), tags);
}

export function udp6(destination: string, source: string, from: number, to: number, tags = ''): Uint8Array {
  return ipv6(destination, source, 17, udp(from, to), tags);
}

/** ICMPv6 of this type: 134 is a router advertisement, 135 a neighbour solicitation. */
export function icmp6(destination: string, source: string, type: number, tags = ''): Uint8Array {
  return ipv6(destination, source, 58, concat(Uint8Array.of(type), new Uint8Array(15)), tags);
}

function udp(from: number, to: number): Uint8Array {
  return concat(u16(from), u16(to), u16(8), u16(0));
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 255);
}
