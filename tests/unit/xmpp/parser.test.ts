// SPDX-License-Identifier: MIT

import test from 'ava';
import fc from 'fast-check';
import {StreamParser, type XmlFault} from '../../../src/xmpp/parser.ts';

const HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

function parse(...reads: string[]): {seen: string[]; faults: XmlFault[]; turn(): boolean; parser: StreamParser} {
  const turns: (() => void)[] = [];
  const seen: string[] = [];
  const faults: XmlFault[] = [];
  const parser = new StreamParser(
    (callback) => void turns.push(callback),
    (fault) => void faults.push(fault),
  );
  parser.on('start', ({name}) => void seen.push(`start ${name}`));
  parser.on('element', (element) => void seen.push(element.toString()));
  parser.on('end', () => void seen.push('end'));
  for (const read of reads) parser.write(read);
  const turn = (): boolean => {
    const next = turns.shift();
    next?.();
    return next !== undefined;
  };
  return {seen, faults, turn, parser};
}

function all(...reads: string[]): {seen: string[]; faults: string[]} {
  const {seen, faults, turn} = parse(...reads);
  while (turn());
  return {seen, faults: faults.map(({condition}) => condition)};
}

test('hands over one element a turn, however many came in one read', (t) => {
  const {seen, turn} = parse(`${HEADER}<a/><b/><c/>`);
  t.deepEqual(seen, []);
  for (const count of [1, 2, 3, 4]) {
    turn();
    t.is(seen.length, count);
  }
  t.false(turn());
});

test('tells when all was handed over, and not before', (t) => {
  const {seen, turn, parser} = parse(`${HEADER}<a/>`);
  let idle = false;
  parser.whenIdle(() => (idle = true));
  turn();
  t.false(idle);
  turn();
  t.true(idle);
  t.is(seen.length, 2);
});

test('gives the same elements however the text is cut', (t) => {
  const text = `${HEADER}<a x='1&amp;2'>b<c/>&lt;ü😀</a> \n<presence from='x'/></stream:stream>`;
  const whole = all(text);
  t.is(whole.seen.length, 4);
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), {maxLength: 12}), (cuts) => {
      const points = [0, ...cuts.sort((a, b) => a - b), text.length];
      const reads = points.slice(1).map((point, i) => text.slice(points[i], point));
      t.deepEqual(all(...reads), whole);
    }),
  );
});

test('ends at broken XML with one fault, after which nothing comes', (t) => {
  for (const broken of ['<a></b>', '<a>&nope;</a>', '<a>&#0;</a>', '</x></y></z>', 'text', '<a/>text<b/>']) {
    const {seen, faults} = all(`${HEADER}${broken}<later/>`, '<more/>');
    t.deepEqual(faults, ['not-well-formed'], broken);
    t.false(
      seen.some((line) => line.includes('later') || line.includes('more')),
      broken,
    );
  }
  t.deepEqual(all('</x>').faults, ['not-well-formed']);
});

test('refuses an element of more than 64 KiB, in one read or dripping', (t) => {
  const big = `${HEADER}<a>${'x'.repeat(80_000)}</a>`;
  t.deepEqual(all(big).faults, ['policy-violation']);
  const drips = Array.from({length: 80}, (_, i) => big.slice(i * 1_000, (i + 1) * 1_000));
  t.deepEqual(all(...drips).faults, ['policy-violation']);
  t.deepEqual(all(HEADER, ...Array.from({length: 50}, () => `<a>${'x'.repeat(4_000)}</a>`)).faults, []);
});

test('refuses elements nested deeper than 32 levels', (t) => {
  t.deepEqual(all(HEADER + '<a>'.repeat(31) + '</a>'.repeat(31)).faults, []);
  t.deepEqual(all(HEADER + '<a>'.repeat(32)).faults, ['policy-violation']);
});

test('refuses more stanzas than it will keep waiting', (t) => {
  t.deepEqual(all(HEADER + '<a/>'.repeat(5_000)).faults, ['policy-violation']);
});

test('does not keep the whitespace that servers send to keep a stream alive', (t) => {
  const {parser, turn, seen, faults} = parse(HEADER);
  turn();
  for (let i = 0; i < 100_000; i++) parser.write('\n');
  parser.write('<a/>\n<b/>');
  while (turn());
  t.deepEqual(seen, ['start stream:stream', '<a/>', '<b/>']);
  t.deepEqual(faults, []);
  t.is(parser.root?.children.length, 0);
});
