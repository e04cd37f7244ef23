// SPDX-License-Identifier: MIT

import test from 'ava';
import fc from 'fast-check';
import {rejoinDelayMs, retryDelayMs} from '../../../src/xmpp/backoff.ts';

test('tries again within 1 s first and within 5 s always, so that links are back 10 s after an outage', (t) => {
  fc.assert(
    fc.property(fc.integer({min: 1, max: 1e6}), fc.double({min: 0, max: 1, noNaN: true}), (failures, random) => {
      const delay = retryDelayMs('refused', failures, random);
      t.true(delay >= 100 && delay <= 5_000);
      t.true(retryDelayMs('eof', 1, random) <= 1_000);
    }),
  );
});

test('spreads tries over a span that doubles', (t) => {
  t.deepEqual(
    [1, 2, 3, 4, 5].map((failures) => retryDelayMs('timeout', failures, 1)),
    [1_000, 2_000, 4_000, 5_000, 5_000],
  );
  t.is(retryDelayMs('timeout', 5, 0), 100);
});

test('counts the time that a try waited in vain as delay, but leaves the server some air', (t) => {
  t.is(retryDelayMs('timeout', 5, 1, 1_500), 3_500);
  t.is(retryDelayMs('timeout', 5, 1, 7_000), 100);
  t.is(retryDelayMs('conflict', 5, 1, 7_000), 60_000);
});

test('leaves a refused password alone for 5 minutes, and certificate faults and conflicts for 60 s', (t) => {
  for (const code of ['not-authorized', 'account-disabled', 'credentials-expired'])
    t.is(retryDelayMs(code, 1, 0), 300_000);
  for (const code of ['tls-unknown-ca', 'tls-expired', 'ca-file', 'conflict', 'server-signature']) {
    t.is(retryDelayMs(code, 1, 0), 60_000);
  }
});

test('asks a room that refused within half a second first, then up to every 5 s', (t) => {
  t.deepEqual(
    [1, 2, 3, 4, 5, 100].map((refusals) => rejoinDelayMs(refusals, 1)),
    [500, 1_000, 2_000, 4_000, 5_000, 5_000],
  );
  t.is(rejoinDelayMs(1, 0), 250);
});
