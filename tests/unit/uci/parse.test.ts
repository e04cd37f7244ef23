// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {parseUci, printUci, UciError, type UciSection} from '../../../src/uci/parse.ts';

/** Options of the only section of a text, as name and values. */
function options(body: string): Record<string, readonly string[]> {
  const [section] = parseUci(`config t 'n'\n${body}`, 'f');
  return Object.fromEntries((section?.options ?? []).map(({name, values}) => [name, values]));
}

function refused(text: string): string {
  try {
    parseUci(text, 'f');
  } catch (error) {
    if (error instanceof UciError) return error.message;
    throw error;
  }
  return 'accepted';
}

test('sections, options and lists keep their lines', (t) => {
  const text =
    "# head\n\npackage ipop\nconfig ipop 'main'\n\toption enabled '1'\n\nconfig network\n\tlist a x\n\tlist a 'y z'\n";
  t.deepEqual(parseUci(text, 'f'), [
    {type: 'ipop', name: 'main', line: 4, options: [{name: 'enabled', values: ['1'], isList: false, line: 5}]},
    {type: 'network', name: undefined, line: 7, options: [{name: 'a', values: ['x', 'y z'], isList: true, line: 8}]},
  ]);
});

test('first letters of keywords, leading blanks, CRLF and a missing last newline are fine', (t) => {
  t.deepEqual(parseUci("p ipop\r\n  c t 'n'\r\n\t o k v\r\nl m w", 'f')[0]?.options, [
    {name: 'k', values: ['v'], isList: false, line: 3},
    {name: 'm', values: ['w'], isList: true, line: 4},
  ]);
});

test('single quotes are literal and may span lines; double quotes have escapes; pieces join', (t) => {
  t.deepEqual(options(`option a 'x\\ny'`), {a: ['x\\ny']});
  t.deepEqual(options(`option a 'two\nlines'`), {a: ['two\nlines']});
  t.deepEqual(options(`option a "say \\"hi\\" \\n"`), {a: ['say "hi" n']});
  t.deepEqual(options(`option a 'it'\\''s'`), {a: ["it's"]});
  t.deepEqual(options(`option a pre'mid 'post`), {a: ['premid post']});
});

test('a backslash before a line break joins lines, and else takes the next character as it is', (t) => {
  t.deepEqual(options('option a "one\\\ntwo"'), {a: ['onetwo']});
  t.deepEqual(options('option a one\\\ntwo'), {a: ['onetwo']});
  t.deepEqual(options('option a one\\ two'), {a: ['one two']});
  t.deepEqual(options("option a '1'\noption b \\'\n"), {a: ['1'], b: ["'"]});
});

test('a # ends an unquoted value even in mid-word, and a ; drops the rest of the line', (t) => {
  t.deepEqual(options('option a foo#bar\noption b 1 # comment'), {a: ['foo'], b: ['1']});
  t.deepEqual(options('option a x; option b y\noption c z'), {a: ['x'], c: ['z']});
  t.deepEqual(options(`option a '#no' \noption b "a;b"`), {a: ['#no'], b: ['a;b']});
});

test('libuci’s oddities are kept: quoted keywords, ; after a quoted word or a blank, an empty word too many', (t) => {
  t.deepEqual(options(`option a 'x'; option b y`), {a: ['x'], b: ['y']});
  t.deepEqual(options(`option a x ;option b y`), {a: ['x'], b: ['y']});
  t.deepEqual(options(`option a x '' option b y`), {a: ['x'], b: ['y']});
  t.is(refused(`config t\n'option' a b`), "f:2: ''option'' is none of package, config, option, list");
  t.is(refused('config t\noption a x ;\n'), 'f:2: a ; with nothing after it');
  t.is(refused('config t\n ;\n'), "f:2: ';' is none of package, config, option, list");
});

test('a section may be begun twice, but has no options the third time', (t) => {
  t.is(parseUci('config t x\nconfig t x\nconfig t x\nconfig t y\noption a b\n', 'f').length, 2);
  t.regex(refused('config t x\nconfig t x\nconfig t x\noption a b\n'), /^f:4: section 'x' is begun a third time/);
});

test('an option without a value does not exist, an empty item of a list does', (t) => {
  t.deepEqual(options(`option a ''\noption b\nlist c ''`), {c: ['']});
  t.deepEqual(options(`option a 'x'\noption a ''`), {a: ['x']}, 'nor does it take one away');
});

test('of an option given twice the last wins; a list takes the option before it in; an option replaces a list', (t) => {
  t.deepEqual(options('option a 1\noption a 2'), {a: ['2']});
  t.deepEqual(options('option a 1\nlist a 2'), {a: ['1', '2']});
  t.deepEqual(options('list a 1\nlist a 2\noption a 3'), {a: ['3']});
});

test('a section of a name that was there before goes on, with its type only', (t) => {
  const sections = parseUci('config t x\noption a 1\nconfig t y\nconfig t x\noption b 2\n', 'f');
  t.deepEqual(
    sections.map(({name, options: all}) => [name, all.map((option) => option.name)]),
    [
      ['x', ['a', 'b']],
      ['y', []],
    ],
  );
  t.is(refused('config t x\nconfig u x\n'), "f:2: section 'x' is of type t in line 1, and of type u here");
});

test('anonymous sections stay apart', (t) => {
  t.is(parseUci("config t\nconfig t\nconfig t ''\n", 'f').length, 3);
});

test('what libuci refuses is refused, with file and line', (t) => {
  t.is(refused('config t\n\noptoin a b\n'), "f:3: 'optoin' is none of package, config, option, list");
  t.is(refused('option a b'), 'f:1: an option before the first config');
  t.is(refused("config t\noption a 'b\n\n\n"), 'f:2: a quote is opened here and never closed');
  t.is(refused('config t\noption a b c\n'), 'f:2: too many words after option a: put the value in quotes');
  t.is(refused('config t a b'), 'f:1: too many words after config');
  t.regex(refused('config t a-b'), /^f:1: 'a-b' is no name for a section/);
  t.regex(refused('config t\noption a-b c'), /^f:2: 'a-b' is no name for an option/);
  t.regex(refused('config'), /^f:1: '' is no type/);
  t.regex(refused('package a.b'), /^f:1: 'a.b' is no name for a package/);
});

test('what is printed reads back the same', (t) => {
  const name = fc.stringMatching(/^\w{1,8}$/);
  const type = fc.stringMatching(/^[\x21-\x7e]{1,8}$/);
  const text = fc.oneof(
    fc.string(),
    fc.string({unit: 'binary'}),
    fc.constantFrom("'", '\\', '#', '"\n', "it's", ' a\r\n'),
  );
  const option = fc.oneof(
    fc.record({name, values: fc.tuple(text.filter((value) => value !== '')), isList: fc.constant(false)}),
    fc.record({name, values: fc.array(text, {minLength: 1, maxLength: 4}), isList: fc.constant(true)}),
  );
  const section = fc.record({
    type,
    name: fc.option(name, {nil: undefined}),
    options: fc.uniqueArray(option, {selector: (one) => one.name, maxLength: 5}),
  });
  const sections = fc.uniqueArray(section, {selector: (one) => one.name ?? {}, maxLength: 5});
  const withoutLines = (all: readonly UciSection[]): unknown =>
    all.map((one) => ({...one, line: 0, options: one.options.map((each) => ({...each, line: 0}))}));
  fc.assert(
    fc.property(sections, (all) => {
      const given = all.map((one) => ({...one, line: 0, options: one.options.map((each) => ({...each, line: 0}))}));
      t.deepEqual(withoutLines(parseUci(printUci(given), 'f')), given);
    }),
  );
});

test('any text at all is read or refused with UciError', (t) => {
  const piece = fc.constantFrom('config', 'option', 'list', ' ', '\n', "'", '"', '\\', '#', ';', 'a', '\r', '\0', 'ü');
  fc.assert(fc.property(fc.array(piece, {maxLength: 60}), (pieces) => void refused(pieces.join(''))));
  t.pass();
});
