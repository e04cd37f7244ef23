// SPDX-License-Identifier: MIT
// The part of node:crypto and of Node's globals that the cores' tests use, over the native library, for runtimes that have neither.

import {utf8, fromUtf8} from '../../src/base/bytes.ts';
import {Native, type HashAlgorithm} from '../../src/native/native.ts';
import type {Host} from '../../src/runtime/host.ts';
import {Timers} from '../../src/runtime/timers.ts';

let native: Native;
let folder: string;
let keys = 0;

/** To be called before anything else here; keys are put into `keyFolder`, and the process ends after `longestMs`. */
export function useHost(host: Host, keyFolder: string, longestMs: number): void {
  native = new Native(host.native);
  folder = keyFolder;
  const timers = new Timers(host);
  // For the @xmpp packages, as in the daemon: to clear a running timer of the runtime may abort it.
  timers.install();
  const setImmediate = (callback: () => void): unknown => timers.after(0, callback);
  const alloc = (length: number): Bytes => new Bytes(length);
  Object.assign(globalThis, {Buffer: {from, concat, alloc}, setImmediate});
  // Promises alone keep no runtime from its end.
  timers.after(longestMs, () => host.exit(1));
}

class Bytes extends Uint8Array {
  override toString(encoding = 'utf8'): string {
    if (encoding === 'hex') return [...this].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    if (encoding === 'base64') return btoa(String.fromCharCode(...this));
    return fromUtf8(new Uint8Array(this));
  }
}

/** As Node's Buffer.from. */
function from(source: string | ArrayLike<number>, encoding = 'utf8'): Bytes {
  if (typeof source !== 'string') return new Bytes(source);
  if (encoding === 'hex') return new Bytes((source.match(/../g) ?? []).map((digits) => parseInt(digits, 16)));
  if (encoding === 'base64') return new Bytes([...atob(source)].map((letter) => letter.charCodeAt(0)));
  return new Bytes(utf8(source));
}

/** As Node's Buffer.concat. */
function concat(parts: readonly Uint8Array[]): Bytes {
  return new Bytes(parts.flatMap((part) => [...part]));
}

const bytesOf = (data: Uint8Array | string): Uint8Array => (typeof data === 'string' ? utf8(data) : data);
const algorithmOf = (name: string): HashAlgorithm => name.toLowerCase().replace('-', '') as HashAlgorithm;

/** What createHash and createHmac return: what is given in one or more pieces, and its digest. */
function gather(digest: (data: Uint8Array) => Uint8Array): {
  update(data: Uint8Array | string): typeof made;
  digest(): Bytes;
} {
  let all: Uint8Array = new Uint8Array(0);
  const made = {
    update(data: Uint8Array | string) {
      all = concat([all, bytesOf(data)]);
      return made;
    },
    digest: () => new Bytes(digest(all)),
  };
  return made;
}

export const createHash = (name: string) => gather((data) => native.hash(algorithmOf(name), data));
export const createHmac = (name: string, key: Uint8Array | string) =>
  gather((data) => native.hmac(algorithmOf(name), bytesOf(key), data));

const derived = new Map<string, Bytes>();

/** RFC 8018, one block; thousands of slow calls, so each key is derived once. */
export function pbkdf2Sync(
  password: Uint8Array | string,
  salt: Uint8Array,
  rounds: number,
  length: number,
  name: string,
): Bytes {
  const id = [name, rounds, bytesOf(password), '/', salt].join();
  const hmac = (data: Uint8Array): Uint8Array => native.hmac(algorithmOf(name), bytesOf(password), data);
  let key = derived.get(id);
  if (key === undefined) {
    let last = hmac(concat([salt, new Uint8Array([0, 0, 0, 1])]));
    key = new Bytes(last);
    for (let i = 1; i < rounds; i++) {
      last = hmac(last);
      for (let at = 0; at < key.length; at++) key[at]! ^= last[at]!;
    }
    derived.set(id, key);
  }
  return key.slice(0, length) as Bytes;
}

export function timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Bytes before the key in an Ed25519 public key of form SPKI DER (RFC 8410). */
const PREFIX_LENGTH = 12;

/** Ed25519: each key is a file of native's. */
export function generateKeyPairSync(): {publicKey: {export(): Uint8Array}; privateKey: string} {
  const path = `${folder}/${++keys}.key`;
  const raw = native.openIdentity(path);
  return {publicKey: {export: () => concat([new Uint8Array(PREFIX_LENGTH), raw])}, privateKey: path};
}

export function sign(_algorithm: null, data: Uint8Array, privateKey: string): Uint8Array {
  native.openIdentity(privateKey);
  return native.sign(data);
}

export function createPublicKey({key}: {key: Uint8Array}): Uint8Array {
  return key.slice(PREFIX_LENGTH);
}

export function verify(_algorithm: null, data: Uint8Array, publicKey: Uint8Array, signature: Uint8Array): boolean {
  return native.verify(publicKey, data, signature);
}
