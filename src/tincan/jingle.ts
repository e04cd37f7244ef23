// SPDX-License-Identifier: MIT
// Signals <-> Jingle-shaped stanzas: docs/PROTOCOL.md, section 3 (XEP-0166, XEP-0176, XEP-0320). Parsed strictly: what does not
// have this form is refused, so nothing behind this file checks a field's form again; what a later version adds to it is passed over.

import xml, {type Element} from '@xmpp/xml';
import {IpopError} from '../base/errors.ts';
import type {LinkDescription, LinkRole} from '../native/datapath.ts';
import {CANDIDATE_LENGTH} from './candidate.ts';
import type {OwnSignal, Signal, SignedDescription} from './types.ts';
import {PROTOCOL_VERSION} from './version.ts';

export const JINGLE = 'urn:xmpp:jingle:1';
const LINK = 'urn:ipop:link:0';
const ICE = 'urn:xmpp:jingle:transports:ice-udp:1';
const DTLS = 'urn:xmpp:jingle:apps:dtls:0';
const CANDIDATE = 'urn:ipop:candidate:0';

const ACTIONS = {
  offer: 'session-initiate',
  answer: 'session-accept',
  candidate: 'transport-info',
  terminate: 'session-terminate',
} as const;

/** In one element: ours, and what a later version may add. */
const CHILDREN = 16;

// Each attribute's form; lengths are in UTF-16 units. ICE: RFC 8839 section 5.4.
const NODE_ID = /^[0-9a-f]{40}$/;
const NONCE = /^[0-9a-f]{32}$/;
const VERSION = /^[1-9]\d{0,5}$/;
const COUNT = /^[1-9]\d{0,14}$/;
const UFRAG = /^[A-Za-z0-9+/]{4,256}$/;
const PWD = /^[A-Za-z0-9+/]{22,256}$/;
const FINGERPRINT = /^[0-9A-F]{2}(?::[0-9A-F]{2}){31}$/;
const KEY = /^[0-9a-f]{64}$/;
const SIGNATURE = /^[0-9a-f]{128}$/;
const REASON = /^[a-z][a-z0-9-]{0,31}$/;
// No control characters, which a terminal would obey.
const NAME = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]{0,64}$/u;
const JID = /^[^\p{Cc}\p{Cs}\s]{1,1024}$/u;
const TEXT = /^[^\p{Cc}\p{Cs}]{0,256}$/u;

/** Stanza child of a signal. */
export function writeJingle(signal: OwnSignal): Element {
  const attrs = {xmlns: JINGLE, action: ACTIONS[signal.type], sid: signal.sid};
  if (signal.type === 'terminate') {
    const text = signal.text === '' ? undefined : xml('text', {}, clean(signal.text));
    return xml('jingle', attrs, xml('reason', {}, xml(signal.reason), text));
  }
  const parts =
    signal.type === 'candidate'
      ? [xml('transport', {xmlns: ICE}, xml('candidate', {xmlns: CANDIDATE}, signal.candidate))]
      : describe(signal.signed);
  return xml('jingle', attrs, xml('content', {creator: 'initiator', name: 'ipop'}, ...parts));
}

/** Signal of a received `jingle` element. Throws IpopError `malformed-signal`, which names the field. */
export function parseJingle(jingle: Element): Signal {
  if (!jingle.is('jingle', JINGLE)) throw malformed('element', jingle.name);
  const sid = attr(jingle, 'sid', NONCE);
  const action = jingle.attrs['action'];
  switch (action) {
    case ACTIONS.offer:
    case ACTIONS.answer: {
      const type = action === ACTIONS.offer ? 'offer' : 'answer';
      const content = contentOf(jingle);
      // First: another version's form may be another one.
      const version = Number(attr(only(content, [['description', LINK]])[0] as Element, 'version', VERSION));
      if (version !== PROTOCOL_VERSION) return {type: 'unsupported', sid, version};
      const signed = parseSigned(content, type);
      if (signed.nonce !== sid) throw malformed('sid', sid);
      return {type, sid, signed};
    }
    case ACTIONS.candidate: {
      const transport = only(contentOf(jingle), [['transport', ICE]])[0] as Element;
      const candidate = (only(transport, [['candidate', CANDIDATE]])[0] as Element).text();
      if (candidate.length > CANDIDATE_LENGTH || !/^[ -~]+$/.test(candidate)) throw malformed('candidate', candidate);
      return {type: 'candidate', sid, candidate};
    }
    case ACTIONS.terminate:
      return parseTerminate(jingle, sid);
    default:
      throw malformed('action', action);
  }
}

function describe(signed: SignedDescription): Element[] {
  const {description} = signed;
  const attrs = {
    xmlns: LINK,
    version: `${PROTOCOL_VERSION}`,
    network: signed.network,
    from: signed.from,
    to: signed.to,
    boot: `${signed.boot}`,
    generation: `${signed.generation}`,
    nonce: signed.nonce,
    role: signed.role,
    name: signed.name,
    key: signed.publicKey,
    signature: signed.signature,
  };
  const fingerprint = xml(
    'fingerprint',
    {xmlns: DTLS, hash: 'sha-256', setup: description.setup},
    description.fingerprint,
  );
  return [
    xml('description', attrs),
    xml('transport', {xmlns: ICE, ufrag: description.ufrag, pwd: description.pwd}, fingerprint),
  ];
}

function parseSigned(content: Element, role: LinkRole): SignedDescription {
  const [description, transport] = only(content, [
    ['description', LINK],
    ['transport', ICE],
  ]) as [Element, Element];
  attr(description, 'role', new RegExp(`^${role}$`));
  return {
    role,
    from: attr(description, 'from', NODE_ID),
    to: attr(description, 'to', NODE_ID),
    network: attr(description, 'network', JID),
    boot: Number(attr(description, 'boot', COUNT)),
    generation: Number(attr(description, 'generation', COUNT)),
    nonce: attr(description, 'nonce', NONCE),
    description: parseTransport(transport, role),
    publicKey: attr(description, 'key', KEY),
    name: attr(description, 'name', NAME),
    signature: attr(description, 'signature', SIGNATURE),
  };
}

function parseTransport(transport: Element, role: LinkRole): LinkDescription {
  const fingerprint = only(transport, [['fingerprint', DTLS]])[0] as Element;
  attr(fingerprint, 'hash', /^sha-256$/);
  const text = fingerprint.text();
  if (!FINGERPRINT.test(text)) throw malformed('fingerprint', text);
  // RFC 8842 section 5.2: an offer leaves the choice, an answer makes it.
  const setup = attr(fingerprint, 'setup', role === 'offer' ? /^actpass$/ : /^(active|passive)$/);
  return {
    ufrag: attr(transport, 'ufrag', UFRAG),
    pwd: attr(transport, 'pwd', PWD),
    fingerprint: text,
    setup: setup as LinkDescription['setup'],
  };
}

function parseTerminate(jingle: Element, sid: string): Signal {
  const reason = only(jingle, [['reason', JINGLE]])[0] as Element;
  const children = reason.getChildElements();
  const names = children.filter((child) => child.getName() !== 'text');
  const texts = children.filter((child) => child.getName() === 'text');
  const name = names[0]?.getName() ?? '';
  const text = texts[0]?.text() ?? '';
  if (names.length !== 1 || !REASON.test(name)) throw malformed('reason', name);
  if (texts.length > 1 || !TEXT.test(text)) throw malformed('text', text);
  return {type: 'terminate', sid, reason: name, text};
}

function contentOf(jingle: Element): Element {
  const content = only(jingle, [['content', JINGLE]])[0] as Element;
  attr(content, 'creator', /^initiator$/);
  attr(content, 'name', /^ipop$/);
  return content;
}

/** These child elements, each of which must be there once, in any order; others are a later version's. */
function only(parent: Element, wanted: readonly (readonly [name: string, xmlns: string])[]): Element[] {
  const children = parent.getChildElements();
  if (children.length > CHILDREN) throw malformed(`children of ${parent.name}`, `${children.length}`);
  return wanted.map(([name, xmlns]) => {
    const found = children.filter((child) => child.is(name, xmlns));
    if (found.length !== 1) throw malformed(`${name} in ${parent.name}`, undefined);
    return found[0] as Element;
  });
}

function attr(element: Element, name: string, form: RegExp): string {
  const value = element.attrs[name];
  if (typeof value !== 'string' || !form.test(value)) throw malformed(name, value);
  return value;
}

/** What a peer would refuse in a sentence of ours (it may quote a native error) is taken out. */
function clean(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cs}]/gu, ' ')
    .slice(0, 200)
    .replace(/\p{Cs}$/u, '');
}

function malformed(field: string, value: string | undefined): IpopError {
  const shown =
    value === undefined ? 'missing or not once' : `"${value.slice(0, 40).replace(/[\p{Cc}\p{Cf}]/gu, '?')}"`;
  return new IpopError('malformed-signal', `Cannot read the signal: ${field} is ${shown}`);
}
