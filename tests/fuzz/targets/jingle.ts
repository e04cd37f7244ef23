// SPDX-License-Identifier: MIT
// Signals of peers: a refusal is `malformed-signal` and quotes little of it; what is taken is written and read back the same.

import {IpopError} from '../../../src/base/errors.ts';
import {signedBytes} from '../../../src/tincan/identity.ts';
import {parseJingle, writeJingle} from '../../../src/tincan/jingle.ts';
import type {Signal} from '../../../src/tincan/types.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';
import {parseXml} from '../xml.ts';

const sid = '00112233445566778899aabbccddeeff';
const wrap = (action: string, content: string): string =>
  `<jingle xmlns="urn:xmpp:jingle:1" action="${action}" sid="${sid}">${content}</jingle>`;
const content = (inner: string): string => `<content creator="initiator" name="ipop">${inner}</content>`;
const ICE = 'xmlns="urn:xmpp:jingle:transports:ice-udp:1"';
const offer = (role: string, setup: string): string =>
  content(
    `<description xmlns="urn:ipop:link:0" version="1" network="home@rooms.example.org" from="${'a'.repeat(40)}" to="${'b'.repeat(40)}" boot="1700000000" generation="3" nonce="${sid}" role="${role}" name="Hütte 🏠" key="${'c'.repeat(64)}" signature="${'d'.repeat(128)}"/>` +
      `<transport ${ICE} ufrag="aB+/" pwd="abcdefghijklmnopqrstuv"><fingerprint xmlns="urn:xmpp:jingle:apps:dtls:0" hash="sha-256" setup="${setup}">${Array(32).fill('AB').join(':')}</fingerprint></transport>`,
  );

export const target: Target = {
  maxBytes: 3072,
  seeds: [
    wrap('session-initiate', offer('offer', 'actpass')),
    wrap('session-accept', offer('answer', 'active')),
    wrap(
      'transport-info',
      content(
        `<transport ${ICE}><candidate xmlns="urn:ipop:candidate:0">candidate:1 1 UDP 1 192.0.2.1 5000 typ host</candidate></transport>`,
      ),
    ),
    wrap('session-terminate', '<reason><success/><text>a &amp; b</text></reason>'),
  ],
  words: [
    '9007199254740993',
    'initiator',
    '&#10;',
    '&#x202e;',
    '&lt;',
    '\u2028',
    '\u{1f3e0}',
    'xmlns=""',
    '<text/>',
    '<reason>',
    '</reason>',
  ],
  check(data) {
    const element = parseXml(Buffer.from(data).toString());
    if (!element) return;
    let signal: Signal;
    try {
      signal = parseJingle(element);
    } catch (error) {
      if (!(error instanceof IpopError) || error.code !== 'malformed-signal') throw error;
      holds(error.message.length < 1200 && !/[\p{Cc}]/u.test(error.message.slice(-60)), error.message);
      return;
    }
    checkSignal(signal);
    // Never ours to write.
    if (signal.type === 'unsupported') return holds(signal.version !== 1, 'our own version is supported');
    const written = parseXml(writeJingle(signal).toString());
    holds(written !== undefined, 'what we write is XML');
    equal(parseJingle(written), expected(signal));
  },
};

/** Our own sentences are cut and cleaned before they are sent. */
function expected(signal: Signal): Signal {
  return signal.type === 'terminate' ? {...signal, text: signal.text.slice(0, 200).replace(/\p{Cs}$/u, '')} : signal;
}

function checkSignal(signal: Signal): void {
  holds(/^[0-9a-f]{32}$/.test(signal.sid), signal.sid);
  if (signal.type === 'candidate') holds(/^[ -~]{1,512}$/.test(signal.candidate), signal.candidate);
  if (signal.type === 'terminate') holds(/^[a-z0-9-]{1,32}$/.test(signal.reason), signal.reason);
  if (signal.type !== 'offer' && signal.type !== 'answer') return;
  const {signed} = signal;
  equal([signed.role, signed.nonce], [signal.type, signal.sid]);
  holds(Number.isSafeInteger(signed.boot) && Number.isSafeInteger(signed.generation), 'numbers that are not exact');
  // Each field fits its 16-bit length.
  holds(signedBytes(signed).length < 65_536, 'a field longer than its length can say');
}
