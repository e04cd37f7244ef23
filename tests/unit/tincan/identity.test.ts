// SPDX-License-Identifier: MIT
import test from 'ava';
import {hex, utf8} from '../../../src/base/bytes.ts';
import {IpopError} from '../../../src/base/errors.ts';
import {
  checkDescription,
  type Expected,
  nodeId,
  REFUSAL_CODES,
  shortId,
  signedBytes,
} from '../../../src/tincan/identity.ts';
import type {SignedDescription} from '../../../src/tincan/types.ts';
import {newIdentity, sha256, verifyEd25519} from '../../sim/world.ts';
import {offerOf} from './signed.ts';

const alice = newIdentity();
const bob = newIdentity();
const mallory = newIdentity();
const crypto = {sha256, verify: verifyEd25519};
const expected: Expected = {self: bob.id, sender: alice.id, network: 'home@rooms.example.org'};

test('a node id is the first 160 bits of the key’s SHA-256', (t) => {
  // SHA-256 of 32 zero bytes begins 66687aad...
  t.is(nodeId(new Uint8Array(32), sha256), '66687aadf862bd776c8fc18b8e9f8e2008971485');
  t.is(shortId('66687aadf862bd776c8fc18b8e9f8e2008971485'), '66687aad');
});

test('what is signed is each field with its length, in the order of the protocol', (t) => {
  const offer = offerOf(alice, bob.id);
  const bytes = signedBytes(offer);
  const fields: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    fields.push(hex(bytes.subarray(at + 2, at + 2 + length)));
    at += 2 + length;
  }
  t.deepEqual(
    fields,
    [
      'ipop link description',
      '1',
      'offer',
      alice.id,
      bob.id,
      'home@rooms.example.org',
      '1700000000',
      '3',
      offer.nonce,
      `sha-256 ${offer.description.fingerprint}`,
      'actpass',
      'aB+/',
      'abcdefghijklmnopqrstuv',
      hex(alice.publicKey),
      'Hütte 🏠',
    ].map((field) => hex(utf8(field))),
  );
});

test('a valid offer and a valid answer pass', (t) => {
  t.notThrows(() => checkDescription(offerOf(alice, bob.id), expected, crypto));
  const offer = {nonce: offerOf(alice, bob.id).nonce, generation: 3};
  t.notThrows(() => checkDescription(offerOf(alice, bob.id, {role: 'answer'}), {...expected, offer}, crypto));
});

/** Each fault, and that all earlier checks come first: the fault is joined by every later one. */
const FAULTS: [code: string, changes: Partial<SignedDescription>, expected?: Partial<Expected>][] = [
  ['wrong-recipient', {to: mallory.id}],
  ['not-the-sender', {}, {sender: mallory.id}],
  ['key-mismatch', {publicKey: hex(mallory.publicKey)}],
  ['bad-signature', {signature: '00'.repeat(64)}],
  ['wrong-network', {network: 'other@rooms.example.org'}],
  ['wrong-nonce', {}, {offer: {nonce: 'ff'.repeat(16), generation: 3}}],
  ['old-generation', {}, {last: {boot: 1_700_000_000, generation: 3}}],
];

for (const [i, [code, changes, against]] of FAULTS.entries()) {
  test(`${code} is refused, and found before what is checked later`, (t) => {
    t.true(REFUSAL_CODES.includes(code));
    t.is(codeOf(offerOf(alice, bob.id, changes), {...expected, ...against}), code);
    const rest = FAULTS.slice(i);
    const all = Object.assign({}, ...rest.map(([, one]) => one)) as Partial<SignedDescription>;
    t.is(codeOf(offerOf(alice, bob.id, all), Object.assign({}, expected, ...rest.map(([, , one]) => one))), code);
  });
}

for (const field of ['role', 'boot', 'generation', 'nonce', 'name', 'network'] as const) {
  test(`a changed ${field} breaks the signature`, (t) => {
    const offer = offerOf(alice, bob.id);
    const other = offerOf(alice, bob.id, {
      role: 'answer',
      boot: 9,
      generation: 9,
      nonce: 'ab'.repeat(16),
      name: 'x',
      network: 'y',
    });
    t.is(codeOf({...offer, [field]: other[field]}, expected), 'bad-signature');
  });
}

for (const [field, value] of [
  ['fingerprint', 'FF'],
  ['setup', 'active'],
  ['ufrag', 'eeee'],
  ['pwd', 'p'.repeat(22)],
] as const) {
  test(`a changed ${field} breaks the signature`, (t) => {
    const offer = offerOf(alice, bob.id);
    t.is(codeOf({...offer, description: {...offer.description, [field]: value} as never}, expected), 'bad-signature');
  });
}

test('only a later boot, or a later generation of the same boot, is newer', (t) => {
  const at = (boot: number, generation: number) =>
    codeOf(offerOf(alice, bob.id, {boot, generation}), {...expected, last: {boot: 5, generation: 7}});
  t.deepEqual([at(5, 8), at(6, 1)], [undefined, undefined]);
  t.deepEqual([at(5, 7), at(5, 6), at(4, 99)], ['old-generation', 'old-generation', 'old-generation']);
});

test('an answer of another generation is refused', (t) => {
  const answer = offerOf(alice, bob.id, {role: 'answer', generation: 4});
  t.is(codeOf(answer, {...expected, offer: {nonce: answer.nonce, generation: 3}}), 'old-generation');
});

function codeOf(signed: SignedDescription, against: Expected): string | undefined {
  try {
    checkDescription(signed, against, crypto);
    return undefined;
  } catch (error) {
    return error instanceof IpopError ? error.code : `${error}`;
  }
}
