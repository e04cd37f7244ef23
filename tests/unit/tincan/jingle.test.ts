// SPDX-License-Identifier: MIT
import xml, {type Element} from '@xmpp/xml';
import Parser from '@xmpp/xml/lib/Parser.js';
import test from 'ava';
import fc from 'fast-check';
import {IpopError} from '../../../src/base/errors.ts';
import {parseJingle, writeJingle} from '../../../src/tincan/jingle.ts';
import type {OwnSignal} from '../../../src/tincan/types.ts';
import {newIdentity} from '../../sim/world.ts';
import {offerOf} from './signed.ts';

const alice = newIdentity();
const bob = newIdentity();
const signed = offerOf(alice, bob.id);
const SID = signed.nonce;
const answer = offerOf(alice, bob.id, {role: 'answer', description: {...signed.description, setup: 'passive'}});

const SIGNALS: OwnSignal[] = [
  {type: 'offer', sid: SID, signed},
  {type: 'answer', sid: SID, signed: answer},
  {type: 'candidate', sid: SID, candidate: 'candidate:1 1 UDP 2122317823 192.0.2.1 5000 typ host'},
  {type: 'terminate', sid: SID, reason: 'old-generation', text: 'It is "old" & <gone>'},
  {type: 'terminate', sid: SID, reason: 'busy', text: ''},
];

for (const signal of SIGNALS) {
  test(`a signal survives the way over the wire: ${signal.type}, ${'reason' in signal ? signal.reason : ''}`, (t) => {
    t.deepEqual(parseJingle(overTheWire(writeJingle(signal))), signal);
  });
}

test('an offer looks as the protocol says', (t) => {
  const text = writeJingle({type: 'offer', sid: SID, signed}).toString();
  t.is(
    text,
    `<jingle xmlns="urn:xmpp:jingle:1" action="session-initiate" sid="${SID}"><content creator="initiator" name="ipop">` +
      `<description xmlns="urn:ipop:link:0" version="1" network="home@rooms.example.org" from="${alice.id}" to="${bob.id}" ` +
      `boot="1700000000" generation="3" nonce="${SID}" role="offer" name="Hütte 🏠" key="${signed.publicKey}" signature="${signed.signature}"/>` +
      `<transport xmlns="urn:xmpp:jingle:transports:ice-udp:1" ufrag="aB+/" pwd="abcdefghijklmnopqrstuv">` +
      `<fingerprint xmlns="urn:xmpp:jingle:apps:dtls:0" hash="sha-256" setup="actpass">${signed.description.fingerprint}</fingerprint>` +
      `</transport></content></jingle>`,
  );
});

/** Each field with values that must not pass. */
const BAD: [path: string, attribute: string, values: (string | undefined)[]][] = [
  ['jingle', 'sid', [undefined, '', 'x', SID.toUpperCase(), `${SID}0`, 'ab'.repeat(16)]],
  ['jingle', 'action', [undefined, '', 'session-info', 'toString']],
  ['jingle', 'xmlns', ['urn:xmpp:jingle:0']],
  ['content', 'creator', [undefined, 'responder']],
  ['content', 'name', [undefined, 'other']],
  ['description', 'version', [undefined, '', '0', '01', '1.0', '1234567']],
  ['description', 'network', [undefined, '', 'a b', 'a\nb', 'x'.repeat(1025)]],
  ['description', 'from', [undefined, '', alice.id.toUpperCase(), alice.id.slice(1), `${alice.id}\n`]],
  ['description', 'to', [undefined, 'zz'.repeat(20)]],
  ['description', 'boot', [undefined, '', '0', '01', '-1', '1e3', ' 1', '1'.repeat(16)]],
  ['description', 'generation', [undefined, '0', '1.5', 'NaN']],
  ['description', 'nonce', [undefined, 'ab'.repeat(16)]],
  ['description', 'role', [undefined, 'answer', 'offer ']],
  ['description', 'name', [undefined, 'a\u0007b', '\u202eevil', 'x'.repeat(65)]],
  ['description', 'key', [undefined, '', 'ab']],
  ['description', 'signature', [undefined, '', 'ab'.repeat(65)]],
  ['transport', 'ufrag', [undefined, 'abc', 'ab cd', 'x'.repeat(257)]],
  ['transport', 'pwd', [undefined, 'short', 'x'.repeat(21), 'x'.repeat(257)]],
  ['fingerprint', 'hash', [undefined, 'sha-1']],
  ['fingerprint', 'setup', [undefined, 'active', 'holdconn']],
];

for (const [path, attribute, values] of BAD) {
  test(`${attribute} of ${path} must have its form`, (t) => {
    for (const value of values) {
      const jingle = writeJingle({type: 'offer', sid: SID, signed});
      const element = find(jingle, path);
      if (value === undefined) delete element.attrs[attribute];
      else element.attrs[attribute] = value;
      t.is(codeOf(jingle), 'malformed-signal', `${value}`);
    }
  });
}

test('missing and doubled elements are refused', (t) => {
  for (const path of ['content', 'description', 'transport', 'fingerprint']) {
    for (const change of ['remove', 'double'] as const) {
      const jingle = writeJingle({type: 'offer', sid: SID, signed});
      const element = find(jingle, path);
      const siblings = element.parent!.children;
      if (change === 'remove') siblings.splice(siblings.indexOf(element), 1);
      if (change === 'double') element.parent!.append(find(writeJingle({type: 'offer', sid: SID, signed}), path));
      t.is(codeOf(jingle), 'malformed-signal', `${change} ${path}`);
    }
  }
});

test('what a later version adds to ours is passed over, wherever it stands', (t) => {
  for (const signal of SIGNALS) {
    const jingle = writeJingle(signal);
    for (const path of ['jingle', 'content', 'description', 'transport', 'fingerprint', 'candidate']) {
      const element = path === 'jingle' ? jingle : findOrNot(jingle, path);
      if (!element) continue;
      element.attrs['future'] = '2';
      if (element.getChildElements().length > 0 || path === 'description')
        element.append(xml('future', {xmlns: 'urn:x'}));
    }
    t.deepEqual(parseJingle(overTheWire(jingle)), signal);
  }
});

test('more additions than a version could want are refused', (t) => {
  const jingle = writeJingle({type: 'offer', sid: SID, signed});
  for (let i = 0; i < 14; i++) find(jingle, 'content').append(xml('future', {xmlns: 'urn:x'}));
  t.notThrows(() => parseJingle(jingle));
  find(jingle, 'content').append(xml('future', {xmlns: 'urn:x'}));
  t.is(codeOf(jingle), 'malformed-signal');
});

test('of an offer or answer of another version nothing but that is read', (t) => {
  for (const signal of SIGNALS.slice(0, 2)) {
    for (const version of [2, 999]) {
      const jingle = writeJingle(signal);
      const description = find(jingle, 'description');
      description.attrs = {xmlns: `${description.attrs['xmlns']}`, version: `${version}`, shape: 'unheard of'};
      find(jingle, 'transport').attrs['xmlns'] = 'urn:another:transport';
      t.deepEqual(parseJingle(overTheWire(jingle)), {type: 'unsupported', sid: SID, version});
    }
  }
});

test('an answer must have chosen its DTLS role', (t) => {
  const open = {...answer, description: {...answer.description, setup: 'actpass' as const}};
  t.is(codeOf(writeJingle({type: 'answer', sid: SID, signed: open})), 'malformed-signal');
});

test('candidates and reasons are bounded', (t) => {
  t.is(codeOf(writeJingle({type: 'candidate', sid: SID, candidate: 'x'.repeat(513)})), 'malformed-signal');
  t.is(codeOf(writeJingle({type: 'candidate', sid: SID, candidate: 'a\nb'})), 'malformed-signal');
  t.is(codeOf(writeJingle({type: 'terminate', sid: SID, reason: 'x'.repeat(33), text: ''})), 'malformed-signal');
  const long = writeJingle({type: 'terminate', sid: SID, reason: 'busy', text: `${'🏠'.repeat(300)}\u0000`});
  t.is((parseJingle(long) as {text: string}).text.length, 200);
});

test('no attributes whatever make the parser throw anything but an IpopError', (t) => {
  const name = fc.constantFrom('jingle', 'content', 'description', 'transport', 'fingerprint', 'reason', 'candidate');
  const attribute = fc.constantFrom('sid', 'action', 'xmlns', 'creator', 'name', 'boot', 'key', 'setup');
  fc.assert(
    fc.property(
      fc.constantFrom(...SIGNALS),
      name,
      attribute,
      fc.string({unit: 'binary'}),
      (signal, path, key, value) => {
        const jingle = writeJingle(signal);
        const element = path === 'jingle' ? jingle : findOrNot(jingle, path);
        if (element) element.attrs[key] = value;
        const code = codeOf(jingle);
        return code === undefined || code === 'malformed-signal';
      },
    ),
  );
  t.pass();
});

function overTheWire(element: Element): Element {
  const parser = new Parser();
  let parsed: Element | undefined;
  parser.on('element', (child: Element) => (parsed = child));
  parser.write(`<stream:stream xmlns="jabber:client" xmlns:stream="s"><iq>${element.toString()}</iq>`);
  return (parsed as Element).getChildElements()[0] as Element;
}

function find(root: Element, name: string): Element {
  const found = root.getName() === name ? root : findOrNot(root, name);
  if (!found) throw new Error(`no ${name}`);
  return found;
}

function findOrNot(root: Element, name: string): Element | undefined {
  for (const child of root.getChildElements()) {
    const found = child.getName() === name ? child : findOrNot(child, name);
    if (found) return found;
  }
  return undefined;
}

function codeOf(jingle: Element): string | undefined {
  try {
    parseJingle(jingle);
    return undefined;
  } catch (error) {
    return error instanceof IpopError ? error.code : `${error}`;
  }
}
