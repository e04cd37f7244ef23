// SPDX-License-Identifier: MIT
// The session against a scripted server, in virtual time.

import test from 'ava';
import xml from '@xmpp/xml';
import {NICK, occupant, ROOM, selfPresence, type ServerScript} from './fake-server.ts';
import {online, OTHER, OTHER_JID, run} from './run.ts';

const JINGLE = "<jingle xmlns='urn:xmpp:jingle:1' sid='s1'/>";

const gaps = (times: readonly number[]): number[] => times.slice(1).map((time, i) => time - (times[i] ?? 0));

test('goes through its states to the room, telling the certificate name to native', async (t) => {
  const world = run(t);
  world.session.start();
  await world.clock.advance(100);
  t.deepEqual(world.states, ['connecting', 'authenticating', 'joining', 'online']);
  t.is(world.targets[0]?.name, 'example.org');
  t.is(world.session.server, '192.0.2.1:5223');
  const join = world.server.named('presence').find((presence) => presence.attrs['to'] === `${ROOM}/${NICK}`);
  t.is(join?.getChild('x')?.getChild('history')?.attrs['maxstanzas'], '0');
});

test('logs in without stream management where a server has none', async (t) => {
  const world = await online(t, {sm: false});
  t.is(world.server.named('enable').length, 0);
});

test('sends no stanza between enable and enabled', async (t) => {
  const world = await online(t);
  const names = world.server.got.map(({name}) => name);
  t.deepEqual(names.slice(0, 3), ['iq', 'enable', 'presence']);
});

test('a wrong password stops it for 5 minutes and is said in words', async (t) => {
  const world = run(t, {refuse: 'not-authorized'});
  world.session.start();
  await world.clock.advance(299_000);
  t.is(world.servers.length, 1);
  t.is(world.closed, 1);
  t.is(world.states.at(-1), 'stopped not-authorized');
  t.true(world.log.includes("warning password refused for 'node@example.org'"));
  world.session.probe();
  await world.clock.advance(0);
  t.is(world.servers.length, 1);
  await world.clock.advance(2_000);
  t.is(world.servers.length, 2);
});

test('the real check of the password is the server’s', async (t) => {
  const world = run(t, {}, {password: 'wrong'});
  world.session.start();
  await world.clock.advance(100);
  t.is(world.states.at(-1), 'stopped not-authorized');
});

test('a server that does not know the password is left at once, and nothing is sent to it', async (t) => {
  const world = run(t, {wrongSignature: true});
  world.session.start();
  await world.clock.advance(1_000);
  t.is(world.states.at(-1), 'offline server-signature');
  t.is(world.closed, 1);
  t.is(world.server.headers.length, 1);
  t.deepEqual(world.server.got, []);
  await world.clock.advance(58_000);
  t.is(world.servers.length, 1);
});

test('a server without SCRAM, or with too few rounds, gets no password', async (t) => {
  for (const [script, code] of [
    [{mechanisms: ['PLAIN', 'DIGEST-MD5']}, 'no-mechanism'],
    [{rounds: 1000}, 'scram'],
  ] as const) {
    const world = run(t, script);
    world.session.start();
    await world.clock.advance(100);
    t.is(world.states.at(-1), `offline ${code}`);
  }
});

test('tries a server that refuses connections soon, then each 5 s at most, and never gives up', async (t) => {
  const world = run(t, null);
  world.session.start();
  for (let i = 0; i < 40; i++) {
    world.handlers?.onClosed('refused', 'connection refused');
    await world.clock.advance(5_000);
  }
  t.is(world.triesAtMs.length, 41);
  t.deepEqual(world.states.slice(-2), ['offline refused', 'connecting']);
});

test('retries lie within the bounds of the back-off', async (t) => {
  const world = run(t, null);
  world.session.start();
  for (let i = 0; i < 30; i++) {
    const tries = world.triesAtMs.length;
    const from = world.clock.nowMs;
    world.handlers?.onClosed('refused', 'connection refused');
    while (world.triesAtMs.length === tries) await world.clock.advance(50);
    t.true(world.clock.nowMs - from <= (i === 0 ? 1_050 : 5_050));
  }
});

test('while a server cannot be reached at all, tries follow each other closely', async (t) => {
  const world = run(t, null);
  world.session.start();
  await world.clock.advance(100_000);
  // Each waits 8 s for an answer; a network that comes back is found by the next SYN, or the next try.
  t.true(Math.max(...gaps(world.triesAtMs)) <= 8_200, gaps(world.triesAtMs).join());
});

test('a certificate fault waits 60 s and keeps native’s sentence', async (t) => {
  const world = run(t, null);
  world.session.start();
  world.handlers?.onClosed('tls-unknown-ca', "certificate of 'example.org' is not from a known CA");
  await world.clock.advance(59_000);
  t.is(world.triesAtMs.length, 1);
  t.true(world.log.includes("warning certificate of 'example.org' is not from a known CA"));
  await world.clock.advance(2_000);
  t.is(world.triesAtMs.length, 2);
});

test('no state waits for ever: connection, stream header, binding', async (t) => {
  const silent: (ServerScript | null)[] = [null, {silentFrom: 'stream'}, {silentFrom: 'bind'}];
  for (const script of silent) {
    const world = run(t, script);
    world.session.start();
    await world.clock.advance(30_000);
    t.true(world.states.includes('offline timeout'));
    t.true(world.triesAtMs.length >= 2);
    t.true(world.closed >= 1);
  }
});

test('a room that does not answer is tried again while the stream stays', async (t) => {
  const world = run(t, {silentFrom: 'room', sm: false});
  world.session.start();
  await world.clock.advance(33_000);
  t.true(world.states.includes('waiting timeout') || world.states.includes('offline timeout'), world.states.join());
});

test('counts every stanza of one read, and resumes with that count', async (t) => {
  const world = await online(t);
  const before = 1; // the room's presence of ourselves
  const presences = [OTHER, 'c'.repeat(40), 'd'.repeat(40)].map((nick) =>
    occupant(nick, `${nick[0]}@example.org/ipop`),
  );
  const ping = "<iq type='get' id='p1' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq>";
  world.server.send(presences.join('') + ping + "<r xmlns='urn:xmpp:sm:3'/>");
  await world.clock.advance(100);
  const disco = 1;
  t.is(world.server.named('a').at(-1)?.attrs['h'], `${before + disco + presences.length + 1}`);
  world.script = {resumeAt: 0};
  world.handlers?.onClosed('eof', 'the server closed the connection');
  await world.clock.advance(1_100);
  const [resume] = world.server.named('resume');
  t.is(resume?.attrs['previd'], 'sm1');
  t.is(resume?.attrs['h'], `${before + disco + presences.length + 1}`);
});

test('a resumed session goes on: no new join, nobody reported again, what was not acknowledged is sent again', async (t) => {
  const world = await online(t);
  world.server.send(occupant(OTHER, OTHER_JID));
  await world.clock.advance(10);
  const sent = world.session.sendJingle(OTHER_JID, xml('jingle', {xmlns: 'urn:xmpp:jingle:1', sid: 'again'}));
  await world.clock.advance(10);
  const acknowledged =
    world.server.named('presence').length + world.server.named('iq').filter((iq) => !iq.getChild('bind')).length - 1;
  world.script = {resumeAt: acknowledged};
  world.handlers?.onClosed('eof', '');
  await world.clock.advance(1_100);
  t.is(world.states.at(-1), 'online');
  t.is(world.server.named('presence').length, 0);
  const [again] = world.server.named('iq');
  t.is(again?.getChild('jingle')?.attrs['sid'], 'again');
  // Whoever guesses an id could answer in another's name.
  t.regex(again?.attrs['id'] ?? '', /^[0-9a-f]{16}$/);
  world.server.send(`<iq type='result' from='${OTHER_JID}' id='${again?.attrs['id']}'/>`);
  await world.clock.advance(10);
  await t.notThrowsAsync(sent);
  t.deepEqual(world.events, [`+ b ${OTHER_JID}`]);
});

test('members are not called gone with the stream, but 30 s after a new session without them', async (t) => {
  const world = await online(t);
  world.server.send(occupant(OTHER, OTHER_JID) + occupant('c'.repeat(40), 'c@example.org/ipop'));
  await world.clock.advance(10);
  world.events.length = 0;
  world.handlers?.onClosed('eof', '');
  await world.clock.advance(1_100);
  t.is(world.states.at(-1), 'online');
  world.server.send(occupant('c'.repeat(40), 'c@example.org/ipop'));
  await world.clock.advance(29_000);
  t.deepEqual(world.events, []);
  await world.clock.advance(2_000);
  t.deepEqual(world.events, ['- b']);
});

test('a member that comes back under another address is reported gone and there', async (t) => {
  const world = await online(t);
  world.server.send(occupant(OTHER, OTHER_JID));
  world.server.send(occupant(OTHER, OTHER_JID));
  world.server.send(occupant(OTHER, 'other@example.org/new'));
  world.server.send(occupant(OTHER, 'other@example.org/new', '', 'unavailable'));
  await world.clock.advance(10);
  t.deepEqual(world.events, [`+ b ${OTHER_JID}`, '- b', '+ b other@example.org/new', '- b']);
});

test('jingle of an occupant is answered first, then handed over; that of strangers is refused', async (t) => {
  const world = await online(t);
  world.server.send(occupant(OTHER, OTHER_JID));
  world.server.send(`<iq type='set' id='j1' from='${OTHER_JID}'>${JINGLE}</iq>`);
  world.server.send(`<iq type='set' id='j2' from='other@example.org/else'>${JINGLE}</iq>`);
  world.server.send(`<iq type='set' id='j3'>${JINGLE}</iq>`);
  await world.clock.advance(10);
  t.deepEqual(world.events.slice(1), [`jingle s1 from ${OTHER_JID}`]);
  const answers = world.server.named('iq').filter((iq) => /^j[0-9]$/.test(iq.attrs['id'] ?? ''));
  t.deepEqual(
    answers.map((iq) => `${iq.attrs['id']} ${iq.attrs['type']}`),
    ['j1 result', 'j2 error', 'j3 error'],
  );
  t.truthy(answers[1]?.getChild('error')?.getChild('not-authorized'));
});

test('sendJingle rejects with the peer’s condition, with timeout, and with offline', async (t) => {
  const world = await online(t);
  const send = (sid: string): Promise<void> =>
    world.session.sendJingle(OTHER_JID, xml('jingle', {xmlns: 'urn:xmpp:jingle:1', sid}));
  const unavailable = t.throwsAsync(send('1'), {code: 'recipient-unavailable', message: /nobody home/});
  await world.clock.advance(10);
  const id = world.server.named('iq').at(-1)?.attrs['id'];
  const namespace = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
  const condition = `<recipient-unavailable ${namespace}/><text ${namespace}>nobody home</text>`;
  world.server.send(`<iq type='error' id='${id}' from='${OTHER_JID}'><error type='wait'>${condition}</error></iq>`);
  await world.clock.advance(10);
  await unavailable;
  const late = t.throwsAsync(send('2'), {code: 'timeout'});
  await world.clock.advance(15_000);
  await late;
  const stopped = world.session.stop();
  await t.throwsAsync(send('3'), {code: 'offline'});
  await world.clock.advance(100);
  await stopped;
});

test('odd stanzas are refused or passed over, and what follows still works', async (t) => {
  const world = await online(t);
  const odd = [
    "<iq type='get' id='o1' from='x@y/z'><query xmlns='urn:unknown'/></iq>",
    "<iq type='set' id='o2' from='x@y/z'/>",
    "<iq id='o3' from='x@y/z'><a/><b/></iq>",
    "<iq type='result' id='never'/>",
    "<iq type='error' id='never'/>",
    "<presence from='@'/>",
    "<presence from='' type='error'/>",
    `<presence from='${ROOM}/not-a-node'><x xmlns='http://jabber.org/protocol/muc#user'/></presence>`,
    `<presence from='evil@example.org/${OTHER}'><x xmlns='http://jabber.org/protocol/muc#user'><item jid='e@f/g'/></x></presence>`,
    "<message from='x@y'><body>hello</body></message>",
    "<unknown xmlns='urn:unknown'/>",
    "<a xmlns='urn:xmpp:sm:3' h='no number'/>",
  ];
  world.server.send(odd.join(''));
  world.server.send(occupant(OTHER, OTHER_JID));
  await world.clock.advance(100);
  t.deepEqual(world.events, [`+ b ${OTHER_JID}`]);
  t.deepEqual(world.states, []);
  const answers = world.server.named('iq').filter((iq) => /^o[0-9]$/.test(iq.attrs['id'] ?? ''));
  t.deepEqual(
    answers.map((iq) => `${iq.attrs['id']} ${iq.attrs['type']} ${iq.getChild('error')?.getChildElements()[0]?.name}`),
    ['o1 error service-unavailable', 'o2 error bad-request', 'o3 error bad-request'],
  );
});

test('broken XML ends the stream with the reason, and a new one is made', async (t) => {
  const world = await online(t);
  const first = world.server;
  world.server.send('<presence></iq>');
  await world.clock.advance(1_100);
  t.is(world.states[0], 'offline stream-not-well-formed');
  t.regex(
    first.raw,
    /<stream:error><not-well-formed xmlns="urn:ietf:params:xml:ns:xmpp-streams"\/><\/stream:error><\/stream:stream>$/,
  );
  t.is(world.states.at(-1), 'online');
  // What broke it would come again in a resumed session.
  t.is(world.server.named('resume').length, 0);
});

test('a stanza of over 64 KiB is dropped and counted, and the session does not even notice', async (t) => {
  const world = await online(t);
  world.server.send(`<message from='x@y'><body>${'x'.repeat(70_000)}</body></message>`);
  world.server.send(`${occupant(OTHER, OTHER_JID)}<r xmlns='urn:xmpp:sm:3'/>`);
  await world.clock.advance(100);
  t.deepEqual(world.states, []);
  t.deepEqual(world.events, [`+ b ${OTHER_JID}`]);
  t.is(world.server.named('a').at(-1)?.attrs['h'], '4');
  t.true(world.log.some((line) => line.startsWith("warning dropped a 'message'")));
});

test('the last words of a server are heard although the connection closed in the same moment', async (t) => {
  const world = await online(t);
  world.server.send(
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
  );
  world.handlers?.onClosed('eof', '');
  await world.clock.advance(59_000);
  t.deepEqual(world.states, ['offline conflict']);
  t.true(world.log.some((line) => line.includes('another node with this identity logged in')));
});

test('asks an idle server for a sign of life each 30 s and leaves one that is silent for 10 s', async (t) => {
  for (const sm of [true, false]) {
    const world = await online(t, {sm});
    await world.clock.advance(95_000);
    const asked = sm ? world.server.named('r') : world.server.named('iq').filter((iq) => iq.getChild('ping'));
    t.true(asked.length >= 3, `${asked.length}`);
    t.deepEqual(world.states, []);
    world.server.receive = () => undefined;
    world.script = undefined;
    await world.clock.advance(41_000);
    t.is(world.states[0], 'offline timeout');
  }
});

test('probe finds a dead stream in 4 s and connects anew at once', async (t) => {
  const world = await online(t);
  world.session.probe();
  await world.clock.advance(5_000);
  t.deepEqual(world.states, []);
  world.server.receive = () => undefined;
  world.session.probe();
  await world.clock.advance(3_900);
  t.deepEqual(world.states, []);
  await world.clock.advance(200);
  t.deepEqual(world.states.slice(0, 2), ['offline timeout', 'connecting']);
  t.is(world.states.at(-1), 'online');
});

test('probe hastens the next try, at most once a second', async (t) => {
  const world = run(t, null);
  world.session.start();
  for (let i = 0; i < 12; i++) {
    world.handlers?.onClosed('unreachable', 'network is unreachable');
    await world.clock.advance(0);
    world.session.probe();
    world.session.probe();
    await world.clock.advance(500);
  }
  t.true(Math.min(...gaps(world.triesAtMs)) >= 100);
  t.true(world.triesAtMs.length <= 12);
});

test('answers the server’s ping', async (t) => {
  const world = await online(t);
  world.server.send("<iq type='get' id='ping1' from='example.org'><ping xmlns='urn:xmpp:ping'/></iq>");
  await world.clock.advance(10);
  const answer = world.server.named('iq').find((iq) => iq.attrs['id'] === 'ping1');
  t.is(answer?.attrs['type'], 'result');
});

test('stop leaves the room, ends the stream and leaves no timer behind', async (t) => {
  const world = await online(t);
  const stopped = world.session.stop();
  await world.clock.advance(100);
  await stopped;
  t.true(world.server.ended);
  t.is(world.states.at(-1), 'stopped');
  t.is(world.server.named('presence').filter((presence) => presence.attrs['type'] === 'unavailable').length, 2);
  t.is(world.clock.pending, 0);
  await world.clock.advance(600_000);
  t.is(world.servers.length, 1);
});

test('stop takes at most 2 s with a server that does not answer, and works in every state', async (t) => {
  const world = await online(t);
  world.server.receive = () => undefined;
  const stopped = world.session.stop();
  await world.clock.advance(2_000);
  await stopped;
  for (const script of [null, {silentFrom: 'stream'}, {refuse: 'not-authorized'}] as const) {
    const other = run(t, script);
    other.session.start();
    await other.clock.advance(100);
    await other.session.stop();
    t.is(other.clock.pending, 0);
    t.is(other.states.at(-1), 'stopped');
  }
});

test('bytes of a connection given up long ago change nothing', async (t) => {
  const world = await online(t);
  const old = world.handlers;
  world.handlers?.onClosed('eof', '');
  await world.clock.advance(1_100);
  world.states.length = 0;
  old?.onData(new TextEncoder().encode('<presence></iq>'));
  old?.onClosed('eof', '');
  await world.clock.advance(1_000);
  t.deepEqual(world.states, []);
});

test('the room is tried again soon, then each 5 s at most while we are no member, on the same stream', async (t) => {
  let tries = 0;
  const refused = `<presence type='error' from='${ROOM}/${NICK}'><error type='auth'><registration-required xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`;
  const world = run(t, {room: () => (++tries < 8 ? refused : selfPresence())});
  world.session.start();
  await world.clock.advance(600);
  t.true(tries >= 2);
  await world.clock.advance(8_000);
  t.is(world.states.at(-1), 'waiting not-a-member');
  await world.clock.advance(16_000);
  t.is(world.states.at(-1), 'online');
  t.is(tries, 8);
  t.is(world.servers.length, 1);
});
