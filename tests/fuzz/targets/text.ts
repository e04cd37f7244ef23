// SPDX-License-Identifier: MIT
// UTF-8, hex, base64 and text maps, which the bundle brings itself, beside Node's own.

import {base64, fromBase64, fromHex, fromUtf8, hex, Utf8Decoder, utf8} from '../../../src/base/bytes.ts';
import {oneLine} from '../../../src/base/log.ts';
import {parseTextMap, writeTextMap} from '../../../src/base/text-map.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const strict = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});

export const target: Target = {
  seeds: [
    'key=value\nserver=a=b\n',
    'Hütte 🏠 \u2028',
    Uint8Array.of(0xf0, 0x9f, 0x8f, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xff),
  ],
  words: ['\u{1f3e0}', 'é', '€', '=', '\r\n', '__proto__=', '\ufeff'],
  maxBytes: 512,
  check(data) {
    const text = fromUtf8(data);
    const real = decode(data);
    if (real !== undefined) equal(text, real, 'UTF-8 is read otherwise');
    else holds(text.includes('\ufffd'), 'bytes that are no UTF-8 leave no mark');
    equal(inPieces(data), text, 'in pieces');
    equal(Buffer.from(utf8(text)), Buffer.from(text), 'UTF-8 is written otherwise');
    equal(hex(data), Buffer.from(data).toString('hex'));
    equal(fromHex(hex(data)), data);
    equal(base64(data), Buffer.from(data).toString('base64'));
    equal(fromBase64(base64(data)), data);
    const digits = fromHex(text);
    if (digits) equal(hex(digits), text.toLowerCase());
    holds(!/[\p{Cc}\p{Zl}\p{Zp}]/u.test(oneLine(text)), 'a line breaks');
    maps(data, new Choices(data));
  },
};

function decode(data: Uint8Array): string | undefined {
  try {
    return strict.decode(data);
  } catch {
    return undefined;
  }
}

function inPieces(data: Uint8Array): string {
  const decoder = new Utf8Decoder();
  let text = '';
  for (const byte of data) text += decoder.decode(Uint8Array.of(byte));
  return text + decoder.decode(Uint8Array.of(0)).slice(0, -1);
}

function maps(data: Uint8Array, choices: Choices): void {
  for (const [key, value] of Object.entries(parseTextMap(data))) {
    holds(!/[=\n]/.test(key) && key !== '' && value?.includes('\n') === false, key);
  }
  const entries: Record<string, string> = Object.create(null);
  while (!choices.done) entries[choices.oneOf(['host', 'port', '__proto__', 'constructor'])] = choices.text(40);
  const read = parseTextMap(writeTextMap(entries));
  for (const [key, value] of Object.entries(entries)) equal(read[key], value.replace(/[\r\n]/g, ' '), key);
}
