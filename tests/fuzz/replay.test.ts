// SPDX-License-Identifier: MIT
// Every input that a search found worth keeping, against its target; native targets do the same in `cargo test`.

import {existsSync, readFileSync} from 'node:fs';
import test from 'ava';
import {nativeTargets} from './native.ts';
import {corpusOf, filesIn, tree} from './places.ts';
import {scriptTargets} from './script.ts';
import {seedBytes, type Target} from './target.ts';

for (const name of scriptTargets()) {
  test(`every input of the corpus keeps the promises of ${name}`, async (t) => {
    const {target} = (await import(`./targets/${name}.ts`)) as {target: Target};
    for (const seed of [new Uint8Array(), ...target.seeds.map(seedBytes)]) await target.check(seed.slice());
    const files = filesIn(corpusOf(name));
    t.true(files.length > 0, 'the corpus is empty: run scripts/fuzz');
    for (const file of files) {
      await t.notThrowsAsync(async () => target.check(new Uint8Array(readFileSync(file))), file);
    }
  });
}

test('every native target has a corpus, and every corpus a target', (t) => {
  for (const name of nativeTargets()) t.true(existsSync(corpusOf(name)), name);
  const known = [...nativeTargets(), ...scriptTargets()];
  const folders = filesIn(tree('tests/fuzz/corpus')).map((path) => path.split('/').at(-1) ?? '');
  t.deepEqual(
    folders.filter((name) => !known.includes(name)),
    [],
  );
});
