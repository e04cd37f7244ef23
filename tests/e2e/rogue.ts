// SPDX-License-Identifier: MIT
// A room member of bad intent: a real account that sends what no node would. A program, so that it can run in a site's namespace.
//
//   rogue.ts OPTIONS          OPTIONS: JSON of RogueOptions
// Reads lines `KIND NODE_ID`; writes `online NODE_ID`, `member NODE_ID`, `sent KIND`, `failed KIND CODE`, and what comes back:
// `jingle FROM_ID ACTION REASON TEXT`.

import {createHash, generateKeyPairSync, randomBytes, sign} from 'node:crypto';
import {createInterface} from 'node:readline';
import xml, {type Element} from '@xmpp/xml';
import {nodeId, signDescription} from '../../src/tincan/identity.ts';
import {JINGLE, writeJingle} from '../../src/tincan/jingle.ts';
import type {SignedDescription} from '../../src/tincan/types.ts';
import {createXmppSession} from '../../src/xmpp/session.ts';
import {nodeDeps} from '../integration/xmpp/node-deps.ts';

export interface RogueOptions {
  readonly jid: string;
  readonly password: string;
  readonly host: string;
  readonly port: number;
  readonly caFile: string;
  readonly room: string;
}

type Unsigned = Omit<SignedDescription, 'signature'>;

const options = JSON.parse(process.argv[2] ?? '') as RogueOptions;
const {publicKey, privateKey} = generateKeyPairSync('ed25519');
const rawKey = publicKey.export({type: 'spki', format: 'der'}).subarray(-32);
const id = nodeId(rawKey, (data) => createHash('sha256').update(data).digest());
const addresses = new Map<string, string>();
let generation = 1;

/** An offer that is right, but for what is changed. */
function offerTo(to: string, changed: Partial<Unsigned> = {}): SignedDescription {
  const nonce = randomBytes(16).toString('hex');
  const fingerprint = randomBytes(32).toString('hex').toUpperCase().match(/../g)!.join(':');
  const description = {ufrag: 'abcd', pwd: 'a'.repeat(22), fingerprint, setup: 'actpass'} as const;
  const right = {role: 'offer', from: id, to, network: options.room, boot: 2_000_000_000, generation, nonce} as const;
  const unsigned = {...right, description, publicKey: rawKey.toString('hex'), name: 'rogue', ...changed};
  return signDescription(unsigned, (data) => sign(null, data, privateKey));
}

function stanza(signed: SignedDescription): Element {
  return writeJingle({type: signed.role, sid: signed.nonce, signed});
}

/** An offer whose finished stanza is spoiled. */
function spoiled(to: string, spoil: (jingle: Element) => void): Element {
  const jingle = stanza(offerTo(to));
  spoil(jingle);
  return jingle;
}

function part(jingle: Element, name: 'content' | 'description' | 'transport'): Element {
  const content = jingle.getChild('content')!;
  return name === 'content' ? content : content.getChildElements().find((child) => child.name === name)!;
}

function nested(depth: number): Element {
  return depth === 0 ? xml('x') : xml('x', {}, nested(depth - 1));
}

/** Session ids of the last offers that came. */
const offered = new Map<string, string>();
const other = 'f'.repeat(40);
const KINDS: Readonly<Record<string, (to: string) => Element>> = {
  'no-sid': () => xml('jingle', {xmlns: JINGLE, action: 'session-initiate'}),
  'unknown-action': () => xml('jingle', {xmlns: JINGLE, action: '\u00e4rger<&', sid: 'a'.repeat(32)}),
  'no-content': () => xml('jingle', {xmlns: JINGLE, action: 'session-initiate', sid: 'a'.repeat(32)}),
  'two-contents': (to) =>
    spoiled(to, (jingle) => void jingle.append(xml('content', {creator: 'initiator', name: 'ipop'}))),
  'garbage-attributes': (to) =>
    spoiled(to, (jingle) =>
      Object.assign(part(jingle, 'description').attrs, {boot: '-1', from: `'"<>&`, 'x\u00fc': '1'}),
    ),
  'escape-in-name': (to) =>
    spoiled(to, (jingle) => void (part(jingle, 'description').attrs['name'] = '\u202eoffice\u2028')),
  'huge-generation': (to) =>
    spoiled(to, (jingle) => void (part(jingle, 'description').attrs['generation'] = '9'.repeat(40))),
  'giant-value': (to) => spoiled(to, (jingle) => void (part(jingle, 'transport').attrs['ufrag'] = 'a'.repeat(50_000))),
  'giant-stanza': (to) => spoiled(to, (jingle) => void jingle.append(xml('x', {}, 'a'.repeat(200_000)))),
  deep: (to) => spoiled(to, (jingle) => void part(jingle, 'content').append(nested(60))),
  wide: (to) =>
    spoiled(to, (jingle) => {
      for (let i = 0; i < 2_000; i++) jingle.append(xml('x'));
    }),
  'garbage-candidate': (to) => {
    const candidate = xml('candidate', {xmlns: 'urn:ipop:candidate:0'}, '\u0416'.repeat(3_000));
    const transport = xml('transport', {xmlns: 'urn:xmpp:jingle:transports:ice-udp:1'}, candidate);
    const sid = offerTo(to).nonce;
    return xml(
      'jingle',
      {xmlns: JINGLE, action: 'transport-info', sid},
      xml('content', {creator: 'initiator', name: 'ipop'}, transport),
    );
  },
  'bad-signature': (to) => stanza({...offerTo(to), name: 'not what was signed'}),
  'not-the-sender': (to) => stanza(offerTo(to, {from: other})),
  'wrong-recipient': (to) => stanza(offerTo(to, {to: other})),
  'key-mismatch': (to) => stanza(offerTo(to, {publicKey: '0'.repeat(64)})),
  'wrong-network': (to) => stanza(offerTo(to, {network: 'elsewhere@conference.example.org'})),
  good: (to) => stanza(offerTo(to, {generation: ++generation})),
  'end-offer': (to) =>
    writeJingle({type: 'terminate', sid: offered.get(to) ?? '0'.repeat(32), reason: 'busy', text: 'not now'}),
  'old-generation': (to) => stanza(offerTo(to, {generation: generation - 1})),
  'old-boot': (to) => stanza(offerTo(to, {generation: generation + 1, boot: 5})),
  'unasked-answer': (to) => {
    const offer = offerTo(to);
    return stanza(offerTo(to, {role: 'answer', description: {...offer.description, setup: 'active'}}));
  },
};

const session = createXmppSession(
  nodeDeps((line) => console.error(line)),
  {
    jid: options.jid,
    password: options.password,
    server: {host: options.host, port: options.port},
    tls: 'direct',
    caFile: options.caFile,
    pin: undefined,
    room: options.room,
    resource: `ipop-${id.slice(0, 16)}`,
    nick: id,
    owner: false,
    members: [],
  },
  {
    onState: (state) => {
      if (state === 'online') console.log(`online ${id}`);
    },
    onMemberOnline: (member) => {
      addresses.set(member.id, member.jid);
      console.log(`member ${member.id}`);
    },
    onMemberOffline: (gone) => void addresses.delete(gone),
    onJingle: (from, jingle) => {
      const sender = [...addresses].find(([, jid]) => jid === from)?.[0] ?? from;
      if (jingle.attrs['action'] === 'session-initiate') offered.set(sender, `${jingle.attrs['sid']}`);
      const reason = jingle.getChild('reason')?.getChildElements() ?? [];
      const words = reason.map((child) => (child.name === 'text' ? child.text() : child.name)).join(' ');
      console.log(`jingle ${sender} ${jingle.attrs['action']} ${words}`);
    },
  },
);
session.start();

createInterface({input: process.stdin}).on('line', (line) => {
  const [kind = '', to = ''] = line.split(' ');
  const make = KINDS[kind];
  const address = addresses.get(to);
  if (make === undefined || address === undefined) return console.log(`failed ${kind} no-such-kind-or-member`);
  session.sendJingle(address, make(to)).then(
    () => console.log(`sent ${kind}`),
    (error: {code?: string}) => console.log(`failed ${kind} ${error.code}`),
  );
});
