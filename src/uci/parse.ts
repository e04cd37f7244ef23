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
  const openings = new Map<Section, number>();
  let current: Section | undefined;
  for (const statement of new Scanner(text, file).statements()) {
    const [keyword = '', ...words] = statement.words;
    switch (keyword) {
      case 'package':
      case 'p':
        checkPackage(words, file, statement.line);
        break;
      case 'config':
      case 'c':
        current = openSection(sections, words, file, statement.line);
        openings.set(current, (openings.get(current) ?? 0) + 1);
        break;
      case 'option':
      case 'o':
      case 'list':
      case 'l':
        // A fault of libuci, whose tools would refuse the file too.
        if (current && (openings.get(current) ?? 0) > 2) {
          throw new UciError(
            file,
            statement.line,
            `section '${current.name}' is begun a third time, and libuci takes no options there`,
          );
        }
        addOption(current, keyword.startsWith('l'), words, file, statement.line);
        break;
      default:
        throw new UciError(file, statement.line, `'${keyword}' is none of package, config, option, list`);
    }
  }
  return sections;
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

/** A section of a name that was there before goes on. */
function openSection(sections: Section[], words: readonly string[], file: string, line: number): Section {
  const [type = '', name = ''] = words;
  if (words.length > 2) throw new UciError(file, line, 'too many words after config');
  if (!/^[\x21-\x7e]+$/.test(type)) throw new UciError(file, line, `'${type}' is no type for a section`);
  if (!/^\w*$/.test(name)) {
    throw new UciError(file, line, `'${name}' is no name for a section: only letters, digits and _ may be in it`);
  }
  const old = name === '' ? undefined : sections.find((section) => section.name === name);
  if (old && old.type !== type) {
    throw new UciError(
      file,
      line,
      `section '${name}' is of type ${old.type} in line ${old.line}, and of type ${type} here`,
    );
  }
  if (old) return old;
  const section = {type, name: name === '' ? undefined : name, line, options: []};
  sections.push(section);
  return section;
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
  // What takes another's place comes last.
  const replace = (option: UciOption): void => {
    if (at >= 0) options.splice(at, 1);
    options.push(option);
  };
  if (isList) {
    const item = {name, values: [...(old?.values ?? []), value], isList: true, line: old?.line ?? line};
    if (old?.isList) options[at] = item;
    else replace(item);
  } else if (value !== '' && (old?.isList !== false || old.values[0] !== value)) {
    // To libuci an option without a value is no option, and one given before stays as it is.
    replace({name, values: [value], isList: false, line});
  }
}

/** How many words may follow; one more is an error, unless it is empty. */
const WORDS: Readonly<Record<string, number>> = {package: 1, p: 1};
const MOST_WORDS = 2;

/**
 * Cuts the text into statements of words, as libuci does: line by line, where an open quote or a backslash at the end fetches the next
 * line. Its oddities are kept: a keyword ends at a blank or tab only and knows no quotes; `;` drops the rest of the line after a plain
 * word, but begins another statement after a quoted one or a blank; so does an empty word (`''`) too many.
 */
class Scanner {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  /** Where the line ends, its line break included; earlier when the rest of it does not count. */
  #end = 0;
  /** Where the next line begins. */
  #next = 0;
  #line = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  *statements(): Generator<Statement> {
    while (this.#next < this.#text.length) {
      this.#fetch();
      this.#skipSpace();
      for (let keyword = this.#keyword(); keyword !== undefined; keyword = this.#keyword()) {
        yield {line: this.#line, words: [keyword, ...this.#words(WORDS[keyword] ?? MOST_WORDS)]};
      }
    }
  }

  /** Goes to the next line, or to the end of the text. */
  #fetch(): void {
    const lineBreak = this.#text.indexOf('\n', this.#next);
    this.#at = this.#next;
    this.#next = lineBreak < 0 ? this.#text.length : lineBreak + 1;
    this.#end = this.#next;
    this.#line++;
  }

  /** undefined: nothing more in this line. */
  #keyword(): string | undefined {
    while (this.#peek() === ' ' || this.#peek() === '\t') this.#at++;
    let word = '';
    for (let c = this.#peek(); c !== '' && c !== ' ' && c !== '\t'; c = this.#peek()) {
      word += c;
      this.#at++;
    }
    if (word === '' || word.startsWith('#')) return undefined;
    if (this.#peek() !== '') this.#at++;
    else if (word.trim() === '') throw new UciError(this.#file, this.#line, 'a ; with nothing after it');
    return word.trimEnd();
  }

  /** The words of a statement, and one more if it is not empty. */
  #words(count: number): string[] {
    const words = Array.from({length: count}, () => this.#word());
    const more = this.#word();
    if (more !== '') words.push(more);
    return words;
  }

  #word(): string {
    this.#skipSpace();
    if (this.#peek() === ';') {
      this.#at++;
      return '';
    }
    let word = '';
    let isPlain = true;
    for (let c = this.#peek(); c !== ''; c = this.#peek()) {
      if (c === '#') this.#end = this.#at;
      // The end of a plain word is written over it.
      else if (c === ';' && isPlain) this.#end = this.#at;
      else if (c === ';') return word;
      else if (isSpace(c)) {
        this.#at++;
        return word;
      } else if (c === "'" || c === '"') word += this.#quoted(c);
      else {
        word += c === '\\' ? this.#escaped() : c;
        if (c !== '\\') this.#at++;
      }
      isPlain &&= c !== '\\' && c !== "'" && c !== '"';
    }
    return word;
  }

  #quoted(end: string): string {
    const line = this.#line;
    let text = '';
    this.#at++;
    for (;;) {
      const c = this.#peek();
      if (c === end) {
        this.#at++;
        return text;
      }
      if (c === '') {
        if (this.#next >= this.#text.length)
          throw new UciError(this.#file, line, 'a quote is opened here and never closed');
        this.#fetch();
      } else if (c === '\\' && end === '"') text += this.#escaped();
      else {
        text += c;
        this.#at++;
      }
    }
  }

  /** The character after a backslash, as it is; a line break joins lines. */
  #escaped(): string {
    this.#at++;
    const rest = this.#text.slice(this.#at, Math.min(this.#end, this.#at + 3));
    if (rest === '' || rest.startsWith('\n') || (rest.startsWith('\r\n') && rest.length === 2)) {
      this.#fetch();
      return '';
    }
    return this.#text.charAt(this.#at++);
  }

  #skipSpace(): void {
    while (isSpace(this.#peek())) this.#at++;
  }

  #peek(): string {
    return this.#at < this.#end ? this.#text.charAt(this.#at) : '';
  }
}

/** As C's isspace has it. */
function isSpace(c: string): boolean {
  return c === ' ' || (c >= '\t' && c <= '\r' && c !== '');
}
