// SPDX-License-Identifier: MIT
// SCRAM (RFC 5802, RFC 7677) as bytes in, bytes out. The server proves that it knows the password too: `verify`.

import {base64, concat, equalBytes, fromBase64, fromUtf8, utf8} from '../base/bytes.ts';
import {IpopError} from '../base/errors.ts';
import type {HashName, XmppDeps} from './types.ts';

/** RFC 7677, 4 asks for 4096; a server that asks for less would make the password cheap to guess. */
const MIN_ROUNDS = 4_096;
/** About 10 s on a router. */
const MAX_ROUNDS = 1_000_000;

/** SASL mechanisms we take, best first. */
export const MECHANISMS: readonly (readonly [mechanism: string, hash: HashName])[] = [
  ['SCRAM-SHA-256', 'SHA-256'],
  ['SCRAM-SHA-1', 'SHA-1'],
];

export type ScramDeps = Pick<XmppDeps, 'hash' | 'hmac' | 'pbkdf2'>;

/** The last salted password: a reconnect needs no PBKDF2. */
export interface SaltedPassword {
  key: string;
  salted: Uint8Array | undefined;
}

/** What the client says of channel binding (RFC 5802, 6), and what it binds to. */
export interface ChannelBinding {
  /** `n`: we cannot; `y`: we could, but the server does not offer it; or its type. */
  readonly flag: 'n' | 'y' | 'p=tls-exporter';
  readonly data: Uint8Array;
}

export const NO_BINDING: ChannelBinding = {flag: 'n', data: new Uint8Array()};

export interface ScramOptions {
  readonly hash: HashName;
  readonly username: string;
  readonly password: string;
  /** Printable ASCII without comma, at least 18 random bytes' worth. */
  readonly nonce: string;
  readonly cache: SaltedPassword;
  readonly binding: ChannelBinding;
}

/** One login. Every method throws IpopError: `scram` for a server that breaks the rules, `server-signature` when it is not ours. */
export class Scram {
  readonly #deps: ScramDeps;
  readonly #options: ScramOptions;
  readonly #firstBare: string;
  #serverSignature: Uint8Array | undefined;

  constructor(deps: ScramDeps, options: ScramOptions) {
    this.#deps = deps;
    this.#options = options;
    const name = saslPrep(options.username).replace(/=/g, '=3D').replace(/,/g, '=2C');
    this.#firstBare = `n=${name},r=${options.nonce}`;
  }

  /** client-first-message. */
  first(): Uint8Array {
    return concat(this.#gs2(), utf8(this.#firstBare));
  }

  /** client-final-message, answering server-first-message. */
  async final(challenge: Uint8Array): Promise<Uint8Array> {
    if (this.#serverSignature) throw refused('sends a second challenge');
    const serverFirst = fromUtf8(challenge);
    const {nonce, salt, rounds} = this.#parseChallenge(serverFirst);
    const salted = await this.#salt(salt, rounds);
    // The server compares it with its own end: a flag or a TLS connection that somebody exchanged on the way makes the proof wrong.
    const withoutProof = `c=${base64(concat(this.#gs2(), this.#options.binding.data))},r=${nonce}`;
    const message = utf8(`${this.#firstBare},${serverFirst},${withoutProof}`);
    const {hash} = this.#options;
    const clientKey = this.#deps.hmac(hash, salted, utf8('Client Key'));
    const signature = this.#deps.hmac(hash, this.#deps.hash(hash, clientKey), message);
    const proof = clientKey.map((byte, i) => byte ^ (signature[i] as number));
    this.#serverSignature = this.#deps.hmac(hash, this.#deps.hmac(hash, salted, utf8('Server Key')), message);
    return concat(utf8(`${withoutProof},p=`), utf8(base64(proof)));
  }

  /** Checks server-final-message: only a server that knows the password (or its hash) can have made it. */
  verify(final: Uint8Array): void {
    const fields = parseFields(fromUtf8(final));
    const error = fields.get('e');
    if (error !== undefined) throw refused(`reports '${error}'`);
    const signature = fromBase64(fields.get('v') ?? '');
    if (!this.#serverSignature || !signature || !equalBytes(signature, this.#serverSignature)) {
      throw new IpopError(
        'server-signature',
        'server did not prove that it knows the password: it is not the right one',
      );
    }
  }

  #gs2(): Uint8Array {
    return utf8(`${this.#options.binding.flag},,`);
  }

  #parseChallenge(text: string): {nonce: string; salt: Uint8Array; rounds: number} {
    // RFC 5802, 5.1: `m` is reserved for extensions that must be understood.
    if (text.startsWith('m=')) throw refused('asks for an unknown extension');
    const fields = parseFields(text);
    const nonce = fields.get('r') ?? '';
    const salt = fromBase64(fields.get('s') ?? '');
    const count = fields.get('i') ?? '';
    const rounds = /^[1-9][0-9]{0,9}$/.test(count) ? Number(count) : 0;
    if (!nonce.startsWith(this.#options.nonce) || nonce.length === this.#options.nonce.length) {
      throw refused('did not extend our nonce');
    }
    if (!salt || salt.length === 0) throw refused('sends no salt');
    if (rounds < MIN_ROUNDS || rounds > MAX_ROUNDS) {
      throw refused(`asks for ${count} rounds; ${MIN_ROUNDS} to ${MAX_ROUNDS} are accepted`);
    }
    return {nonce, salt, rounds};
  }

  async #salt(salt: Uint8Array, rounds: number): Promise<Uint8Array> {
    const {cache, hash, password} = this.#options;
    const key = `${hash} ${rounds} ${base64(salt)}`;
    if (cache.key === key && cache.salted) return cache.salted;
    const salted = await this.#deps.pbkdf2(hash, utf8(saslPrep(password)), salt, rounds);
    cache.key = key;
    cache.salted = salted;
    return salted;
  }
}

/**
 * The part of SASLprep (RFC 4013) that changes what people type: other spaces become a space, soft hyphens and joiners go, NFKC.
 * Unassigned code points and bidirectional text are not checked: the server does.
 */
export function saslPrep(text: string): string {
  return text
    .replace(/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g, ' ')
    .replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/g, '')
    .normalize('NFKC');
}

function parseFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    if (part[1] === '=' && !fields.has(part.charAt(0))) fields.set(part.charAt(0), part.slice(2));
  }
  return fields;
}

function refused(what: string): IpopError {
  return new IpopError('scram', `login by SCRAM failed: server ${what}`);
}
