// SPDX-License-Identifier: MIT
// Makes the npm package's txiki.js run on Debian 12: it was linked on a newer system and asks for glibc 2.38, but for three functions
// only, which older versions have under other names. A copy is changed in place; the package stays as it is.

import {chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
/** The package's binary. */
export const ORIGINAL = join(root, 'node_modules/txiki.js/dist/linux-x64/tjs');
/** Where `prepareTjs` puts the copy. */
export const TJS = join(root, 'build/txiki/tjs');

const NEW_VERSION = 'GLIBC_2.38';
const OLD_VERSION = 'GLIBC_2.2.5';
/** C23's variants read binary numbers (0b1) too; the text after the prefix is the old name. */
const NEW_PREFIX = '__isoc23_';

/** What must be found, no more and no less: libm's and libc's version, and these two functions. */
const EXPECTED = ['libc.so.6', 'libm.so.6', 'sscanf', 'strtol'];

// Dynamic section tags and sizes of ELF64 (System V ABI, and the GNU symbol versioning extension).
const DT_NULL = 0;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const DT_VERNEED = 0x6ffffffe;
const DT_VERNEEDNUM = 0x6fffffff;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const SYMBOL_SIZE = 24;

/** Copies and changes the binary; quick, and safe while another process does the same. Throws when it is not the one we know. */
export function prepareTjs(): string {
  if (process.arch !== 'x64') throw new Error(`the npm package has txiki.js for x86-64 only, this is ${process.arch}`);
  const binary = readFileSync(ORIGINAL);
  const changed = lowerNeeds(binary);
  if (changed.join() !== EXPECTED.join())
    throw new Error(`${ORIGINAL} is another binary than expected: to change are ${changed.join(', ')}`);
  // Never in the place of an equal one: a program that just starts reads its own file by its name.
  if (existsSync(TJS) && readFileSync(TJS).equals(binary)) return TJS;
  mkdirSync(dirname(TJS), {recursive: true});
  const temporary = `${TJS}.${process.pid}`;
  writeFileSync(temporary, binary);
  chmodSync(temporary, 0o755);
  renameSync(temporary, TJS);
  return TJS;
}

/** Changes an ELF64 little-endian image in place; returns the files and functions whose entries changed, sorted. */
export function lowerNeeds(elf: Buffer): string[] {
  const image = new Image(elf);
  const changed = [...image.lowerVersions(), ...image.renameSymbols()];
  return changed.sort();
}

class Image {
  readonly #elf: Buffer;
  readonly #segments: {type: number; offset: number; address: number; size: number}[] = [];
  readonly #dynamic = new Map<number, number>();

  constructor(elf: Buffer) {
    this.#elf = elf;
    if (elf.readUInt32BE(0) !== 0x7f454c46 || elf[4] !== 2 || elf[5] !== 1) throw new Error('not a 64-bit ELF file');
    const [table, size, count] = [this.#long(32), elf.readUInt16LE(54), elf.readUInt16LE(56)];
    for (let at = table; at < table + size * count; at += size) {
      const [offset, address] = [this.#long(at + 8), this.#long(at + 16)];
      this.#segments.push({type: elf.readUInt32LE(at), offset, address, size: this.#long(at + 32)});
    }
    const dynamic = this.#segments.find(({type}) => type === PT_DYNAMIC);
    if (!dynamic) throw new Error('no dynamic section');
    for (let at = dynamic.offset; this.#long(at) !== DT_NULL; at += 16)
      this.#dynamic.set(this.#long(at), this.#long(at + 8));
  }

  /** Lets every entry that asks for the new version ask for the old. */
  lowerVersions(): string[] {
    const changed: string[] = [];
    const old = this.#versions().find(({name}) => name === OLD_VERSION);
    for (const {file, name, at} of this.#versions()) {
      if (name !== NEW_VERSION || !old) continue;
      // vna_hash and vna_name; the number that symbols refer to (vna_other) stays the entry's own.
      this.#elf.copy(this.#elf, at, old.at, old.at + 4);
      this.#elf.copy(this.#elf, at + 8, old.at + 8, old.at + 12);
      changed.push(file);
    }
    return changed;
  }

  /** Lets symbols begin after the prefix in their name. Undefined symbols are in no hash table, so nothing else knows the name. */
  renameSymbols(): string[] {
    const changed: string[] = [];
    const start = this.#tag(DT_SYMTAB);
    // The string table follows the symbols in every linker's layout; a name out of it would be no name.
    for (let at = start; at < this.#tag(DT_STRTAB); at += SYMBOL_SIZE) {
      const name = this.#string(this.#elf.readUInt32LE(at));
      const undefinedSymbol = this.#elf.readUInt16LE(at + 6) === 0;
      if (!undefinedSymbol || !name.startsWith(NEW_PREFIX)) continue;
      this.#elf.writeUInt32LE(this.#elf.readUInt32LE(at) + NEW_PREFIX.length, at);
      changed.push(name.slice(NEW_PREFIX.length));
    }
    return changed;
  }

  /** Each needed version: of which file, its name, where its entry (Elf64_Vernaux) is. */
  #versions(): {file: string; name: string; at: number}[] {
    const found = [];
    let need = this.#tag(DT_VERNEED);
    for (let files = this.#dynamic.get(DT_VERNEEDNUM) ?? 0; files > 0; files--) {
      const file = this.#string(this.#elf.readUInt32LE(need + 4));
      let at = need + this.#elf.readUInt32LE(need + 8);
      for (let count = this.#elf.readUInt16LE(need + 2); count > 0; count--) {
        found.push({file, name: this.#string(this.#elf.readUInt32LE(at + 8)), at});
        at += this.#elf.readUInt32LE(at + 12);
      }
      need += this.#elf.readUInt32LE(need + 12);
    }
    return found;
  }

  #string(offset: number): string {
    const start = this.#tag(DT_STRTAB) + offset;
    return this.#elf.toString('latin1', start, this.#elf.indexOf(0, start));
  }

  /** Place in the file of what a dynamic tag's address points to. */
  #tag(tag: number): number {
    const address = this.#dynamic.get(tag) ?? -1;
    const inside = this.#segments.find(
      (segment) => segment.type === PT_LOAD && address >= segment.address && address < segment.address + segment.size,
    );
    if (!inside) throw new Error(`dynamic tag ${tag} is missing`);
    return address - inside.address + inside.offset;
  }

  #long(at: number): number {
    return Number(this.#elf.readBigUInt64LE(at));
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(prepareTjs());
