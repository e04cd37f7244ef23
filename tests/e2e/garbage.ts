// SPDX-License-Identifier: MIT
// Datagrams that a link's socket may get from strangers: noise, and what looks like STUN, TURN, DTLS, RTP and RTCP but is not.

import type {Flow} from '../lab/internet.ts';
import {frame} from './frames.ts';

/** Numbers in [0, bound), the same for the same seed (mulberry32). */
export function randomOf(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** `count` payloads of all kinds in turn. `real`: datagrams of the link itself, sent again as they were and with one bit changed. */
export function garbage(count: number, random: (bound: number) => number, real: readonly Buffer[]): Buffer[] {
  const noise = (length: number): Buffer => Buffer.from(Array.from({length}, () => random(256)));
  const pick = <T>(items: readonly T[]): T => items[random(items.length)]!;
  const u16 = (...values: readonly number[]): Buffer =>
    Buffer.from(values.flatMap((value) => [value >> 8, value & 255]));
  const kinds: readonly (() => Buffer)[] = [
    () => noise(random(1400)),
    // STUN (RFC 8489): binding requests, answers, errors, indications; attributes whose lengths are wrong half the time.
    () => {
      const value = noise(random(64) & ~3);
      const length = random(2) === 0 ? value.length : random(65_536);
      const attribute = Buffer.concat([
        u16(pick([0x0006, 0x0008, 0x0020, 0x0024, 0x0025, 0x8028, 0x8029]), length),
        value,
      ]);
      const head = u16(pick([0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0017]), pick([attribute.length, 0, 65_535]));
      return Buffer.concat([head, Buffer.from('2112a442', 'hex'), noise(12), attribute]);
    },
    // TURN's channel data (RFC 8656).
    () => Buffer.concat([u16(0x4000 + random(0x1000), random(65_536)), noise(random(100))]),
    // DTLS (RFC 6347): any type and epoch; among them alerts in the clear, which would end a careless session.
    () => {
      const type = pick([20, 21, 22, 23, 25]);
      const epoch = random(3);
      const body = type === 21 ? Buffer.from([2, pick([0, 10, 40, 80])]) : noise(1 + random(200));
      const head = Buffer.concat([Buffer.from([type]), u16(pick([0xfefd, 0xfeff, 0xfefc]), epoch), noise(6)]);
      return Buffer.concat([head, u16(random(4) === 0 ? random(65_536) : body.length), body]);
    },
    // RTP and RTCP (RFC 3550).
    () =>
      Buffer.concat([
        Buffer.from([0x80 | random(64), 96 | (random(2) << 7)]),
        u16(random(65_536)),
        noise(8 + random(1200)),
      ]),
    () => Buffer.concat([Buffer.from([0x80 | random(32), 200 + random(8)]), u16(random(400)), noise(random(400))]),
    // First bytes that nothing uses yet, and hardly anything at all.
    () => Buffer.concat([Buffer.from([192 + random(64)]), noise(random(1200))]),
    () => noise(random(3)),
    () => Buffer.from(pick(real)),
    () => {
      const changed = Buffer.from(pick(real));
      const at = random(changed.length);
      changed[at] = changed[at]! ^ (1 << random(8));
      return changed;
    },
  ];
  return Array.from({length: count}, (_, i) => kinds[i % kinds.length]!());
}

/** Frames that bring payloads to a flow's target in the name of its source. */
export function spoofed({from, to}: Flow, macs: {readonly from: string; readonly to: string}, payload: Buffer): Buffer {
  const udp = Buffer.alloc(8); // no checksum, as IPv4 allows
  [from.port, to.port, 8 + payload.length].forEach((value, i) => udp.writeUInt16BE(value, 2 * i));
  const address = (text: string): number[] => text.split('.').map(Number);
  const ip = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, ...address(from.address), ...address(to.address)]);
  ip.writeUInt16BE(28 + payload.length, 2);
  let sum = 0;
  for (let at = 0; at < ip.length; at += 2) sum += ip.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >> 16);
  ip.writeUInt16BE(~(sum + (sum >> 16)) & 0xffff, 10);
  return frame(macs.to, macs.from, 0x0800, Buffer.concat([ip, udp, payload]));
}

/** UDP payloads of a little-endian pcap file of Ethernet frames. */
export function udpPayloads(pcap: Buffer): Buffer[] {
  const payloads: Buffer[] = [];
  for (let at = 24; at + 16 <= pcap.length; at += 16 + pcap.readUInt32LE(at + 8)) {
    const frame = pcap.subarray(at + 16, at + 16 + pcap.readUInt32LE(at + 8));
    const udp = 14 + (frame[14]! & 15) * 4;
    payloads.push(frame.subarray(udp + 8, udp + frame.readUInt16BE(udp + 4)));
  }
  return payloads.filter((payload) => payload.length > 0);
}
