// SPDX-License-Identifier: MIT
// Our reader beside the real libuci (crate libuci-sys, tests/uci-reference): both take or refuse a file, and find the same in it.

import {type ChildProcess, execFileSync, spawn} from 'node:child_process';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import test from 'ava';
import fc from 'fast-check';
import {parseUci, UciError} from '../../../src/uci/parse.ts';

const TREE = join(import.meta.dirname, '../../..');
const TARGET = join(TREE, 'build/uci-reference');
/** UCI_RUNS: so many files of each kind instead. */
const RUNS = Number(process.env['UCI_RUNS'] ?? 4_000);

let reference: Reference;

/** Asks the reference, a line for a line. */
class Reference {
  readonly #child: ChildProcess;
  readonly #waiting: ((answer: string) => void)[] = [];

  constructor(child: ChildProcess) {
    this.#child = child;
    createInterface({input: child.stdout!}).on('line', (line) => this.#waiting.shift()?.(line.trim()));
    child.on('exit', () => this.#waiting.splice(0).forEach((answer) => answer('the reference died')));
  }

  async read(text: string): Promise<string> {
    return await new Promise((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) return resolve('the reference died');
      this.#waiting.push(resolve);
      this.#child.stdin!.write(`${Buffer.from(text).toString('hex')}\n`);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

test.before(() => {
  const manifest = join(TREE, 'tests/uci-reference/Cargo.toml');
  const cargo = ['cargo', 'build', '--quiet', '--locked', '--manifest-path', manifest, '--target-dir', TARGET];
  execFileSync('cargo', cargo.slice(1), {timeout: 220_000});
  // cargo run knows where the libraries are.
  const run = ['run', ...cargo.slice(2)];
  reference = new Reference(spawn('cargo', run, {stdio: ['pipe', 'pipe', 'ignore']}));
});

test.after.always(() => reference?.stop());

/** What ours makes of it, in the words of the reference. */
function ours(text: string): string {
  const hex = (word: string): string => (word === '' ? '.' : Buffer.from(word).toString('hex'));
  try {
    const words = parseUci(text, 'ipop').flatMap(({type, name, options}) => [
      's',
      hex(type),
      name === undefined ? '-' : hex(name),
      ...options.flatMap((option) => [option.isList ? 'l' : 'o', hex(option.name), ...option.values.map(hex)]),
    ]);
    return words.join(' ');
  } catch (error) {
    if (error instanceof UciError) return 'refused';
    throw error;
  }
}

const word = fc.oneof(
  fc.constantFrom('home', 'x', 'a_b', 'a-b', 'main', '1', 'ü', 'config', 'option', ''),
  fc.string({maxLength: 4, unit: fc.constantFrom('a', 'B', '1', '_', '-', '.', 'é', '$', '/', ':', '@', '!')}),
);
/** What quoting can look like, right and wrong. */
const inside = fc.string({
  maxLength: 8,
  unit: fc.constantFrom('a', ' ', '\t', '\n', '\\', "'", '"', '#', ';', '\r', '\\\n', '\\\r\n', 'é', '\v', '\f', '\\"'),
});
const value = fc.oneof(
  word,
  inside.map((text) => `'${text.replaceAll("'", '')}'`),
  inside.map((text) => `"${text.replaceAll('"', '').replace(/\\+$/, '')}"`),
  inside.map((text) => `'${text.replaceAll("'", "'\\''")}'`),
  fc.tuple(word, inside, word).map(([a, b, c]) => `${a}"${b}"${c}`),
  inside,
);
const blank = fc.constantFrom(' ', ' ', ' ', '\t', '  ', ' \t', '');
const keyword = fc.constantFrom(
  'config',
  'config',
  'option',
  'option',
  'option',
  'list',
  'list',
  'c',
  'o',
  'l',
  'package',
  'p',
  'conf',
  '#',
  '',
  "'option'",
);
const end = fc.constantFrom('\n', '\n', '\n', '\n\n', '\r\n', ' # note\n', '#x\n', ';', '; ', ' ;\n', '', ' \\\n');
const words = fc.array(fc.tuple(blank, value), {maxLength: 3}).map((list) => list.flat().join(''));
const line = fc.tuple(blank, keyword, blank, words, end).map((parts) => parts.join(''));
const file = fc.array(line, {maxLength: 8}).map((lines) => lines.join(''));
/** Mostly right, so that much of it is read and not refused. */
const name = fc.constantFrom('home', 'x', 'a_b', 'main');
const good = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom('t', 'u', 't-1'), fc.option(name)).map(([t, n]) => `config ${t} ${n ?? ''}`),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('option', 'list', 'o', 'l'), name, value).map((w) => `\t${w.join(' ')}`),
  },
);
const goodFile = fc
  .array(
    fc.tuple(good, end).map((parts) => parts.join('')),
    {maxLength: 8},
  )
  .map((lines) => `config t\n${lines.join('')}`);

/** Fails where they differ; returns which part of the files was read and not refused. NUL and what is no UTF-8 are left out: no editor writes them. */
async function compare(texts: fc.Arbitrary<string>): Promise<number> {
  let read = 0;
  const property = fc.asyncProperty(texts, async (text) => {
    const theirs = await reference.read(text);
    if (theirs !== 'refused') read++;
    if (ours(text) !== theirs) throw new Error(`ours: ${ours(text)}\nlibuci: ${theirs}`);
  });
  await fc.assert(property, {numRuns: RUNS});
  return read / RUNS;
}

test('our reader and libuci agree about files of all kinds', async (t) => {
  const part = await compare(file);
  t.log(`${Math.round(100 * part)} % of them are good`);
  t.true(part > 0.02);
});

test('our reader and libuci agree about files that are nearly right', async (t) => {
  const part = await compare(goodFile);
  t.log(`${Math.round(100 * part)} % of them are good`);
  t.true(part > 0.2);
});
