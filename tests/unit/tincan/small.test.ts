// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {utf8} from '../../../src/base/bytes.ts';
import {backoffMs} from '../../../src/tincan/backoff.ts';
import {parseCandidate, refuseCandidate} from '../../../src/tincan/candidate.ts';
import {parseMessage, writeMessage} from '../../../src/tincan/hello.ts';
import {chooseServers} from '../../../src/tincan/servers.ts';

const isOverlay = (address: string) => address.startsWith('192.168.1.') || address === 'fd00::1';
const host = (address: string, rest = 'typ host') => `candidate:4 1 UDP 2122317823 ${address} 50123 ${rest}`;

test('a candidate line is parsed with its base', (t) => {
  t.deepEqual(
    parseCandidate('candidate:2 1 UDP 1686052607 203.0.113.9 41022 typ srflx raddr 10.0.0.2 rport 50123 generation 0'),
    {
      transport: 'udp',
      address: '203.0.113.9',
      port: 41022,
      type: 'srflx',
      relatedAddress: '10.0.0.2',
    },
  );
});

for (const [line, reason] of [
  [host('198.51.100.7'), undefined],
  [host('2001:db8::7'), undefined],
  [host('::ffff:192.0.2.1'), 'IPv4 inside IPv6'],
  [host('192.168.1.1'), 'inside the overlay'],
  [host('fd00::1'), 'inside the overlay'],
  [host('203.0.113.9', 'typ srflx raddr 192.168.1.1 rport 5'), 'base inside the overlay'],
  [host('203.0.113.9', 'typ relay raddr 192.168.1.1 rport 5'), undefined],
  [host('203.0.113.9', 'typ srflx raddr 0.0.0.0 rport 0'), undefined],
  [host('127.0.0.1'), 'loopback'],
  [host('::1'), 'loopback'],
  [host('0.0.0.0'), 'any address'],
  [host('::'), 'any address'],
  [host('169.254.1.1'), 'link-local'],
  [host('fe80::1'), 'link-local'],
  [host('224.0.0.251'), 'not unicast'],
  [host('255.255.255.255'), 'not unicast'],
  [host('ff02::fb'), 'not unicast'],
  [host('2f0c1b0a-8a5e.local'), 'a name, not an address'],
  [host('turn.example.org'), 'a name, not an address'],
  [host('1.2.3'), 'a name, not an address'],
  [host('1.2.3.256'), 'a name, not an address'],
  [host('01.2.3.4'), 'a name, not an address'],
  [host('1::2::3'), 'a name, not an address'],
  [host('1:2:3:4:5:6:7'), 'a name, not an address'],
  [host('1:2:3:4:5:6:7::8'), 'a name, not an address'],
  [host('198.51.100.7').replace('UDP', 'TCP'), 'not UDP'],
  [host('198.51.100.7').replace('50123', '0'), 'port 0'],
  [host('198.51.100.7').replace('50123', '65536'), 'malformed'],
  [`a=${host('198.51.100.7')}`, 'malformed'],
  [host('198.51.100.7', 'typ other'), 'malformed'],
  [`${host('198.51.100.7')} `, 'malformed'],
  [`${host('198.51.100.7')}\r\na=x`, 'malformed'],
  [`${host('198.51.100.7')}${' a b'.repeat(200)}`, 'malformed'],
  ['', 'malformed'],
] as const) {
  test(`candidate "${line.slice(0, 90)}" ${reason ? `is dropped: ${reason}` : 'may be used'}`, (t) => {
    t.is(refuseCandidate(line, isOverlay), reason);
  });
}

test('back-off doubles its limit up to 4 s, with jitter over the whole of it', (t) => {
  const limits = [1, 2, 3, 4, 5, 1000].map((failures) => backoffMs(failures, () => 0.999999));
  t.deepEqual(limits, [499, 999, 1999, 3999, 3999, 3999]);
  t.is(
    backoffMs(5, () => 0),
    100,
  );
});

test('one STUN and two TURN servers are chosen, and all have their turn', (t) => {
  const lists = {stun: ['s1', 's2'], turn: ['t1', 't2', 't3']};
  t.deepEqual(
    [1, 2, 3, 4].map((n) => chooseServers(lists, n).join(' ')),
    ['s1 t1 t2', 's2 t3 t1', 's1 t2 t3', 's2 t1 t2'],
  );
  t.deepEqual(chooseServers({stun: [], turn: ['t']}, 7), ['t']);
  t.deepEqual(chooseServers({stun: [], turn: []}, 1), []);
});

test('control messages survive the way, unknown types are known as such', (t) => {
  const hello = {type: 'hello', version: 1, id: 'ab'.repeat(20), generation: 5, carriages: ['express']} as const;
  t.deepEqual(parseMessage(writeMessage(hello)), hello);
  const {carriages: _, ...older} = hello;
  t.deepEqual(parseMessage(writeMessage(older)), {...older, carriages: []});
  t.deepEqual(parseMessage(utf8('{"type":"probe","x":1}')), {type: 'unknown'});
});

for (const text of [
  '',
  '{',
  '[]',
  'null',
  '1',
  '{}',
  '{"type":1}',
  '{"type":"bye"}',
  '{"type":"bye","reason":"\\u001b["}',
  '{"type":"hello","version":1,"id":"x","generation":1}',
  `{"type":"hello","version":"1","id":"${'ab'.repeat(20)}","generation":1}`,
  `{"type":"hello","version":1,"id":"${'ab'.repeat(20)}","generation":1.5}`,
  `{"type":"bye","reason":"${'x'.repeat(2000)}"}`,
]) {
  test(`control message ${text.slice(0, 60)} is malformed`, (t) => t.is(parseMessage(utf8(text)), undefined));
}

test('no bytes make the control parser throw', (t) => {
  fc.assert(fc.property(fc.uint8Array({maxLength: 64}), (bytes) => (parseMessage(bytes), true)));
  t.pass();
});
