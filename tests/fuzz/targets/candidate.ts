// SPDX-License-Identifier: MIT
// ICE candidates: which may be used, beside the same question put to Node's own address parser.

import {BlockList, isIP} from 'node:net';
import {parseCandidate, refuseCandidate} from '../../../src/tincan/candidate.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';

/** One for each family: an IPv4 address counts as ::ffff:a.b.c.d too. */
const [unusable4, unusable6] = [new BlockList(), new BlockList()];
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  unusable4.addSubnet(net, bits, 'ipv4');
for (const [net, bits] of [
  ['::', 80],
  ['ff00::', 8],
  ['fe80::', 10],
] as const)
  unusable6.addSubnet(net, bits, 'ipv6');

export const target: Target = {
  seeds: [
    'candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host',
    'candidate:2 1 udp 1 2001:db8::1 9 typ srflx raddr :: rport 0',
    'candidate:a+/ 2 UDP 1 ::ffff:192.0.2.1 65535 typ relay raddr 10.0.0.1 rport 9 generation 0',
    'candidate:1 1 TCP 1 x.local 0 typ prflx',
  ],
  words: [
    'raddr ',
    'rport ',
    ' typ ',
    '::',
    '1::2',
    'fe80::1',
    'fd00::',
    '127.0.0.1',
    '169.254.1.1',
    '255.255.255.255',
    '%',
    '.',
    '01',
  ],
  maxBytes: 600,
  check(data) {
    const line = Buffer.from(data).toString();
    const candidate = parseCandidate(line);
    const why = refuseCandidate(line, () => false);
    if (!candidate) return equal(why, 'malformed');
    holds(line.length <= 512 && /^[ -~]+$/.test(line), line);
    const {address, port, transport} = candidate;
    holds(port >= 0 && port <= 65535, line);
    const family = isIP(address);
    const bad = family === 4 ? unusable4.check(address, 'ipv4') : family === 0 || unusable6.check(address, 'ipv6');
    equal(why !== undefined, transport !== 'udp' || port === 0 || bad, `${line}: ${why}`);
    if (why !== undefined) return;
    equal(
      refuseCandidate(line, () => true),
      'inside the overlay',
    );
    // All that was asked about are addresses, never a name or a piece of text.
    refuseCandidate(line, (one) => {
      holds(isIP(one) !== 0, one);
      return false;
    });
  },
};
