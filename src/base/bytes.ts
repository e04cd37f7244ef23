// SPDX-License-Identifier: MIT
// UTF-8, hex and base64 without TextEncoder or Buffer, which quickjs-ng lacks. base64 leans on btoa/atob, which every runtime has.

/** UTF-8 (RFC 3629) of a string; lone surrogates become U+FFFD. */
export function utf8(text: string): Uint8Array {
  const out: number[] = [];
  for (const character of text) {
    let code = character.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) out.push(code);
    else if (code < 0x800) out.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) out.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else out.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(out);
}

/** Decodes UTF-8 that may be cut anywhere: whole characters come out, the rest waits for the next bytes. Bad bytes become U+FFFD. */
export class Utf8Decoder {
  #rest: number[] = [];

  decode(bytes: Uint8Array): string {
    const input = this.#rest.length > 0 ? [...this.#rest, ...bytes] : bytes;
    let text = '';
    let i = 0;
    while (i < input.length) {
      const lead = input[i] as number;
      const length =
        lead < 0x80
          ? 1
          : lead >= 0xc2 && lead < 0xe0
            ? 2
            : lead >= 0xe0 && lead < 0xf0
              ? 3
              : lead >= 0xf0 && lead < 0xf5
                ? 4
                : 0;
      if (length === 0) {
        text += '\ufffd';
        i++;
        continue;
      }
      let code = length === 1 ? lead : lead & (0x7f >> length);
      let have = 1;
      while (have < length && i + have < input.length && ((input[i + have] as number) & 0xc0) === 0x80) {
        code = (code << 6) | ((input[i + have] as number) & 63);
        have++;
      }
      if (have < length && i + have >= input.length) break;
      const overlong = (length === 3 && code < 0x800) || (length === 4 && (code < 0x10000 || code > 0x10ffff));
      text += have < length || overlong || (code >= 0xd800 && code < 0xe000) ? '\ufffd' : String.fromCodePoint(code);
      i += have;
    }
    this.#rest = Array.from(input.slice(i));
    return text;
  }
}

/** Text of a whole UTF-8 byte string. */
export function fromUtf8(bytes: Uint8Array): string {
  const decoder = new Utf8Decoder();
  const text = decoder.decode(bytes);
  return text + decoder.decode(Uint8Array.of(0)).slice(0, -1);
}

/** Lower-case hex digits. */
export function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Bytes of hex digits; undefined when it is not an even run of them. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

/** RFC 4648 base64. */
export function base64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Bytes of base64; undefined when it is none. */
export function fromBase64(text: string): Uint8Array | undefined {
  try {
    const binary = atob(text);
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** One byte string of several. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Whether two byte strings are equal; takes as long for unequal ones of one length. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
}
