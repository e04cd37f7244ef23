// SPDX-License-Identifier: MIT
// Makes new inputs of old ones. Randomness is handed in, so that a run can be repeated.

/** What mutation draws from. */
export interface Pool {
  readonly inputs: readonly Uint8Array[];
  readonly words: readonly Uint8Array[];
  /** Two values that were compared and differed: one may stand in the input where the other is wanted. */
  readonly compared: readonly (readonly [string, string])[];
}

/** A number from 0 to below `n`. */
export type Below = (n: number) => number;

/** xorshift32; `seed` is not 0. */
export function belowFrom(seed: number): Below {
  let state = seed | 0;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** A new input of at most `max` bytes. */
export function mutate(input: Uint8Array, pool: Pool, max: number, below: Below): Uint8Array {
  let data = input;
  for (let steps = 1 + below(below(2) === 0 ? 1 : 6); steps > 0; steps--) data = step(data, pool, below);
  return data.length > max ? data.subarray(0, max) : data;
}

const INTERESTING = Buffer.from('\0\x01\x7f\x80\xff\n\r\t "\'<>&;=/\\#:@{}[],.0919azAZ', 'latin1');

function step(data: Uint8Array, pool: Pool, below: Below): Uint8Array {
  const at = below(data.length + 1);
  const length = below(Math.min(data.length - at, below(4) === 0 ? 256 : 16) + 1);
  const part = data.subarray(at, at + length);
  switch (below(11)) {
    case 0:
      return splice(data, at, length, []);
    case 1:
      return splice(data, at, 0, part);
    case 2:
      return splice(data, at, 1, [(data[at] ?? 0) ^ (1 << below(8))]);
    case 3:
      return splice(data, at, below(2), [below(256)]);
    case 4:
      return splice(data, at, below(2), [INTERESTING[below(INTERESTING.length)] as number]);
    case 5:
      return splice(data, below(data.length + 1), 0, part);
    case 6:
      return splice(data, at, below(2) * length, pieceOf(pool.inputs[below(pool.inputs.length)] ?? data, below));
    case 7:
    case 8:
      return splice(data, at, below(2) * length, pool.words[below(pool.words.length)] ?? []);
    case 9:
      return splice(data, at, 0, many(part, below));
    default:
      return replaceCompared(data, pool, below);
  }
}

function splice(data: Uint8Array, at: number, remove: number, insert: ArrayLike<number>): Uint8Array {
  const out = new Uint8Array(at + insert.length + Math.max(0, data.length - at - remove));
  out.set(data.subarray(0, at));
  out.set(insert, at);
  out.set(data.subarray(at + remove), at + insert.length);
  return out;
}

function pieceOf(data: Uint8Array, below: Below): Uint8Array {
  const at = below(data.length + 1);
  return data.subarray(at, at + below(data.length - at + 1));
}

/** The same again and again: what is slow or recursive shows with it. */
function many(part: Uint8Array, below: Below): Uint8Array {
  const times = below(part.length > 0 && below(8) === 0 ? Math.ceil(1024 / part.length) : 4);
  const out = new Uint8Array(part.length * times);
  for (let i = 0; i < times; i++) out.set(part, i * part.length);
  return out;
}

function replaceCompared(data: Uint8Array, {compared}: Pool, below: Below): Uint8Array {
  const pair = compared[below(compared.length || 1)];
  if (!pair) return data;
  const [from, to] = below(2) === 0 ? pair : [pair[1], pair[0]];
  const at = from === '' ? -1 : Buffer.from(data.buffer, data.byteOffset, data.length).indexOf(from);
  return at < 0 ? data : splice(data, at, Buffer.byteLength(from), Buffer.from(to));
}
