// SPDX-License-Identifier: MIT
// SCRAM bound to the TLS connection (RFC 5802, RFC 9266), and what is said where it cannot be.

import {createHash, createHmac, pbkdf2Sync} from 'node:crypto';
import test from 'ava';
import {fromUtf8, utf8} from '../../../src/base/bytes.ts';
import {Scram, type ChannelBinding} from '../../../src/xmpp/scram.ts';
import {run} from './run.ts';
import {hashDeps} from './world.ts';

const EXPORTER = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff';
const PLUS = ['SCRAM-SHA-1', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'];
const PLAIN = ['SCRAM-SHA-1', 'SCRAM-SHA-256'];

const NONCE = 'rOprNGfwEbeRWgbNEkqO';
const SERVER_FIRST = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;

function scram(binding: ChannelBinding): Scram {
  const cache = {key: '', salted: undefined};
  return new Scram(hashDeps, {hash: 'SHA-256', nonce: NONCE, username: 'user', password: 'pencil', cache, binding});
}

// Made from RFC 7677's example (section 3) by Python's hashlib and hmac, with binding data of the bytes 00 to 1e and ff.
test('does an exchange that was computed by another program, bound by tls-exporter', async (t) => {
  const client = scram({flag: 'p=tls-exporter', data: Buffer.from(EXPORTER, 'hex')});
  t.is(fromUtf8(client.first()), `p=tls-exporter,,n=user,r=${NONCE}`);
  t.is(
    fromUtf8(await client.final(utf8(SERVER_FIRST))),
    'c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR7/,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=prFzyz189JOXfRpLQk/Qytd6Vsmm3qGvqSpSnW8+/Sw=',
  );
  t.notThrows(() => client.verify(utf8('v=XfGvR8Zv/7rvdeFUiTv+KP0yYfxFG74RuZewrqfD3KY=')));
});

test('does an exchange that was computed by another program, with the flag y', async (t) => {
  const client = scram({flag: 'y', data: new Uint8Array()});
  t.is(fromUtf8(client.first()), `y,,n=user,r=${NONCE}`);
  t.is(
    fromUtf8(await client.final(utf8(SERVER_FIRST))),
    'c=eSws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=FoqiHTtQEDE8lz1CdaEe3tK4mS+iMDTl77SPyDS53DY=',
  );
  t.notThrows(() => client.verify(utf8('v=dI4KpiQJwBr1+V+K6U1dA6l6I4I9DUNXWND4pcpRU3U=')));
});

interface Case {
  readonly title: string;
  readonly mechanisms: readonly string[];
  readonly bindings?: readonly string[];
  readonly exporter?: string;
  readonly chosen: string;
}

const BOUND = 'SCRAM-SHA-256-PLUS p=tls-exporter,,';
const OURS = ['tls-server-end-point', 'tls-exporter'];

const CASES: readonly Case[] = [
  {
    title: 'binds where the server offers our type',
    mechanisms: PLUS,
    bindings: OURS,
    exporter: EXPORTER,
    chosen: BOUND,
  },
  {
    title: 'prefers binding to a better hash',
    mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-512-PLUS', 'SCRAM-SHA-256-PLUS'],
    bindings: OURS,
    exporter: EXPORTER,
    chosen: BOUND,
  },
  {
    title: 'says y where it could and the server does not offer it',
    mechanisms: PLAIN,
    exporter: EXPORTER,
    chosen: 'SCRAM-SHA-256 y,,',
  },
  {title: 'says n where it cannot', mechanisms: PLUS, bindings: OURS, chosen: 'SCRAM-SHA-256 n,,'},
  {title: 'says n where neither can', mechanisms: PLAIN, chosen: 'SCRAM-SHA-256 n,,'},
  {
    title: 'says n where the server does not name its types',
    mechanisms: PLUS,
    exporter: EXPORTER,
    chosen: 'SCRAM-SHA-256 n,,',
  },
  {
    title: 'says n where there is no type in common, which y would make a server refuse',
    mechanisms: PLUS,
    bindings: ['tls-unique'],
    exporter: EXPORTER,
    chosen: 'SCRAM-SHA-256 n,,',
  },
  {
    title: 'says n where binding is offered with other hashes only',
    mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-512-PLUS'],
    bindings: OURS,
    exporter: EXPORTER,
    chosen: 'SCRAM-SHA-256 n,,',
  },
];

for (const {title, chosen, ...script} of CASES) {
  test(`a login ${title}`, async (t) => {
    const world = run(t, script);
    world.session.start();
    await world.clock.advance(100);
    t.is(`${world.server.mechanism} ${world.server.gs2}`, chosen);
    t.is(world.states.at(-1), 'online', world.log.join('\n'));
  });
}

test('a login through somebody in between, who has a TLS connection of his own to each side, fails', async (t) => {
  const world = run(t, {mechanisms: PLUS, bindings: OURS, exporter: EXPORTER, serverExporter: 'ee'.repeat(32)});
  world.session.start();
  await world.clock.advance(100);
  t.is(world.states.at(-1), 'stopped not-authorized');
  t.true(
    world.log.some((line) => line.includes('somebody sits in between')),
    world.log.join('\n'),
  );
});

test('a TLS version whose exporter is not safe to bind to is not bound to', async (t) => {
  const world = run(t, {mechanisms: PLUS, bindings: OURS, exporter: EXPORTER, tls: 'TLSv1.2'});
  world.session.start();
  await world.clock.advance(100);
  t.is(`${world.server.mechanism} ${world.server.gs2}`, 'SCRAM-SHA-256 n,,');
  t.is(world.states.at(-1), 'online');
});

test('the computed vectors are what RFC 5802 says, worked out here once more', (t) => {
  const salted = pbkdf2Sync('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'), 4096, 32, 'sha256');
  const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest();
  const channel = Buffer.concat([Buffer.from('p=tls-exporter,,'), Buffer.from(EXPORTER, 'hex')]).toString('base64');
  const bare = `c=${channel},r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`;
  const message = `n=user,r=${NONCE},${SERVER_FIRST},${bare}`;
  const key = hmac(salted, 'Client Key');
  const signature = hmac(createHash('sha256').update(key).digest(), message);
  const proof = key.map((byte, i) => byte ^ (signature[i] ?? 0));
  t.is(Buffer.from(proof).toString('base64'), 'prFzyz189JOXfRpLQk/Qytd6Vsmm3qGvqSpSnW8+/Sw=');
});
