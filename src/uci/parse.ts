// SPDX-License-Identifier: MIT
// UCI's file format, as libuci reads it in strict mode: an error refuses the whole file.

/** An option or list as it stands after the whole file was read. */
export interface UciOption {
  readonly name: string;
  /** One value, or the items of a list. */
  readonly values: readonly string[];
  readonly isList: boolean;
  /** Where it stands, for a list its first item; from 1. */
  readonly line: number;
}

export interface UciSection {
  readonly type: string;
  /** undefined: anonymous. */
  readonly name: string | undefined;
  readonly line: number;
  readonly options: readonly UciOption[];
}

/** Refuses a file; `message` is a sentence that begins with file and line. */
export class UciError extends Error {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** The sentence without file and line. */
  readonly text: string;

  constructor(file: string, line: number, text: string) {
    super(`${file}:${line}: ${text}`);
    this.name = 'UciError';
    this.file = file;
    this.line = line;
    this.text = text;
  }
}

interface Section extends UciSection {
  readonly options: UciOption[];
}

interface Statement {
  readonly line: number;
  readonly words: readonly string[];
}

/** Reads a configuration file. Throws UciError at the first thing libuci would refuse. */
export function parseUci(text: string, file: string): UciSection[] {
  const sections: Section[] = [];
  for (const statement of new Scanner(text, file).statements()) {
    const [keyword = '', ...words] = statement.words;
    switch (keyword) {
      case 'package':
      case 'p':
        checkPackage(words, file, statement.line);
        break;
      case 'config':
      case 'c':
        openSection(sections, words, file, statement.line);
        break;
      case 'option':
      case 'o':
      case 'list':
      case 'l':
        addOption(sections.at(-1), keyword.startsWith('l'), words, file, statement.line);
        break;
      default:
        throw new UciError(file, statement.line, `'${keyword}' is none of package, config, option, list`);
    }
  }
  return sections.sort((a, b) => a.line - b.line);
}

/** Writes sections as `uci export` does; `parseUci` reads the same back. Options without a value cannot be written. */
export function printUci(sections: readonly UciSection[]): string {
  let text = '';
  for (const {type, name, options} of sections) {
    text += `${text ? '\n' : ''}config ${/^[\w.-]+$/.test(type) ? type : quote(type)}${name === undefined ? '' : ` ${quote(name)}`}\n`;
    for (const {name: key, values, isList} of options) {
      for (const value of values) text += `\t${isList ? 'list' : 'option'} ${key} ${quote(value)}\n`;
    }
  }
  return text;
}

function quote(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

function checkPackage(words: readonly string[], file: string, line: number): void {
  if (words.length > 1) throw new UciError(file, line, 'too many words after package');
  if (!/^[\w-]+$/.test(words[0] ?? '')) throw new UciError(file, line, `'${words[0] ?? ''}' is no name for a package`);
}

/** A section of a name that was there before goes on, as the last one until all is read, so that options go to it. */
function openSection(sections: Section[], words: readonly string[], file: string, line: number): void {
  const [type = '', name = ''] = words;
  if (words.length > 2) throw new UciError(file, line, 'too many words after config');
  if (!/^[\x21-\x7e]+$/.test(type)) throw new UciError(file, line, `'${type}' is no type for a section`);
  if (!/^\w*$/.test(name)) {
    throw new UciError(file, line, `'${name}' is no name for a section: only letters, digits and _ may be in it`);
  }
  const at = name === '' ? -1 : sections.findIndex((section) => section.name === name);
  const [old] = at < 0 ? [] : sections.splice(at, 1);
  if (old && old.type !== type) {
    throw new UciError(
      file,
      line,
      `section '${name}' is of type ${old.type} in line ${old.line}, and of type ${type} here`,
    );
  }
  sections.push(old ?? {type, name: name === '' ? undefined : name, line, options: []});
}

function addOption(
  section: Section | undefined,
  isList: boolean,
  words: readonly string[],
  file: string,
  line: number,
): void {
  const [name = '', value = ''] = words;
  if (!section) throw new UciError(file, line, 'an option before the first config');
  if (words.length > 2)
    throw new UciError(
      file,
      line,
      `too many words after ${isList ? 'list' : 'option'} ${name}: put the value in quotes`,
    );
  if (!/^\w+$/.test(name)) {
    throw new UciError(file, line, `'${name}' is no name for an option: only letters, digits and _ may be in it`);
  }
  const {options} = section;
  const at = options.findIndex((option) => option.name === name);
  const old = at < 0 ? undefined : options[at];
  if (isList) {
    const values = [...(old?.values ?? []), value];
    options.splice(at < 0 ? options.length : at, 1, {name, values, isList: true, line: old?.line ?? line});
  } else if (value === '') {
    // To libuci an option without a value is no option.
    if (at >= 0) options.splice(at, 1);
  } else {
    options.splice(at < 0 ? options.length : at, 1, {name, values: [value], isList: false, line});
  }
}

/** Cuts the text into statements of words, minding quotes, escapes, comments and continued lines. */
class Scanner {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #line = 1;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  *statements(): Generator<Statement> {
    while (this.#at < this.#text.length) {
      const line = this.#line;
      const words = this.#words();
      if (words.length > 0) yield {line, words};
    }
  }

  /** The words up to the end of the line. */
  #words(): string[] {
    const words: string[] = [];
    for (;;) {
      const c = this.#peek();
      if (c === '' || c === '\n') {
        this.#take();
        return words;
      }
      // `;` ends a statement, and libuci drops what follows.
      if (c === '#' || c === ';') this.#skipLine();
      else if (isBlank(c)) this.#take();
      else words.push(this.#word());
    }
  }

  #word(): string {
    let word = '';
    for (;;) {
      const c = this.#peek();
      if (c === '' || c === '\n' || c === '#' || c === ';' || isBlank(c)) return word;
      this.#take();
      if (c === "'") word += this.#quoted("'");
      else if (c === '"') word += this.#quoted('"');
      else if (c === '\\') word += this.#escaped();
      else word += c;
    }
  }

  #quoted(end: string): string {
    const line = this.#line;
    let text = '';
    for (;;) {
      const c = this.#take();
      if (c === '') throw new UciError(this.#file, line, 'a quote is opened here and never closed');
      if (c === end) return text;
      text += c === '\\' && end === '"' ? this.#escaped() : c;
    }
  }

  /** The next character as it is; a line break joins lines. */
  #escaped(): string {
    const c = this.#take();
    if (c === '\r' && this.#peek() === '\n') this.#take();
    else if (c !== '\n') return c;
    return '';
  }

  #skipLine(): void {
    while (this.#peek() !== '' && this.#peek() !== '\n') this.#take();
  }

  #peek(): string {
    return this.#text.charAt(this.#at);
  }

  #take(): string {
    const c = this.#text.charAt(this.#at++);
    if (c === '\n') this.#line++;
    return c;
  }
}

function isBlank(c: string): boolean {
  return c === ' ' || c === '\t' || c === '\r' || c === '\v' || c === '\f';
}
