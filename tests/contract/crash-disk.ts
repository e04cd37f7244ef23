// SPDX-License-Identifier: MIT
// What a power cut may leave of a folder: from the system calls of a program that wrote into it (strace), every state that POSIX allows
// at every moment. Not synced: data may be there up to any byte, or be zeros after it; changes of a folder may each be there or not.

import {chmodSync, mkdirSync, writeFileSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';

/** What strace must tell of. */
export const TRACED =
  'open,openat,creat,mkdir,mkdirat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,' +
  'fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,close,dup,dup2,dup3,mmap';
/** Strings whole and in hex; no other program's. */
export const STRACE: readonly string[] = [
  'strace',
  '-f',
  '--seccomp-bpf',
  '-xx',
  '-s',
  '65536',
  '-e',
  `trace=${TRACED}`,
];

type Inode = {readonly kind: 'file'; synced: Buffer; data: Buffer} | {readonly kind: 'folder'};
/** Names that appear (an inode) or go (undefined) together. */
type Change = {readonly folder: string; readonly names: ReadonlyMap<string, Inode | undefined>};
type Files = Map<string, Buffer | 'folder'>;

export interface Crash {
  /** What was about to happen, in words. */
  readonly before: string;
  /** Path -> content, of what the disk has then. */
  readonly files: ReadonlyMap<string, Buffer | 'folder'>;
  /** Marks that the program had set by then. */
  readonly marks: readonly string[];
}

/** Follows one program's calls below `root`, which is there and empty but for `start`. */
export class CrashDisk {
  readonly #root: string;
  readonly #marks: string;
  readonly #durable = new Map<string, Inode>();
  #pending: Change[] = [];
  readonly #open = new Map<number, string>();
  readonly #now = new Map<string, Inode>();
  readonly #set: string[] = [];

  /** `marks`: a folder whose new entries are marks, and no state. */
  constructor(root: string, marks: string, start: ReadonlyMap<string, Buffer | 'folder'> = new Map()) {
    this.#root = root;
    this.#marks = marks;
    for (const [path, data] of start) {
      const inode: Inode = data === 'folder' ? {kind: 'folder'} : {kind: 'file', synced: data, data};
      this.#durable.set(path, inode);
      this.#now.set(path, inode);
    }
  }

  /** Every state after a cut at any moment of the trace, the one after its end included. Throws on a call that it does not know. */
  *crashes(trace: string): Generator<Crash> {
    for (const call of calls(trace)) {
      const about = call.name === 'write' ? [] : call.strings.map((one) => basename(`${one}`));
      if (this.#concerns(call)) yield* this.#states([call.name, ...about].join(' '));
      this.#apply(call);
    }
    yield* this.#states('nothing more');
  }

  *#states(before: string): Generator<Crash> {
    const seen = new Set<string>();
    for (let subset = 0; subset < 1 << this.#pending.length; subset++) {
      const tree = new Map(this.#durable);
      this.#pending.forEach(({folder, names}, i) => {
        if ((subset & (1 << i)) === 0) return;
        for (const [name, inode] of names) {
          if (inode === undefined) tree.delete(join(folder, name));
          else tree.set(join(folder, name), inode);
        }
      });
      for (const files of contents(tree, this.#root)) {
        const key = [...files]
          .map(([path, data]) => `${path}=${data === 'folder' ? '/' : data.toString('hex')}`)
          .sort()
          .join('\n');
        if (seen.has(key)) continue;
        seen.add(key);
        yield {before, files, marks: [...this.#set]};
      }
    }
  }

  #concerns({name, strings, fd, result}: Call): boolean {
    if (result < 0) return false;
    if (['close', 'dup', 'dup2', 'dup3', 'mmap'].includes(name)) return false;
    if (fd !== undefined && strings.every((one) => !this.#isInside(one))) return this.#open.has(fd);
    return strings.some((one) => this.#isInside(one));
  }

  #isInside(path: string | Buffer): boolean {
    return path.toString().startsWith(`${this.#root}/`) || path.toString() === this.#root;
  }

  #apply(call: Call): void {
    const {name, strings, fd = -1, result, flags} = call;
    if (name === 'close') return void this.#open.delete(fd);
    if (result < 0) return;
    const [from = '', to = ''] = strings.map(String);
    if ((name === 'mkdir' || name === 'mkdirat') && dirname(from) === this.#marks)
      return void this.#set.push(basename(from));
    if (!this.#concerns(call)) return;
    switch (name) {
      case 'openat':
        this.#open.set(result, from);
        if (flags.includes('O_TRUNC')) throw new Error(`opens ${from} with O_TRUNC: not modelled`);
        if (flags.includes('O_CREAT') && !this.#now.has(from))
          this.#change(from, {kind: 'file', synced: Buffer.alloc(0), data: Buffer.alloc(0)});
        return;
      case 'mkdir':
        return this.#change(from, {kind: 'folder'});
      case 'write': {
        const inode = this.#now.get(this.#open.get(fd) ?? '');
        if (inode?.kind !== 'file') throw new Error(`writes to ${this.#open.get(fd)}, which is no file`);
        inode.data = Buffer.concat([inode.data, (strings[0] as Buffer).subarray(0, result)]);
        return;
      }
      case 'fsync':
        return this.#sync(this.#open.get(fd) ?? '');
      case 'linkat':
      case 'rename':
        return this.#change(to, this.#now.get(from), name === 'rename' ? from : undefined);
      case 'unlink':
        return this.#change(from, undefined);
      default:
        throw new Error(`the model of the disk does not know ${name}(${strings.map(String).join(', ')})`);
    }
  }

  #change(path: string, inode: Inode | undefined, gone?: string): void {
    if (gone !== undefined && dirname(gone) !== dirname(path))
      throw new Error('a rename between folders: not modelled');
    const names = new Map<string, Inode | undefined>([[basename(path), inode]]);
    if (gone !== undefined) names.set(basename(gone), undefined);
    this.#pending.push({folder: dirname(path), names});
    for (const [name, one] of names) {
      if (one === undefined) this.#now.delete(join(dirname(path), name));
      else this.#now.set(join(dirname(path), name), one);
    }
  }

  #sync(path: string): void {
    const inode = this.#now.get(path);
    if (inode?.kind === 'file') inode.synced = inode.data;
    const [done, left] = [true, false].map((is) => this.#pending.filter(({folder}) => (folder === path) === is));
    for (const {folder, names} of done ?? []) {
      for (const [name, one] of names) {
        if (one === undefined) this.#durable.delete(join(folder, name));
        else this.#durable.set(join(folder, name), one);
      }
    }
    this.#pending = left ?? [];
  }
}

/** Every content of the files that are not synced whole. */
function* contents(tree: ReadonlyMap<string, Inode>, root: string): Generator<Files> {
  const files: Files = new Map();
  const open: [string, Inode & {kind: 'file'}][] = [];
  for (const [path, inode] of tree) {
    // In a folder that is lost all is lost.
    if (!isReachable(dirname(path), tree, root)) continue;
    files.set(path, inode.kind === 'folder' ? 'folder' : inode.data);
    if (inode.kind === 'file' && !inode.synced.equals(inode.data)) open.push([path, inode]);
  }
  if (open.length === 0) return yield files;
  for (const [path, {synced, data}] of open) {
    for (let length = synced.length; length <= data.length; length++) {
      yield new Map([...files, [path, data.subarray(0, length)]]);
      yield new Map([...files, [path, Buffer.concat([data.subarray(0, length), Buffer.alloc(data.length - length)])]]);
    }
  }
}

function isReachable(folder: string, tree: ReadonlyMap<string, Inode>, root: string): boolean {
  return folder === root || (tree.has(folder) && isReachable(dirname(folder), tree, root));
}

/** Makes these files, below another root, as they would be found. */
export function lay(files: Crash['files'], from: string, to: string): void {
  mkdirSync(to, {recursive: true});
  for (const [path, data] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const target = join(to, path.slice(from.length));
    if (data === 'folder') mkdirSync(target, {mode: 0o700});
    else writeFileSync(target, data, {mode: 0o600});
    chmodSync(target, data === 'folder' ? 0o700 : 0o600);
  }
}

interface Call {
  readonly name: string;
  /** Its string arguments, as bytes. */
  readonly strings: readonly Buffer[];
  readonly flags: string;
  /** Its first argument, when that is a number. */
  readonly fd: number | undefined;
  readonly result: number;
}

/** Every call that has ended, in the order of their ends. What one thread began while another ran is in two pieces. */
function* calls(trace: string): Generator<Call> {
  const begun = new Map<string, string>();
  for (const line of trace.split('\n')) {
    const [, thread = '', text = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const first = /^(.*?)\s*<unfinished \.\.\.>$/.exec(text)?.[1];
    if (first !== undefined) begun.set(thread, first);
    const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
    const call = parse(rest === undefined ? text : `${begun.get(thread)}${rest}`);
    if (call !== undefined) yield call;
  }
}

/** undefined: no call, or one that has not ended. */
function parse(text: string): Call | undefined {
  const [, name, rest = '', result] = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(text) ?? [];
  if (name === undefined) return undefined;
  const hex = [...rest.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((match) => (match[1] ?? '').replaceAll('\\x', ''));
  const fd = /^(\d+)/.exec(rest)?.[1];
  return {
    name,
    strings: hex.map((one) => Buffer.from(one, 'hex')),
    flags: rest.replace(/"[^"]*"/g, ''),
    fd: fd === undefined ? undefined : Number(fd),
    result: Number(result),
  };
}
