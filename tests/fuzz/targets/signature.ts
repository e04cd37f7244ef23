// SPDX-License-Identifier: MIT
// Signed descriptions: accepted is what was signed for us, now, by this node, and nothing that differs in any field.

import {createHash} from 'node:crypto';
import {hex} from '../../../src/base/bytes.ts';
import {IpopError} from '../../../src/base/errors.ts';
import {checkDescription, nodeId, REFUSAL_CODES, signDescription, signedBytes} from '../../../src/tincan/identity.ts';
import type {SignedDescription} from '../../../src/tincan/types.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const sha256 = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
/** Stands for Ed25519: quick, and nobody forges it by chance. */
const sign = (data: Uint8Array): Uint8Array => createHash('sha512').update('key').update(data).digest();
const verify = (_key: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean =>
  Buffer.from(sign(data)).equals(signature);

const key = Uint8Array.from({length: 32}, (_, i) => i);
const self = 'b'.repeat(40);
const sender = nodeId(key, sha256);
const network = 'home@rooms.example.org';
const TEXTS = ['from', 'to', 'network', 'nonce', 'publicKey', 'name', 'signature'] as const;
const PARTS = ['ufrag', 'pwd', 'fingerprint', 'setup'] as const;

export const target: Target = {
  seeds: [new Uint8Array(16), Uint8Array.from({length: 64}, (_, i) => i * 7)],
  words: ['offer', 'answer', sender, self, network, 'actpass', 'active'],
  check(data) {
    const choices = new Choices(data);
    const good = signed(choices);
    const offered = choices.upTo(1) === 1 ? {nonce: good.nonce, generation: good.generation} : undefined;
    const expected = {self, sender, network, ...(offered ? {offer: offered} : {})};
    const accepted = verdict(good, expected);
    equal(accepted, undefined, 'what was signed is refused');
    const changed = change(good, choices);
    const why = verdict(changed, expected);
    equal(why === undefined, same(changed, good), `${why}: ${JSON.stringify(changed)}`);
    // One byte string for each description: no field can lend bytes to its neighbour.
    const {signature: _, ...rest} = good;
    const {signature: _other, ...others} = changed;
    equal(hex(signedBytes(changed)) === hex(signedBytes(good)), same(rest, others), 'two descriptions, one signature');
    const last = {boot: good.boot, generation: good.generation};
    equal(verdict(good, {self, sender, network, last}), 'old-generation', 'an offer is taken twice');
  },
};

function verdict(description: SignedDescription, expected: Parameters<typeof checkDescription>[1]): string | undefined {
  try {
    checkDescription(description, expected, {sha256, verify});
    return undefined;
  } catch (error) {
    if (!(error instanceof IpopError)) throw error;
    holds(REFUSAL_CODES.includes(error.code), error.code);
    return error.code;
  }
}

function signed(choices: Choices): SignedDescription {
  const description = {
    ufrag: choices.text(20),
    pwd: choices.text(40),
    fingerprint: choices.text(20),
    setup: choices.oneOf(['actpass', 'active', 'passive'] as const),
  };
  const unsigned = {
    role: choices.oneOf(['offer', 'answer'] as const),
    from: sender,
    to: self,
    network,
    boot: 1 + choices.upTo(40_000),
    generation: 1 + choices.upTo(300),
    nonce: choices.text(32),
    description,
    publicKey: hex(key),
    name: choices.text(30),
  };
  return signDescription(unsigned, sign);
}

/** One to three fields put otherwise. */
function change(good: SignedDescription, choices: Choices): SignedDescription {
  let changed = {...good};
  for (let times = choices.upTo(2); times >= 0; times--) {
    const field = choices.oneOf([...TEXTS, ...PARTS, 'boot', 'generation', 'role', 'move']);
    const text = choices.text(40);
    if ((TEXTS as readonly string[]).includes(field)) changed = {...changed, [field]: text};
    else if ((PARTS as readonly string[]).includes(field)) {
      changed = {...changed, description: {...changed.description, [field]: text}};
    } else if (field === 'role') changed = {...changed, role: choices.oneOf(['offer', 'answer'] as const)};
    else if (field === 'move') {
      const {ufrag, pwd} = changed.description;
      const all = ufrag + pwd;
      const at = choices.upTo(all.length);
      changed = {...changed, description: {...changed.description, ufrag: all.slice(0, at), pwd: all.slice(at)}};
    } else changed = {...changed, [field]: 1 + choices.upTo(40_000)};
  }
  return changed;
}

/** As bytes: what UTF-8 cannot say (lone surrogates) cannot be told apart, and never gets this far. */
function same(a: object, b: object): boolean {
  return Buffer.from(JSON.stringify(sorted(a))).equals(Buffer.from(JSON.stringify(sorted(b))));
}

function sorted(value: object): unknown[] {
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, one]) => [name, typeof one === 'object' && one !== null ? sorted(one as object) : one]);
}
