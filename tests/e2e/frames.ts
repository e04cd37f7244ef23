// SPDX-License-Identifier: MIT
// Frames that no program of a LAN host would send by itself, marked so that `listen` (tests/lab/tools.ts) tells them apart.

import {ping, tool} from '../lab/tools.ts';
import type {Host} from '../lab/site.ts';

const TYPE = {ipv4: 0x0800, ipv6: 0x86dd} as const;
const UDP = 17;
const HOP_BY_HOP = 0;
const ICMPV6 = 58;
const ROUTER_ADVERTISEMENT = 134;

/** What `listen` finds a frame by. */
export function mark(token: string): Buffer {
  return Buffer.from(`ipop-lab-token:${token};`);
}

/** A frame; `vlan`: with an 802.1Q tag of that VLAN. */
export function frame(to: string, from: string, type: number, payload: Buffer, vlan?: number): Buffer {
  const tag = vlan === undefined ? Buffer.alloc(0) : u16(0x8100, vlan);
  return Buffer.concat([mac(to), mac(from), tag, u16(type), payload]);
}

/** A frame with a UDP datagram; `options`: IPv4 options, a multiple of 4 bytes. */
export function udpFrame(
  from: Host,
  to: Host,
  ports: readonly [number, number],
  token: string,
  {options = Buffer.alloc(0), vlan}: {readonly options?: Buffer; readonly vlan?: number} = {},
): Buffer {
  const body = Buffer.concat([u16(ports[0], ports[1], 8 + mark(token).length, 0), mark(token)]);
  const headerLength = 20 + options.length;
  const head = Buffer.from([0x40 | (headerLength / 4), 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0]);
  head.writeUInt16BE(headerLength + body.length, 2);
  const addresses = [from.address, to.address].map((text) => Buffer.from(text.split('.').map(Number)));
  return frame(to.mac, from.mac, TYPE.ipv4, Buffer.concat([head, ...addresses, options, body]), vlan);
}

/** A router advertisement (RFC 4861) sent to one host; `hidden`: behind a hop-by-hop header. */
export function advertisementFrame(from: Host, to: Host, token: string, hidden: boolean): Buffer {
  const message = Buffer.concat([Buffer.from([ROUTER_ADVERTISEMENT]), Buffer.alloc(15), mark(token)]);
  const padding = Buffer.from([ICMPV6, 0, 1, 4, 0, 0, 0, 0]); // PadN of 6 bytes
  const body = hidden ? Buffer.concat([padding, message]) : message;
  const head = Buffer.concat([u16(0x6000, 0, body.length), Buffer.from([hidden ? HOP_BY_HOP : ICMPV6, 255])]);
  const addresses = Buffer.concat([linkLocal(from.mac), linkLocal(to.mac)]);
  return frame(to.mac, from.mac, TYPE.ipv6, Buffer.concat([head, addresses, body]));
}

/** Sends frames from a host's eth0, in this order. */
export async function sendRaw(from: Host, frames: readonly Buffer[]): Promise<void> {
  const input = frames.map((bytes) => `${bytes.toString('hex')}\n`).join('');
  await from.ns.runOk(tool('send_raw', 'eth0'), {input});
}

/** Makes both nodes between two hosts know both, with rules in place. */
export async function introduce(a: Host, b: Host): Promise<void> {
  const {received} = await ping(a.ns, b.address);
  if (received === 0) throw new Error(`${a.name} does not reach ${b.name}`);
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

/** Of this host in EUI-64 form; only has to look like an address. */
function linkLocal(text: string): Buffer {
  const bytes = mac(text);
  return Buffer.concat([Buffer.from('fe80000000000000', 'hex'), bytes.subarray(0, 3), u16(0xfffe), bytes.subarray(3)]);
}

function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, i) => bytes.writeUInt16BE(value, 2 * i));
  return bytes;
}
