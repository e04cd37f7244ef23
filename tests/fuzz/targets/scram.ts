// SPDX-License-Identifier: MIT
// SCRAM's server messages: only the true challenge of a server that knows the password ends in a login; all else is an IpopError.

import {createHash, createHmac} from 'node:crypto';
import {fromUtf8, utf8} from '../../../src/base/bytes.ts';
import {IpopError} from '../../../src/base/errors.ts';
import {NO_BINDING, saslPrep, Scram, type ScramDeps} from '../../../src/xmpp/scram.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const hash = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
const deps: ScramDeps = {
  hash: (_name, data) => hash(data),
  hmac: (_name, key, data) => hmac(key, data),
  // Quick: what it costs is not what is looked at.
  pbkdf2: async (_name, password, salt, rounds) =>
    hmac(password, utf8(`${Buffer.from(salt).toString('hex')} ${rounds}`)),
};
const NONCE = 'rOprNGfwEbeRWgbNEkqO';

export const target: Target = {
  // The length of the challenge, the challenge, the end.
  seeds: [
    `\x3cr=${NONCE}abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096v=AAAA`,
    `\x38r=${NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`,
    `\x3cm=x,r=${NONCE}abcd,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096e=other`,
    `\x27r=${NONCE}x,s=QQ==,i=1000001`,
  ],
  words: [NONCE, ',r=', ',s=', ',i=', 'i=4096', 'i=1000000', 'v=', 'e=invalid-proof', 'm=', 's=QQ=='],
  maxBytes: 300,
  async check(data) {
    const choices = new Choices(data);
    const challenge = choices.bytes(120);
    const answer = choices.rest();
    const password = fromUtf8(answer).slice(0, 20);
    const client = new Scram(deps, {
      hash: 'SHA-256',
      username: 'user=,',
      password,
      nonce: NONCE,
      cache: {key: '', salted: undefined},
      binding: NO_BINDING,
    });
    const first = fromUtf8(client.first());
    equal(first, `n,,n=user=3D=2C,r=${NONCE}`);
    const final = await refused(() => client.final(challenge));
    if (final === undefined) {
      // No challenge was good, so no end is.
      holds((await refused(async () => client.verify(answer))) === undefined, 'accepted without a challenge');
      return;
    }
    const signature = checkFinal(fromUtf8(challenge), fromUtf8(final), first.slice(3), saslPrep(password));
    const guess = await refused(async () => (client.verify(answer), true));
    equal(
      guess === true,
      /(^|,)v=/.test(fromUtf8(answer)) && answer.length > 40 && fromUtf8(answer).includes(signature),
    );
    client.verify(utf8(`v=${signature}`));
  },
};

/** The server's side of RFC 5802, 3: checks the proof, and gives the server's signature. */
function checkFinal(challenge: string, final: string, bare: string, password: string): string {
  const fields = challenge.split(',');
  const of = (name: string): string => fields.find((field) => field.startsWith(`${name}=`))?.slice(2) ?? '';
  const rounds = Number(of('i'));
  holds(of('r').startsWith(NONCE) && of('r') !== NONCE, 'a nonce that is not ours');
  holds(Number.isInteger(rounds) && rounds >= 4096 && rounds <= 1_000_000, `${rounds} rounds`);
  const salted = hmac(utf8(password), utf8(`${Buffer.from(of('s'), 'base64').toString('hex')} ${rounds}`));
  const [withoutProof = '', proof = ''] = final.split(',p=');
  equal(withoutProof, `c=biws,r=${of('r')}`);
  const message = utf8(`${bare},${challenge},${withoutProof}`);
  const clientKey = hmac(salted, utf8('Client Key'));
  const expected = clientKey.map((byte, i) => byte ^ (hmac(hash(clientKey), message)[i] ?? 0));
  equal(proof, Buffer.from(expected).toString('base64'), 'proof');
  return Buffer.from(hmac(hmac(salted, utf8('Server Key')), message)).toString('base64');
}

async function refused<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof IpopError) || !['scram', 'server-signature'].includes(error.code)) throw error;
    return undefined;
  }
}
