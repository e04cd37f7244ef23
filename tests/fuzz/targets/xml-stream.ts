// SPDX-License-Identifier: MIT
// The server's XML: however it is cut into reads, the same elements, drops and at most one fault come of it, and all is bounded.

import type {Element} from '@xmpp/xml';
import {StreamParser} from '../../../src/xmpp/parser.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const HEADER =
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
/** Inside the stream element. */
const MAX_DEPTH = 31;
/** What a server passes on: XML by its tokens. On anything else the base parser may differ by where it is cut. */
const TOKENS =
  /^(?:<\?xml [^?<>]*\?>)?(?:[^<>&]+|&\w+;|<!\[CDATA\[[^]*?\]\]>|<!--(?:[^-]|-[^-])*-->|<\/?[a-z][\w:.-]*(?:\s+[a-z][\w:.-]*=(?:'[^<']*'|"[^<"]*"))*\s*\/?>)*/i;

export const target: Target = {
  maxBytes: 4096,
  seeds: [
    `\0${HEADER}<presence from='a@b/c'><x xmlns='u'><item/></x></presence><iq id='1'/></stream:stream>`,
    `\x07${HEADER} \n <message><body>a &lt; b &amp;&#x41;<![CDATA[<c>]]></body><!-- x --></message>`,
    `\x20${HEADER}${'<a>'.repeat(40)}${'</a>'.repeat(40)}<b/>`,
    `\x03${HEADER}<a b="c'd" e='f"g'/></x>`,
    `\x03${HEADER}text<a/>`,
  ],
  words: [
    HEADER,
    '<a>',
    '</a>',
    '<a/>',
    '<![CDATA[',
    ']]>',
    '<!--',
    '-->',
    '<?',
    '?>',
    '&amp;',
    '&#65;',
    "='",
    '</stream:stream>',
  ],
  check(data) {
    const step = 1 + (data[0] ?? 0);
    const any = Buffer.from(data.subarray(1)).toString();
    parse([any]);
    const [text = ''] = TOKENS.exec(any) ?? [];
    const whole = parse([text]);
    equal(parse(text.match(new RegExp(`[^]{1,${step}}`, 'g')) ?? []), whole, `in reads of ${step}`);
    const choices = new Choices(data);
    const reads: string[] = [];
    for (let at = 0; at < text.length; at += reads.at(-1)?.length ?? 0) {
      reads.push(text.slice(at, at + 1 + choices.upTo(300)));
    }
    equal(parse(reads), whole, `in reads of ${reads.map(({length}) => length).join(', ')}`);
  },
};

interface Seen {
  readonly events: string[];
  readonly faults: string[];
  readonly dropped: string[];
}

function parse(reads: readonly string[]): Seen {
  const turns: (() => void)[] = [];
  const seen: Seen = {events: [], faults: [], dropped: []};
  const parser = new StreamParser(
    (callback) => void turns.push(callback),
    ({condition}) => void seen.faults.push(condition),
    (name) => void seen.dropped.push(name),
  );
  parser.on('start', (root) => void seen.events.push(`start ${root.name}`));
  parser.on('element', (element) => {
    holds(depthOf(element) <= MAX_DEPTH, 'deeper than allowed');
    seen.events.push(element.toString());
  });
  parser.on('end', () => void seen.events.push('end'));
  const run = (): void => {
    for (let turn = turns.shift(); turn; turn = turns.shift()) {
      const before = seen.events.length;
      turn();
      holds(seen.events.length <= before + 1, 'two elements in one turn');
    }
  };
  for (const read of reads) {
    parser.write(read);
    run();
  }
  holds(seen.faults.length <= 1, 'two faults');
  // What came before a fault is dropped with it when it waits yet.
  return seen.faults.length > 0 ? {events: [], faults: ['one'], dropped: []} : seen;
}

function depthOf(element: Element): number {
  return 1 + Math.max(0, ...element.getChildElements().map(depthOf));
}
