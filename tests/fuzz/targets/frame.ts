// SPDX-License-Identifier: MIT
// Frames as the switch sees them, and the guard of the datapath that stands in for native in tests: DHCP and router advertisements do not
// pass it, however they are wrapped.

import {hex} from '../../../src/base/bytes.ts';
import {isGroup, isReserved, macText, parseFrame} from '../../../src/l2switch/frame.ts';
import {lookupOf, refuse} from '../../../src/native/fake-frame.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const HOSTS = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const EXTENSIONS = [0, 43, 44, 51, 60, 135, 139, 140] as const;

export const target: Target = {
  seeds: [
    Uint8Array.of(...HOSTS, 0x81, 0, 0, 7, 8, 0, 0x45),
    Uint8Array.of(...HOSTS, 0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd, 0x60, 0, 0, 0),
    Uint8Array.of(2, 1, 0, 5, 1, 3, 2, 1, 0, 0, 7, 9, 1, 2, 3, 4, 5, 6),
    new Uint8Array(40),
  ],
  words: ['\x81\0\0\x07', '\x08\0E\0'],
  maxBytes: 300,
  check(data) {
    heads(data);
    const frame = wrapped(new Choices(data));
    const lookup = lookupOf(frame);
    holds(lookup !== undefined, 'a whole frame');
    const why = refuse(frame, lookup);
    holds(why === 'guard-dhcp' || why === 'guard-ra', `${hex(frame)}: ${why ?? 'passes'}`);
  },
};

function heads(data: Uint8Array): void {
  const head = parseFrame(data);
  const lookup = lookupOf(data);
  if (lookup) refuse(data, lookup);
  if (!head) {
    holds(lookup === undefined || data.length < 26, 'native sees a frame, the switch none');
    return;
  }
  const {destination, source, tags, etherType, payloadAt} = head;
  equal(payloadAt, 14 + 4 * tags.length);
  holds(tags.length <= 2 && payloadAt <= data.length, 'tags outside the frame');
  equal([destination, source], [hex(data.slice(0, 6)), hex(data.slice(6, 12))]);
  equal(etherType, ((data[payloadAt - 2] ?? 0) << 8) | (data[payloadAt - 1] ?? 0));
  equal(isGroup(source), ((data[6] ?? 0) & 1) === 1);
  equal(isReserved(destination), /^0180c200000[0-9a-f]$/.test(destination));
  equal(macText(source).replaceAll(':', ''), source);
  if (!lookup) return;
  equal([lookup.destination, lookup.source, lookup.vlan], [destination, source, tags[0]?.vid ?? 0]);
}

/** DHCP or a router advertisement, in tags, SNAP headers, options and extension headers. */
function wrapped(choices: Choices): Uint8Array {
  const frame = [...HOSTS];
  for (let times = choices.upTo(5); times > 0; times--) {
    if (choices.upTo(3) > 0)
      frame.push(
        ...choices.oneOf([
          [0x81, 0],
          [0x88, 0xa8],
        ]),
        choices.byte(),
        choices.byte(),
      );
    // IEEE 802.3 3.2.6: a type begins at 1536, what is less may be followed by LLC.
    else frame.push(choices.upTo(5), choices.byte(), 0xaa, 0xaa, 3, 0, 0, choices.oneOf([0, 0xf8]));
  }
  if (choices.upTo(1) === 0) {
    const options = choices.upTo(10) * 4;
    frame.push(8, 0, 0x45 + options / 4, 0, 0, 28 + options, 0, 0, choices.byte() & 0xe0, 0, 64, 17, 0, 0);
    frame.push(...HOSTS.slice(0, 8), ...new Array<number>(options).fill(choices.byte()));
    frame.push(0, choices.byte(), 0, choices.oneOf([67, 68]), 0, 8, 0, 0);
  } else frame.push(0x86, 0xdd, ...ipv6(choices));
  frame.push(...choices.bytes(20));
  return Uint8Array.from(frame);
}

function ipv6(choices: Choices): number[] {
  const kinds: number[] = Array.from({length: choices.upTo(6)}, () => choices.oneOf(EXTENSIONS));
  const last = choices.oneOf([17, 58]);
  const chain = kinds.flatMap((kind, i) => {
    const units = kind === 44 ? 0 : choices.upTo(3);
    const header = new Array<number>(8 + units * (kind === 51 ? 4 : 8)).fill(0);
    return header.fill(kinds[i + 1] ?? last, 0, 1).fill(units, 1, 2);
  });
  const end = last === 58 ? [134, 0, 0, 0] : [0, 1, 2, choices.oneOf([0x22, 0x23]), 0, 8, 0, 0];
  const payload = [...chain, ...end];
  const length = choices.upTo(3) === 0 ? 0 : payload.length;
  return [
    0x60,
    0,
    0,
    0,
    length >> 8,
    length & 255,
    kinds[0] ?? last,
    255,
    ...new Array<number>(32).fill(7),
    ...payload,
  ];
}
