// SPDX-License-Identifier: MIT
// What is read once a start, a stanza or an offer: configuration, XML, signed descriptions.

import type {Element} from '@xmpp/xml';
import {hex} from '../../src/base/bytes.ts';
import {checkDescription, nodeId} from '../../src/tincan/identity.ts';
import {parseJingle, writeJingle} from '../../src/tincan/jingle.ts';
import type {SignedDescription} from '../../src/tincan/types.ts';
import {readConfig} from '../../src/uci/config.ts';
import {parseUci} from '../../src/uci/parse.ts';
import {StreamParser} from '../../src/xmpp/parser.ts';
import type {Stage} from './measure.ts';

const HEADER = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const KEY = Uint8Array.from({length: 32}, (_, i) => i);
/** Native computes these; here is measured what TypeScript does around them. */
const crypto = {sha256: () => KEY, verify: () => true};
const SENDER = nodeId(KEY, crypto.sha256);
const SELF = 'ab'.repeat(20);
const NETWORK = 'home@rooms.example.org';

const OFFER: SignedDescription = {
  role: 'offer',
  from: SENDER,
  to: SELF,
  network: NETWORK,
  boot: 1_700_000_000,
  generation: 3,
  nonce: '00112233445566778899aabbccddeeff',
  description: {
    ufrag: 'aB+/',
    pwd: 'abcdefghijklmnopqrstuv',
    fingerprint: Array.from(KEY, (byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':'),
    setup: 'actpass',
  },
  publicKey: hex(KEY),
  name: 'Hütte',
  signature: '00'.repeat(64),
};

const CONFIG = `config ipop 'main'
\toption enabled '1'
\toption name 'office'
\toption log_level 'info'

config network 'home'
\toption jid 'office@example.org'
\toption password 'secret word'
\toption server 'xmpp.example.org:5223'
\toption room '${NETWORK}'
\toption owner '1'
\tlist member 'cabin@example.org'
\tlist member 'boat@example.org'
\toption bridge 'br-lan'
\toption tap 'ipop0'
\toption mtu '1500'
\tlist stun 'stun:stun.example.org:3478'
\tlist turn 'turn:user:password@turn.example.org:3478'
`;

export function signalStages(): Stage[] {
  const stanza = `<iq type='set' id='a1' from='${NETWORK}/${SENDER}' to='office@example.org/r'>${writeJingle({type: 'offer', sid: OFFER.nonce, signed: OFFER}).toString()}</iq>`;
  return [
    {
      name: 'uci: parse',
      count: 1,
      bytes: CONFIG.length,
      call: () => void parseUci(CONFIG, 'ipop'),
    },
    {name: 'uci: parse and check', count: 1, bytes: CONFIG.length, call: config},
    parsing(stanza),
    jingle(stanza),
    {
      name: 'offer: check of the signed string',
      count: 1,
      bytes: 480,
      call: () => checkDescription(OFFER, {self: SELF, sender: SENDER, network: NETWORK}, crypto),
    },
  ];
}

function config(): void {
  const read = readConfig(CONFIG, 'ipop', {hostName: 'office'});
  if ('problems' in read) throw new Error(read.problems.map(({text}) => text).join('; '));
}

/** A stream that hands each stanza to `handle` at once. */
function stream(handle: (element: Element) => void): StreamParser {
  const parser = new StreamParser(
    (callback) => callback(),
    ({text}) => {
      throw new Error(text);
    },
    (name) => {
      throw new Error(`${name} was dropped`);
    },
  );
  parser.on('element', handle);
  parser.write(HEADER);
  return parser;
}

function parsing(stanza: string): Stage {
  const parser = stream(() => {});
  return {name: 'stanza: parse an offer', count: 1, bytes: stanza.length, call: () => parser.write(stanza)};
}

function jingle(stanza: string): Stage {
  let parsed: Element | undefined;
  stream((element) => (parsed = element.getChild('jingle'))).write(stanza);
  const offer = parsed!;
  return {name: 'offer: read the stanza', count: 1, bytes: stanza.length, call: () => void parseJingle(offer)};
}
