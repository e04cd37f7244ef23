// SPDX-License-Identifier: MIT
// Text maps: lines of `key=value`, the seam's form for a handful of named strings (native/include/ipop.h).

import {fromUtf8, utf8} from './bytes.ts';

/** Parsed text map: a key's first value wins. */
export type TextMap = Readonly<Record<string, string | undefined>>;

/** Parses a text map; lines without `=` are passed over. */
export function parseTextMap(bytes: Uint8Array): TextMap {
  const map: Record<string, string> = Object.create(null);
  for (const line of fromUtf8(bytes).split('\n')) {
    const at = line.indexOf('=');
    if (at > 0 && !(line.slice(0, at) in map)) map[line.slice(0, at)] = line.slice(at + 1);
  }
  return map;
}

/** Writes a text map; an array repeats its key, undefined leaves it out, line breaks in values become spaces. */
export function writeTextMap(
  map: Readonly<Record<string, string | number | readonly string[] | undefined>>,
): Uint8Array {
  let text = '';
  for (const [key, value] of Object.entries(map)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) text += `${key}=${`${one}`.replace(/[\r\n]/g, ' ')}\n`;
  }
  return utf8(text);
}
