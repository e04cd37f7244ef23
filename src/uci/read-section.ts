// SPDX-License-Identifier: MIT
// Reads one section by its table of options, and collects what is wrong with it.

import type {UciOption, UciSection} from './parse.ts';
import type {OptionSpec, OptionTable, Values} from './schema.ts';

/** One thing that is wrong with a configuration. */
export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** As `network 'home'`. */
  readonly section: string | undefined;
  readonly option: string | undefined;
  /** undefined also when it is secret. */
  readonly value: string | undefined;
  /** The whole sentence, file and line included. */
  readonly text: string;
}

export interface Place {
  readonly section?: UciSection;
  readonly option?: string;
  readonly value?: string | undefined;
}

/** Values longer than this are cut in messages. */
const MAX_SHOWN = 60;

/** Collects problems, in the order they are found. */
export class Report {
  readonly problems: Problem[] = [];
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** @param what is wrong: a verb and the rest, to be read after the place */
  add(line: number, {section, option, value}: Place, what: string): void {
    const name = section && `${section.type}${section.name === undefined ? '' : ` '${section.name}'`}`;
    const shown = value !== undefined && value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value;
    let text = `${this.#file}:${line}: `;
    if (name !== undefined) text += `section ${name}${option === undefined ? ' ' : ', '}`;
    if (option !== undefined) text += `option ${option} ${shown === undefined ? '' : `'${shown}' `}`;
    this.problems.push({file: this.#file, line, section: name, option, value, text: text + what});
  }

  /** Something has a name that does not exist. */
  unknown(line: number, place: Place, name: string, known: readonly string[]): void {
    const guess = nearest(name, known);
    const kind = place.option === undefined ? 'is no type of section' : 'is not known';
    this.add(line, place, `${kind}; ${guess ? `did you mean ${guess}?` : `there are ${known.join(', ')}`}`);
  }
}

/**
 * The values of a section; what is wrong or missing is reported, and is undefined in the result, which then must not be used.
 *
 * @param complete whether required options must be there
 */
export function readSection<S extends OptionTable>(
  section: UciSection,
  table: S,
  report: Report,
  complete: boolean,
): Values<S> {
  const known = Object.keys(table);
  for (const {name, line} of section.options) {
    if (!known.includes(name)) report.unknown(line, {section, option: name}, name, known);
  }
  const values: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(table)) {
    const option = section.options.find((one) => one.name === name);
    if (option) values[name] = readOption(section, option, spec, report);
    else if (spec.isList) values[name] = [];
    else if (spec.fallback !== undefined) values[name] = spec.value.parse(spec.fallback);
    else if (spec.required && complete) {
      report.add(section.line, {section, option: name}, `is missing; it must be ${spec.value.allowed}`);
    }
  }
  return values as Values<S>;
}

/** Whether every required option is there. */
export function isComplete<S extends OptionTable>(values: Values<S>, table: S): boolean {
  return Object.entries(table).every(([name, {required}]) => !required || values[name] !== undefined);
}

function readOption(section: UciSection, option: UciOption, spec: OptionSpec<unknown>, report: Report): unknown {
  const {name, values, line} = option;
  if (values.length > spec.maxItems) {
    const what = spec.isList
      ? `has ${values.length} items; at most ${spec.maxItems} are allowed`
      : `has ${values.length} values; one is allowed`;
    report.add(line, {section, option: name}, what);
    return undefined;
  }
  const read = values.map((text) => {
    const value = spec.value.parse(text);
    if (value === undefined) {
      report.add(
        line,
        {section, option: name, value: spec.secret ? undefined : text},
        `is not allowed; it must be ${spec.value.allowed}`,
      );
    }
    return value;
  });
  return spec.isList ? read : read[0];
}

/** The name most like this one, if any is like it at all. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.slice(0, 64).toLowerCase(), candidate);
    if (distance < bestDistance && distance < candidate.length) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions and replacements that make one word of the other (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({length: b.length + 1}, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
