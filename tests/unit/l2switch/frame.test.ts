// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {fromHex} from '../../../src/base/bytes.ts';
import {isGroup, isReserved, macText, parseFrame} from '../../../src/l2switch/frame.ts';

const bytes = (text: string): Uint8Array => fromHex(text.replace(/\s/g, '')) as Uint8Array;

test('an untagged frame gives its addresses and EtherType', (t) => {
  t.deepEqual(parseFrame(bytes('ffffffffffff 020000000001 0806 0001')), {
    destination: 'ffffffffffff',
    source: '020000000001',
    tags: [],
    etherType: 0x0806,
    payloadAt: 14,
  });
});

test('two VLAN tags are read outermost first, with priority and VID', (t) => {
  const head = parseFrame(bytes('020000000002 020000000001 88a8 e064 8100 0005 0800 45'));
  t.deepEqual(head?.tags, [
    {tpid: 0x88a8, priority: 7, vid: 100},
    {tpid: 0x8100, priority: 0, vid: 5},
  ]);
  t.is(head?.etherType, 0x0800);
  t.is(head?.payloadAt, 22);
});

test('a third tag shows as the EtherType', (t) => {
  const head = parseFrame(bytes('020000000002 020000000001 8100 0001 8100 0002 8100 0003 0800'));
  t.is(head?.tags.length, 2);
  t.is(head?.etherType, 0x8100);
});

test('a head cut anywhere before the EtherType ends gives nothing, and never throws', (t) => {
  const whole = bytes('020000000002 020000000001 88a8 e064 8100 0005 0800');
  for (let length = 0; length < whole.length; length++) t.is(parseFrame(whole.subarray(0, length)), undefined);
  fc.assert(fc.property(fc.uint8Array({maxLength: 40}), (any) => void parseFrame(any)));
});

test('group and reserved addresses are told from others', (t) => {
  t.true(isGroup('01005e000001'));
  t.true(isGroup('ffffffffffff'));
  t.false(isGroup('020000000001'));
  t.true(isReserved('0180c2000000'));
  t.true(isReserved('0180c200000f'));
  t.false(isReserved('0180c2000010'));
});

test('an address is shown to people with colons', (t) => {
  t.is(macText('0200000000ab'), '02:00:00:00:00:ab');
});
