// SPDX-License-Identifier: MIT

import test from 'ava';
import fc from 'fast-check';
import {StreamParser, type XmlFault} from '../../../src/xmpp/parser.ts';

const HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

function parse(...reads: string[]): {
  seen: string[];
  faults: XmlFault[];
  dropped: string[];
  turn(): boolean;
  parser: StreamParser;
} {
  const turns: (() => void)[] = [];
  const seen: string[] = [];
  const faults: XmlFault[] = [];
  const dropped: string[] = [];
  const parser = new StreamParser(
    (callback) => void turns.push(callback),
    (fault) => void faults.push(fault),
    (name) => void dropped.push(name),
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
  return {seen, faults, dropped, turn, parser};
}

function all(...reads: string[]): {seen: string[]; faults: string[]; dropped: string[]} {
  const {seen, faults, dropped, turn} = parse(...reads);
  while (turn());
  return {seen, faults: faults.map(({condition}) => condition), dropped};
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

test('drops an element of more than 64 KiB, in one read or dripping, and goes on', (t) => {
  for (const content of ['x'.repeat(200_000), '<b c="d">e</b>'.repeat(20_000), `<b c='${'x'.repeat(100_000)}'/>`]) {
    const big = `<iq id='1' type='set'>${content}</iq><after/>`;
    const drips = Array.from({length: Math.ceil(big.length / 1_000)}, (_, i) => big.slice(i * 1_000, (i + 1) * 1_000));
    for (const reads of [[big], drips]) {
      const {seen, faults, dropped} = all(HEADER, ...reads);
      t.deepEqual(seen, ['start stream:stream', '<iq type="error"/>', '<after/>']);
      t.deepEqual(faults, []);
      t.deepEqual(dropped, ['iq']);
    }
  }
  t.deepEqual(all(HEADER, ...Array.from({length: 50}, () => `<a>${'x'.repeat(4_000)}</a>`)).dropped, []);
});

test('drops an element whose very start tag is too large', (t) => {
  const {seen, dropped} = all(`${HEADER}<iq from='${'x'.repeat(100_000)}'><b/></iq><after/>`);
  t.deepEqual(seen.slice(1), ['<iq type="error"/>', '<after/>']);
  t.deepEqual(dropped, ['iq']);
});

test('ends at an element of more than 1 MiB, which it would have to keep', (t) => {
  t.deepEqual(all(HEADER, '<a>', ...Array.from({length: 70}, () => 'x'.repeat(16_384))).faults, ['policy-violation']);
});

test('drops elements nested deeper than 32 levels and goes on', (t) => {
  const nested = (levels: number): string => '<a>'.repeat(levels) + '</a>'.repeat(levels);
  t.deepEqual(all(HEADER + nested(31)).dropped, []);
  const {seen, faults, dropped} = all(`${HEADER}${nested(32)}${nested(5_000)}<after/>`);
  t.deepEqual(seen.slice(1), ['<a type="error"/>', '<a type="error"/>', '<after/>']);
  t.deepEqual(faults, []);
  t.is(dropped.length, 2);
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

test.serial('a long text costs a bounded number of looks for each of its characters', (t) => {
  const indexOf = String.prototype.indexOf;
  const length = 200_000;
  let looks = 0;
  String.prototype.indexOf = function (this: string, text: string, from = 0): number {
    const at = indexOf.call(this, text, from);
    looks += (at < 0 ? this.length : at) - from;
    return at;
  };
  try {
    all(HEADER, `<message><body>${'a'.repeat(length)}</body></message>`);
  } finally {
    String.prototype.indexOf = indexOf;
  }
  t.true(looks > length / 2, 'the looks are counted');
  t.true(looks < 200 * length, `${looks} looks`);
});

test('takes a stream cut into reads anywhere', (t) => {
  const text = `<?xml version='1.0'?>${HEADER}<a b='c'><![CDATA[]<d>]]]></a> <e>-?]</e><f g='> >'/>`;
  const whole = ['start stream:stream', '<a b="c">]&lt;d&gt;]</a>', '<e>-?]</e>', '<f g="&gt; &gt;"/>'];
  t.deepEqual(all(text).seen, whole);
  for (let at = 1; at < text.length; at++) t.deepEqual(all(text.slice(0, at), text.slice(at)).seen, whole, `at ${at}`);
  t.deepEqual(all(...text).seen, whole, 'one character a read');
});

test('ends a stream that has what no stream may have, and takes its signs in CDATA', (t) => {
  for (const part of ['<!-- a -->', '<a><!-- b --></a>', '<?x y?>', '<!DOCTYPE a>', '<a/><?xml version="1.0"?>']) {
    t.deepEqual(all(`${HEADER}${part}<b/>`).faults, ['restricted-xml'], part);
    t.deepEqual(all(...`${HEADER}${part}<b/>`).faults, ['restricted-xml'], part);
  }
  t.deepEqual(all(`${HEADER}<a><![CDATA[<!-- <? ]]></a>`).faults, []);
});
