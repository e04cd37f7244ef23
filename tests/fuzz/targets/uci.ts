// SPDX-License-Identifier: MIT
// UCI files: errors are UciError and name a line that is there; what was read and written again reads the same.

import {parseUci, printUci, UciError, type UciSection} from '../../../src/uci/parse.ts';
import {equal} from '../assert.ts';
import type {Target} from '../target.ts';

export const target: Target = {
  seeds: [
    "config ipop 'main'\n\toption enabled '1'\n\tlist a b\n\tlist a 'c d'\n",
    'package p\nconfig x\noption a "b\\"c" # rest\noption d e\\\nf;option g h\n',
    "c a b\no c 'it'\\''s'\nl d ''\nconfig a b\nconfig a b\n",
  ],
  words: ['config ', 'option ', 'list ', 'package ', "'\\''", '\\\n', "'x'", '\tlist '],
  check(data) {
    const text = Buffer.from(data).toString();
    let sections: UciSection[];
    try {
      sections = parseUci(text, 'file');
    } catch (error) {
      if (!(error instanceof UciError)) throw error;
      const lines = text.split('\n').length;
      equal(error.line >= 1 && error.line <= lines, true, `line ${error.line} of ${lines}`);
      equal(error.message, `file:${error.line}: ${error.text}`);
      return;
    }
    equal(plain(parseUci(printUci(sections), 'file')), plain(written(sections)));
  },
};

function plain(sections: readonly UciSection[]): unknown {
  return sections.map(({type, name, options}) => [
    type,
    name,
    options.map(({name: key, values, isList}) => [key, values, isList]),
  ]);
}

/** A list that holds nothing leaves no trace. */
function written(sections: readonly UciSection[]): UciSection[] {
  return sections.map((section) => ({...section, options: section.options.filter(({values}) => values.length > 0)}));
}
