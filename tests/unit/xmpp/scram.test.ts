// SPDX-License-Identifier: MIT

import test from 'ava';
import {fromUtf8, utf8} from '../../../src/base/bytes.ts';
import {NO_BINDING, saslPrep, Scram} from '../../../src/xmpp/scram.ts';
import type {HashName} from '../../../src/xmpp/types.ts';
import {hashDeps} from './world.ts';

interface Vector {
  readonly hash: HashName;
  readonly nonce: string;
  readonly serverFirst: string;
  readonly clientFinal: string;
  readonly serverFinal: string;
}

/** RFC 5802, 5. */
const SHA1: Vector = {
  hash: 'SHA-1',
  nonce: 'fyko+d2lbbFgONRv9qkxdawL',
  serverFirst: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
  clientFinal: 'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
  serverFinal: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
};
/** RFC 7677, 3. */
const SHA256: Vector = {
  hash: 'SHA-256',
  nonce: 'rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

function scram({hash, nonce}: Vector, username = 'user'): Scram {
  return new Scram(hashDeps, {
    hash,
    nonce,
    username,
    password: 'pencil',
    cache: {key: '', salted: undefined},
    binding: NO_BINDING,
  });
}

for (const vector of [SHA1, SHA256]) {
  test(`does the exchange of the RFC with ${vector.hash}`, async (t) => {
    const client = scram(vector);
    t.is(fromUtf8(client.first()), `n,,n=user,r=${vector.nonce}`);
    t.is(fromUtf8(await client.final(utf8(vector.serverFirst))), vector.clientFinal);
    t.notThrows(() => client.verify(utf8(vector.serverFinal)));
  });

  test(`refuses a wrong, empty or missing server signature with ${vector.hash}`, async (t) => {
    const client = scram(vector);
    await client.final(utf8(vector.serverFirst));
    for (const wrong of [
      vector.serverFinal.replace('v=r', 'v=s').replace('v=6', 'v=7'),
      'v=',
      '',
      'v=!!!',
      `x=${vector.serverFinal}`,
    ]) {
      t.throws(() => client.verify(utf8(wrong)), {code: 'server-signature'});
    }
  });
}

test('refuses a success that comes before any challenge', (t) => {
  t.throws(() => scram(SHA256).verify(utf8(SHA256.serverFinal)), {code: 'server-signature'});
});

test('refuses a second challenge, so that its proof is made once', async (t) => {
  const client = scram(SHA256);
  await client.final(utf8(SHA256.serverFirst));
  await t.throwsAsync(client.final(utf8(SHA256.serverFirst)), {code: 'scram'});
});

test('refuses challenges that weaken the login', async (t) => {
  const {serverFirst, nonce} = SHA256;
  const bad = [
    serverFirst.replace('i=4096', 'i=4095'),
    serverFirst.replace('i=4096', 'i=1000001'),
    serverFirst.replace('i=4096', 'i=1e6'),
    serverFirst.replace('i=4096', 'i=-5000'),
    serverFirst.replace(',i=4096', ''),
    serverFirst.replace('r=r', 'r=x'),
    serverFirst.replace(/r=[^,]*/, `r=${nonce}`),
    serverFirst.replace(/s=[^,]*/, 's='),
    serverFirst.replace(/s=[^,]*/, 's=*'),
    `m=x,${serverFirst}`,
    '',
  ];
  for (const challenge of bad) await t.throwsAsync(scram(SHA256).final(utf8(challenge)), {code: 'scram'}, challenge);
});

test('reports the error that a server names', async (t) => {
  const client = scram(SHA1);
  await client.final(utf8(SHA1.serverFirst));
  t.throws(() => client.verify(utf8('e=other-error')), {code: 'scram', message: /other-error/});
});

test('escapes comma and equals sign in the name', (t) => {
  t.is(fromUtf8(scram(SHA1, 'a=b,c').first()), `n,,n=a=3Db=2Cc,r=${SHA1.nonce}`);
});

test('derives the key once for the same salt and rounds', async (t) => {
  let derived = 0;
  const deps = {
    ...hashDeps,
    pbkdf2: async (...args: Parameters<typeof hashDeps.pbkdf2>) => (derived++, hashDeps.pbkdf2(...args)),
  };
  const cache = {key: '', salted: undefined};
  const options = {
    hash: 'SHA-1' as const,
    nonce: SHA1.nonce,
    username: 'user',
    password: 'pencil',
    cache,
    binding: NO_BINDING,
  };
  for (let i = 0; i < 3; i++) await new Scram(deps, options).final(utf8(SHA1.serverFirst));
  t.is(derived, 1);
  await new Scram(deps, options).final(utf8(SHA1.serverFirst.replace('4096', '5000')));
  t.is(derived, 2);
});

test('prepares passwords as people type them', (t) => {
  t.is(saslPrep('I\u00adX'), 'IX');
  t.is(saslPrep('a\u00a0b'), 'a b');
  t.is(saslPrep('\u00aa\u2168'), 'aIX');
  t.is(saslPrep('u\u0308'), 'ü');
});
