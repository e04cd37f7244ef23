// SPDX-License-Identifier: MIT
// Who a node is, and how it says so: docs/PROTOCOL.md, sections 1 and 3.1.

import {concat, fromHex, hex, utf8} from '../base/bytes.ts';
import {IpopError} from '../base/errors.ts';
import type {NodeId, SignedDescription} from './types.ts';

export type Sha256 = (data: Uint8Array) => Uint8Array;
/** Ed25519 (RFC 8032) by this node's key: 64 bytes. */
export type Sign = (data: Uint8Array) => Uint8Array;
export type Verify = (publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array) => boolean;

/** What a received description is held against. */
export interface Expected {
  readonly self: NodeId;
  /** Nick of the occupant whose JID it came from. */
  readonly sender: NodeId;
  readonly network: string;
  /** For an answer: our own offer's. */
  readonly offer?: {readonly nonce: string; readonly generation: number};
  /** For an offer: the last one taken from this peer. */
  readonly last?: Generation | undefined;
}

/** Order of one peer's offers: by boot, then generation. */
export interface Generation {
  readonly boot: number;
  readonly generation: number;
}

/** Codes of refused descriptions: someone, or something broken, claims what it cannot prove. Health shows them. */
export const REFUSAL_CODES: readonly string[] = [
  'wrong-recipient',
  'not-the-sender',
  'key-mismatch',
  'bad-signature',
  'wrong-network',
  'wrong-nonce',
  'old-generation',
  'fingerprint',
  'wrong-hello',
];

/** Node id of a 32-byte public key: 40 hex digits. */
export function nodeId(publicKey: Uint8Array, sha256: Sha256): NodeId {
  return hex(sha256(publicKey).subarray(0, 20));
}

/** First 8 digits of an id, as people see it. */
export function shortId(id: NodeId): string {
  return id.slice(0, 8);
}

/** The byte string that is signed: each field as a 16-bit length and its bytes. Fields are at most 65535 bytes (the parser sees to it). */
export function signedBytes(signed: Omit<SignedDescription, 'signature'>): Uint8Array {
  const {description} = signed;
  const fields = [
    'ipop link description',
    '1',
    signed.role,
    signed.from,
    signed.to,
    signed.network,
    `${signed.boot}`,
    `${signed.generation}`,
    signed.nonce,
    `sha-256 ${description.fingerprint}`,
    description.setup,
    description.ufrag,
    description.pwd,
    signed.publicKey,
    signed.name,
  ];
  return concat(
    ...fields.flatMap((field) => {
      const bytes = utf8(field);
      return [Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes];
    }),
  );
}

/** Completes a description with this node's signature. */
export function signDescription(unsigned: Omit<SignedDescription, 'signature'>, sign: Sign): SignedDescription {
  return {...unsigned, signature: hex(sign(signedBytes(unsigned)))};
}

/** Throws IpopError, with a code that names the check, unless the description is what it must be; checks in the order of PROTOCOL 3.1. */
export function checkDescription(
  signed: SignedDescription,
  expected: Expected,
  crypto: {readonly sha256: Sha256; readonly verify: Verify},
): void {
  const key = fromHex(signed.publicKey);
  const signature = fromHex(signed.signature);
  const {offer, last} = expected;
  const refuse = (code: string, text: string) => {
    throw new IpopError(code, `Cannot accept the ${signed.role}: ${text}`);
  };
  if (signed.to !== expected.self) refuse('wrong-recipient', `it is for node ${shortId(signed.to)}`);
  if (signed.from !== expected.sender) {
    refuse(
      'not-the-sender',
      `it says it is from node ${shortId(signed.from)}, but ${shortId(expected.sender)} sent it`,
    );
  }
  if (!key || nodeId(key, crypto.sha256) !== signed.from) refuse('key-mismatch', 'its key is not that of the node');
  if (!key || !signature || !crypto.verify(key, signedBytes(signed), signature)) {
    refuse('bad-signature', 'its signature is wrong');
  }
  if (signed.network !== expected.network) refuse('wrong-network', `it is for room "${signed.network}"`);
  if (offer && signed.nonce !== offer.nonce) refuse('wrong-nonce', 'it answers another offer');
  if (offer && signed.generation !== offer.generation)
    refuse('old-generation', 'it answers an offer of another generation');
  if (last && !isNewer(signed, last)) {
    refuse('old-generation', `${signed.boot}/${signed.generation} is not after ${last.boot}/${last.generation}`);
  }
}

function isNewer(a: Generation, b: Generation): boolean {
  return a.boot > b.boot || (a.boot === b.boot && a.generation > b.generation);
}
