// SPDX-License-Identifier: MIT
// Signed descriptions for tests, by real keys.

import {hex} from '../../../src/base/bytes.ts';
import {signDescription} from '../../../src/tincan/identity.ts';
import type {SignedDescription} from '../../../src/tincan/types.ts';
import {type newIdentity} from '../../sim/world.ts';

export type Identity = ReturnType<typeof newIdentity>;

/** A valid offer, changed before it is signed. */
export function offerOf(from: Identity, to: string, changes: Partial<SignedDescription> = {}): SignedDescription {
  const unsigned = {
    role: 'offer',
    from: from.id,
    to,
    network: 'home@rooms.example.org',
    boot: 1_700_000_000,
    generation: 3,
    nonce: '00112233445566778899aabbccddeeff',
    description: {
      ufrag: 'aB+/',
      pwd: 'abcdefghijklmnopqrstuv',
      fingerprint: Array.from({length: 32}, (_, i) => i.toString(16).padStart(2, '0').toUpperCase()).join(':'),
      setup: 'actpass',
    },
    publicKey: hex(from.publicKey),
    name: 'Hütte 🏠',
    ...changes,
  } as const;
  return {...signDescription(unsigned, from.sign), ...(changes.signature ? {signature: changes.signature} : {})};
}
