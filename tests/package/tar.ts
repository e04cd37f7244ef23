// SPDX-License-Identifier: MIT
// Reads a tar archive header by header, because the tests want to see what tar programs hide: types, magic, owners.

export interface TarMember {
  readonly name: string;
  /** One character: 0 file, 2 symbolic link, 5 folder, x and g pax headers. */
  readonly type: string;
  /** Octal digits. */
  readonly mode: string;
  /** Numbers, as `0:0`. */
  readonly owner: string;
  readonly mtimeSec: number;
  readonly magic: string;
  /** ` -> target` of a symbolic link. */
  readonly target: string;
  readonly content: Buffer;
}

const BLOCK = 512;

/** All members, in their order. Throws when a checksum is wrong or the end is missing. */
export function readTar(archive: Buffer): TarMember[] {
  const members: TarMember[] = [];
  for (let at = 0; at + BLOCK <= archive.length;) {
    const header = archive.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) return members;
    const text = (from: number, length: number): string =>
      header.toString('latin1', from, from + length).replace(/\0.*$/s, '');
    const number = (from: number, length: number): number => parseInt(text(from, length).trim() || '0', 8);
    const blank = Buffer.from(header).fill(' ', 148, 156);
    if (number(148, 8) !== blank.reduce((sum, byte) => sum + byte, 0)) throw new Error(`wrong checksum at byte ${at}`);
    const size = number(124, 12);
    const target = text(157, 100);
    members.push({
      name: text(0, 100).replace(/(.)\/$/, '$1'),
      type: text(156, 1),
      mode: number(100, 8).toString(8),
      owner: `${number(108, 8)}:${number(116, 8)}`,
      mtimeSec: number(136, 12),
      magic: text(257, 8),
      target: target === '' ? '' : ` -> ${target}`,
      content: archive.subarray(at + BLOCK, at + BLOCK + size),
    });
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
  }
  throw new Error('the archive has no end');
}
