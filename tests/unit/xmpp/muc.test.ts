// SPDX-License-Identifier: MIT

import test from 'ava';
import xml, {type Element} from '@xmpp/xml';
import {IpopError} from '../../../src/base/errors.ts';
import {Room, type RoomOptions} from '../../../src/xmpp/muc.ts';
import {VirtualClock} from './world.ts';

const ROOM = 'lan@rooms.example.org';
const ME = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);
const MUC_USER = 'http://jabber.org/protocol/muc#user';
const FORM = 'jabber:x:data';

type Answer = (iq: Element) => Element | IpopError;

interface Bench {
  readonly room: Room;
  readonly sent: Element[];
  readonly requests: Element[];
  readonly events: string[];
  readonly clock: VirtualClock;
  enter(): Promise<void>;
  settle(): Promise<void>;
}

const result = (...children: Element[]): Element => xml('iq', {type: 'result'}, ...children);

function bench(options: Partial<RoomOptions> = {}, answer: Answer = () => result()): Bench {
  const clock = new VirtualClock();
  const sent: Element[] = [];
  const requests: Element[] = [];
  const events: string[] = [];
  const room = new Room(
    {room: ROOM, nick: ME, jid: 'me@example.org', owner: false, members: [], ...options},
    {
      onJoined: () => void events.push('joined'),
      onRefused: (error) => void events.push(`refused ${error.code}`),
      onMemberOnline: ({id, jid}) => void events.push(`+ ${id[0]} ${jid}`),
      onMemberOffline: (id) => void events.push(`- ${id[0]}`),
      onTwin: (jid) => void events.push(`twin ${jid}`),
      log: (level, text) => void events.push(`${level} ${text}`),
      after: clock.after,
    },
  );
  const request = async (iq: Element): Promise<Element> => {
    requests.push(iq);
    const answered = answer(iq);
    if (answered instanceof IpopError) throw answered;
    return answered;
  };
  const io = {send: (element: Element) => void sent.push(element), request};
  const settle = (): Promise<void> => clock.advance(0);
  const enter = async (): Promise<void> => {
    room.join(io);
    await settle();
  };
  return {room, sent, requests, events, clock, enter, settle};
}

interface Occupant {
  readonly jid?: string;
  readonly affiliation?: string;
  readonly codes?: readonly string[];
  readonly type?: string;
  readonly from?: string;
}

function presence(nick: string, {jid, affiliation = 'member', codes = [], type, from = ROOM}: Occupant = {}): Element {
  const item = xml('item', {affiliation, role: 'participant', jid});
  const user = xml('x', {xmlns: MUC_USER}, item, ...codes.map((code) => xml('status', {code})));
  return xml('presence', {from: `${from}/${nick}`, type}, user);
}

const self = (options: Occupant = {}): Element =>
  presence(ME, {jid: 'me@example.org/ipop', codes: ['110'], ...options});

function refusal(condition: string): Element {
  const error = xml('error', {type: 'cancel'}, xml(condition, {xmlns: 'urn:ietf:params:xml:ns:xmpp-stanzas'}));
  return xml('presence', {from: `${ROOM}/${ME}`, type: 'error'}, error);
}

function form(): Element {
  const field = (name: string, type: string, ...values: string[]): Element =>
    xml('field', {var: name, type}, ...values.map((value) => xml('value', {}, value)));
  const users = field('muc#roomconfig_maxusers', 'list-single', '10');
  for (const value of ['10', '50', '200']) users.append(xml('option', {}, xml('value', {}, value)));
  const fields = [
    field('FORM_TYPE', 'hidden', 'http://jabber.org/protocol/muc#roomconfig'),
    field('muc#roomconfig_roomname', 'text-single', 'Our LAN'),
    field('muc#roomconfig_membersonly', 'boolean', '0'),
    field('muc#roomconfig_publicroom', 'boolean', '1'),
    field('muc#roomconfig_whois', 'list-single', 'moderators'),
    field('muc#roomconfig_roomowners', 'jid-multi', 'me@example.org', 'you@example.org'),
    xml('field', {type: 'fixed'}, xml('value', {}, 'About this room')),
    users,
  ];
  return result(
    xml('query', {xmlns: 'http://jabber.org/protocol/muc#owner'}, xml('x', {xmlns: FORM, type: 'form'}, ...fields)),
  );
}

/** An owner's server: sends the form, has one member and one admin. */
const ownerAnswers: Answer = (iq) => {
  const query = iq.getChild('query');
  if (query?.getNS().endsWith('#owner') && iq.attrs['type'] === 'get') return form();
  const item = query?.getChild('item');
  if (iq.attrs['type'] !== 'get' || !item) return result();
  const jid = {member: 'there@example.org', admin: 'Admin@example.org', owner: 'me@example.org'}[
    `${item.attrs['affiliation']}`
  ];
  return result(xml('query', {xmlns: 'http://jabber.org/protocol/muc#admin'}, xml('item', {jid})));
};

test('a member does not enter a room that is not there, because that would create it', async (t) => {
  const {enter, sent, events} = bench({}, () => new IpopError('item-not-found', 'no'));
  await enter();
  t.deepEqual(sent, []);
  t.deepEqual(events, ['refused room-missing']);
});

test('a member that created a room by accident destroys it and waits', async (t) => {
  const {room, enter, settle, requests, events} = bench();
  await enter();
  room.handlePresence(self({codes: ['110', '201'], affiliation: 'owner'}));
  await settle();
  t.truthy(requests.at(-1)?.getChild('query')?.getChild('destroy'));
  t.deepEqual(events, ['refused room-missing']);
});

test('members are those with a node id and a real address', async (t) => {
  const {room, enter, events} = bench();
  await enter();
  room.handlePresence(presence(OTHER, {jid: 'other@example.org/ipop'}));
  room.handlePresence(presence('Laptop', {jid: 'person@example.org/laptop'}));
  room.handlePresence(presence('B'.repeat(40), {jid: 'upper@example.org/x'}));
  room.handlePresence(presence('c'.repeat(40), {jid: 'evil@example.org/x', from: 'other@rooms.example.org'}));
  room.handlePresence(self());
  t.deepEqual(events, ['+ b other@example.org/ipop', 'joined']);
  t.true(room.hasOccupant('other@example.org/ipop'));
  t.false(room.hasOccupant('person@example.org/laptop'));
});

test('a room that hides addresses is left with a reason, also when that shows only later', async (t) => {
  for (const late of [false, true]) {
    const {room, enter, sent, events} = bench();
    await enter();
    if (late) room.handlePresence(self());
    room.handlePresence(presence(OTHER));
    if (!late) room.handlePresence(self());
    t.is(events.at(-1), 'refused room-anonymous');
    t.is(sent.at(-1)?.attrs['type'], 'unavailable');
  }
});

test('every refusal of the room has a code', async (t) => {
  const codes: Record<string, string> = {
    'registration-required': 'not-a-member',
    'item-not-found': 'room-missing',
    forbidden: 'room-banned',
    'not-allowed': 'room-missing',
    'not-authorized': 'room-refused',
    'service-unavailable': 'room-full',
    'remote-server-not-found': 'room-unreachable',
    'something-else': 'room-refused',
  };
  for (const [condition, code] of Object.entries(codes)) {
    const {room, enter, events} = bench();
    await enter();
    room.handlePresence(refusal(condition));
    t.deepEqual(events, [`refused ${code}`]);
  }
});

const NOTE = `${ME}-twin`;
const TWIN_JID = 'copy@example.org/ipop-aaaa';

test('a node whose nick is taken leaves a note at most once a minute, and learns who has it', async (t) => {
  const {room, enter, events, sent, clock} = bench();
  await enter();
  room.handlePresence(refusal('conflict'));
  t.deepEqual(events.splice(0), ['twin undefined']);
  t.is(sent.at(-1)?.attrs['to'], `${ROOM}/${NOTE}`);
  room.handlePresence(presence(ME, {jid: TWIN_JID}));
  room.handlePresence(presence(OTHER, {jid: 'b@example.org/x'}));
  room.handlePresence(presence(NOTE, {jid: 'me@example.org/ipop', codes: ['110']}));
  t.deepEqual(events.splice(0), [`twin ${TWIN_JID}`, 'refused nick-conflict']);
  t.is(sent.at(-1)?.attrs['to'], `${ROOM}/${NOTE}`);
  t.is(sent.at(-1)?.attrs['type'], 'unavailable');

  await clock.advance(50_000);
  await enter();
  const before = sent.length;
  room.handlePresence(presence(NOTE, {jid: 'me@example.org/ipop', codes: ['110'], type: 'unavailable'}));
  room.handlePresence(refusal('conflict'));
  t.deepEqual(events.splice(0), ['twin undefined', 'refused nick-conflict']);
  t.is(sent.length, before, 'no second note yet');
  await clock.advance(11_000);
  await enter();
  room.handlePresence(refusal('conflict'));
  t.is(sent.at(-1)?.attrs['to'], `${ROOM}/${NOTE}`);
});

test('a note that the room refuses, that is given up, or whose connection is lost harms nothing', async (t) => {
  for (const [end, expected] of [
    ['error', ['twin undefined', 'refused nick-conflict']],
    ['leave', ['twin undefined']],
    ['pause', ['twin undefined']],
  ] as const) {
    const {room, enter, events, sent} = bench();
    await enter();
    room.handlePresence(refusal('conflict'));
    if (end === 'error') room.handlePresence(refusal('registration-required'));
    else room[end]();
    t.deepEqual(events.splice(0), [...expected], end);
    t.is(sent.at(-1)?.attrs['type'], end === 'leave' ? 'unavailable' : undefined);
    await enter();
    room.handlePresence(self());
    t.deepEqual(events, ['joined'], end);
  }
});

test('a note to this node tells of the other one, and is no member; notes to others are passed over', async (t) => {
  const {room, enter, events} = bench();
  await enter();
  room.handlePresence(self());
  room.handlePresence(presence(NOTE, {jid: TWIN_JID}));
  room.handlePresence(presence(NOTE, {jid: TWIN_JID, type: 'unavailable'}));
  room.handlePresence(presence(`${OTHER}-twin`, {jid: 'b@example.org/x'}));
  t.deepEqual(events, ['joined', `twin ${TWIN_JID}`]);
});

test('an expelled node sees nobody any more; one whose room service restarts keeps its members', async (t) => {
  for (const [codes, expected] of [
    [
      ['110', '307'],
      ['- b', 'refused room-removed'],
    ],
    [
      ['110', '301'],
      ['- b', 'refused room-banned'],
    ],
    [
      ['110', '321'],
      ['- b', 'refused not-a-member'],
    ],
    [['110', '332'], ['refused room-removed']],
  ] as const) {
    const {room, enter, events} = bench();
    await enter();
    room.handlePresence(presence(OTHER, {jid: 'other@example.org/ipop'}));
    room.handlePresence(self());
    events.length = 0;
    room.handlePresence(self({codes, type: 'unavailable'}));
    t.deepEqual(events, [...expected]);
  }
});

test('the owner sends the form back with its own fields set and the others as they were', async (t) => {
  const {room, enter, settle, requests, events} = bench({owner: true}, ownerAnswers);
  await enter();
  room.handlePresence(self({codes: ['110', '201'], affiliation: 'owner'}));
  await settle();
  t.deepEqual(events, ['joined']);
  const submitted = requests.find((iq) => iq.attrs['type'] === 'set' && iq.getChild('query')?.getChild('x'));
  const fields = submitted?.getChild('query')?.getChild('x')?.getChildren('field') ?? [];
  const values = Object.fromEntries(fields.map((f) => [f.attrs['var'], f.getChildren('value').map((v) => v.text())]));
  t.deepEqual(values, {
    FORM_TYPE: ['http://jabber.org/protocol/muc#roomconfig'],
    'muc#roomconfig_roomname': ['Our LAN'],
    'muc#roomconfig_membersonly': ['1'],
    'muc#roomconfig_publicroom': ['0'],
    'muc#roomconfig_whois': ['anyone'],
    'muc#roomconfig_roomowners': ['me@example.org', 'you@example.org'],
    'muc#roomconfig_maxusers': ['200'],
  });
});

test('the owner adds only those who have no affiliation, so that no admin is made a mere member', async (t) => {
  const members = ['there@example.org', 'admin@example.org', 'me@example.org', 'new@example.org', 'new@example.org'];
  const {room, enter, settle, requests} = bench({owner: true, members}, ownerAnswers);
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  const granted = requests
    .filter((iq) => iq.attrs['type'] === 'set')
    .map((iq) => iq.getChild('query')?.getChild('item')?.attrs)
    .filter((attrs) => attrs !== undefined);
  t.deepEqual(granted, [{affiliation: 'member', jid: 'new@example.org'}]);
});

test('a member that cannot be added does not keep the owner out', async (t) => {
  const answer: Answer = (iq) => {
    const item = iq.getChild('query')?.getChild('item');
    return iq.attrs['type'] === 'set' && item ? new IpopError('jid-malformed', 'no such address') : ownerAnswers(iq);
  };
  const {room, enter, settle, events} = bench({owner: true, members: ['bad']}, answer);
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  t.deepEqual(events, [`warning cannot add 'bad' to room '${ROOM}': no such address`, 'joined']);
});

test('a longer member list is granted where the owner is, what was lost with a connection when it is back', async (t) => {
  const {room, enter, settle, requests} = bench({owner: true, members: []}, ownerAnswers);
  const granted = (): (string | undefined)[] =>
    requests
      .splice(0)
      .filter((iq) => iq.attrs['type'] === 'set')
      .flatMap((iq) => iq.getChild('query')?.getChildren('item') ?? [])
      .map((item) => item.attrs['jid']);
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  granted();
  room.setMembers(['new@example.org', 'me@example.org']);
  await settle();
  t.deepEqual(granted(), ['new@example.org']);
  const request = async (iq: Element): Promise<Element> => {
    requests.push(iq);
    return ownerAnswers(iq) as Element;
  };
  t.true(room.resume({send: () => undefined, request}));
  await settle();
  t.deepEqual(granted(), ['new@example.org']);
});

test('an owner is told that a server has no rooms for members only', async (t) => {
  const answer: Answer = (iq) => {
    const answered = ownerAnswers(iq);
    const x = 'attrs' in answered ? answered.getChild('query')?.getChild('x') : undefined;
    if (x) x.children = x.getChildElements().filter((field) => field.attrs['var'] !== 'muc#roomconfig_membersonly');
    return answered;
  };
  const {room, enter, settle, events} = bench({owner: true}, answer);
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  t.deepEqual(events, [
    `warning server cannot make room '${ROOM}' members-only: whoever knows its name can join this network`,
    'joined',
  ]);
});

test('an owner whose form is refused leaves and says why', async (t) => {
  const {room, enter, settle, sent, events} = bench(
    {owner: true},
    () => new IpopError('forbidden', 'refused: forbidden'),
  );
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  t.is(sent.at(-1)?.attrs['type'], 'unavailable');
  t.deepEqual(events, ['refused room-config']);
});

test('presence of ourselves that comes again while the owner sets the room up starts nothing twice', async (t) => {
  const {room, enter, settle, events} = bench({owner: true}, ownerAnswers);
  await enter();
  for (let i = 0; i < 3; i++) room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  room.handlePresence(self({affiliation: 'owner'}));
  await settle();
  t.deepEqual(events, ['joined']);
});

test('an answer that comes after the room was left is void', async (t) => {
  const {room, enter, settle, events} = bench({owner: true}, ownerAnswers);
  await enter();
  room.handlePresence(self({affiliation: 'owner'}));
  room.leave();
  await settle();
  t.deepEqual(events, []);
});

test('at most 1024 nodes are seen', async (t) => {
  const {room, enter, events} = bench();
  await enter();
  for (let i = 0; i < 1_030; i++) {
    const nick = i.toString(16).padStart(40, '0');
    room.handlePresence(presence(nick, {jid: `n${i}@example.org/ipop`}));
  }
  t.is(events.filter((event) => event.startsWith('+')).length, 1_024);
  t.is(events.filter((event) => event.startsWith('warning')).length, 1);
});

test('a room that has forgotten us is entered again; other answers to our ping change nothing', async (t) => {
  const answered = result();
  let condition = '';
  const {room, enter, clock, requests, events} = bench({}, () =>
    condition ? new IpopError(condition, 'no') : answered,
  );
  await enter();
  room.handlePresence(self());
  for (const harmless of ['', 'service-unavailable', 'remote-server-timeout', 'timeout', 'feature-not-implemented']) {
    condition = harmless;
    await clock.advance(120_000);
  }
  t.is(requests.filter((iq) => iq.attrs['to'] === `${ROOM}/${ME}`).length, 5);
  t.deepEqual(events, ['joined']);
  condition = 'not-acceptable';
  await clock.advance(120_000);
  t.deepEqual(events, ['joined', 'refused room-removed']);
  t.is(clock.pending, 0);
});
