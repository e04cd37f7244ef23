// SPDX-License-Identifier: MIT
// scripts/fuzz: runs targets one after another and says what came of each.

import {parseArgs} from 'node:util';
import {buildNative, fuzzNative, nativeTargets} from './native.ts';
import {nativePrefix, type Outcome} from './places.ts';
import {fuzzScript, scriptTargets} from './script.ts';

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    seconds: {type: 'string', default: '600'},
    seed: {type: 'string', default: `${1 + (Date.now() % 1_000_000)}`},
    list: {type: 'boolean', default: false},
  },
});
const all = [...scriptTargets(), ...nativeTargets()];
const unknown = positionals.filter((name) => !all.includes(name));
const [seconds, seed] = [Number(values.seconds), Number(values.seed) || 1];
if (unknown.length > 0 || !Number.isInteger(seconds) || seconds < 1) {
  console.error(
    unknown.length > 0
      ? `No target named ${unknown.join(', ')}; there are: ${all.join(', ')}`
      : `--seconds '${values.seconds}' is not a whole number above 0`,
  );
  process.exit(64);
}
if (values.list) {
  console.log(all.join('\n'));
  process.exit(0);
}

const wanted = positionals.length > 0 ? positionals : all;
const programs = wanted.some((name) => name.startsWith(nativePrefix)) ? buildNative() : '';
const outcomes: [string, Outcome][] = [];
for (const target of wanted) {
  const native = target.startsWith(nativePrefix);
  const outcome = native ? await fuzzNative(target, seconds, programs) : await fuzzScript(target, seconds, seed);
  outcomes.push([target, outcome]);
  console.log(lineOf(target, outcome));
  for (const found of outcome.found) console.log(`  FOUND ${found}`);
}
console.log(`\n${outcomes.map(([target, outcome]) => lineOf(target, outcome)).join('\n')}`);
process.exit(outcomes.some(([, {found}]) => found.length > 0) ? 1 : 0);

function lineOf(target: string, {inputs, seconds, edges, places, features, added, found}: Outcome): string {
  const rate = Math.round(inputs / seconds);
  const reached = places > 0 ? `${edges} of ${places}` : `${edges}`;
  return `${target.padEnd(20)} ${inputs} inputs, ${rate}/s, ${reached} edges, ${features} features, ${added} new in the corpus, ${found.length} found`;
}
