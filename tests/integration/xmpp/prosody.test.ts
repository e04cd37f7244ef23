// SPDX-License-Identifier: MIT
// The session against a real Prosody on loopback.

import test, {type ExecutionContext} from 'ava';
import xml from '@xmpp/xml';
import type {XmppOptions} from '../../../src/xmpp/types.ts';
import {TestNode} from './node.ts';
import {Prosody, ROOMS_DOMAIN, SHA1_DOMAIN, SHA256_DOMAIN} from './prosody.ts';

const OWNER = `owner@${SHA1_DOMAIN}`;
const CABIN = `cabin@${SHA256_DOMAIN}`;
const BOAT = `boat@${SHA256_DOMAIN}`;
const PASSWORD = 'pä=ss,wörd <&>';

let server: Prosody;
test.before(async () => {
  server = await Prosody.start({[OWNER]: PASSWORD, [CABIN]: PASSWORD, [BOAT]: PASSWORD});
});
test.after.always(async () => {
  await server?.kill();
  server?.remove();
});

/** A node that is stopped at the test's end, in a room of its own by default. */
function node(t: ExecutionContext, digit: string, jid: string, options: Partial<XmppOptions> = {}): TestNode {
  const made = new TestNode(server, digit, jid, PASSWORD, {room: room(t), ...options});
  t.teardown(() => made.session.stop());
  return made;
}

function room(t: ExecutionContext): string {
  return `${t.title.replace(/[^a-z]/g, '').slice(0, 40)}@${ROOMS_DOMAIN}`;
}

async function pair(t: ExecutionContext): Promise<[TestNode, TestNode]> {
  const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN]});
  const cabin = node(t, 'b', CABIN);
  await owner.online();
  await cabin.online();
  await owner.until('cabin', ({members}) => members.size === 1);
  return [owner, cabin];
}

test.serial('logs in where the password is stored as SHA-1 and where it is stored as SHA-256', async (t) => {
  const [owner, cabin] = await pair(t);
  t.is(owner.state, 'online');
  t.is(cabin.state, 'online');
  t.true(owner.history.includes('pbkdf2 SHA-1'));
  t.true(cabin.history.includes('pbkdf2 SHA-256'));
  t.is(owner.session.server, `127.0.0.1:${server.port}`);
});

test.serial('a member waits for the owner to make the room, and gets in then', async (t) => {
  const cabin = node(t, 'b', CABIN);
  cabin.session.start();
  await cabin.until('waiting', ({state}) => state === 'waiting');
  t.is(cabin.error, 'room-missing');
  const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN]});
  await owner.online();
  await cabin.until('online', ({state}) => state === 'online');
  t.deepEqual([...cabin.members], [[owner.id, `${OWNER}/ipop-${owner.id.slice(0, 16)}`]]);
});

test.serial('an account that is no member is told so and gets in once it is one', async (t) => {
  const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN]});
  await owner.online();
  const boat = node(t, 'c', BOAT);
  boat.session.start();
  await boat.until('waiting', ({state}) => state === 'waiting');
  t.is(boat.error, 'not-a-member');
  t.true(boat.history.some((line) => line.includes(`to add '${BOAT}' as a member`)));
  await owner.session.stop();
  const again = node(t, 'a', OWNER, {owner: true, members: [CABIN, BOAT]});
  await again.online();
  await boat.until('online', ({state}) => state === 'online');
  t.is(again.state, 'online');
});

test.serial('one who is not the owner of an existing room cannot act as its owner', async (t) => {
  const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN]});
  await owner.online();
  const thief = node(t, 'b', CABIN, {owner: true});
  thief.session.start();
  await thief.until('waiting', ({state}) => state === 'waiting');
  t.is(thief.error, 'not-owner');
});

test.serial('three nodes see the full addresses of each other, and who leaves', async (t) => {
  const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN, BOAT]});
  await owner.online();
  const cabin = node(t, 'b', CABIN);
  const boat = node(t, 'c', BOAT);
  await Promise.all([cabin.online(), boat.online()]);
  const all = [owner, cabin, boat];
  for (const one of all) await one.until('two others', ({members}) => members.size === 2);
  for (const one of all) {
    for (const other of all) {
      const address = one === other ? undefined : `${other.jid}/ipop-${other.id.slice(0, 16)}`;
      t.is(one.members.get(other.id), address);
    }
  }
  await boat.session.stop();
  await owner.until('boat gone', ({members}) => members.size === 1);
  t.false(owner.members.has(boat.id));
});

test.serial('a jingle iq arrives with its text intact and is answered', async (t) => {
  const [owner, cabin] = await pair(t);
  const to = owner.members.get(cabin.id) ?? '';
  for (const sid of ['one', 'two <&>"\' 😀', 'three']) {
    await owner.session.sendJingle(to, xml('jingle', {xmlns: 'urn:xmpp:jingle:1', action: 'session-initiate', sid}));
  }
  await cabin.until('three jingles', ({history}) => history.filter((line) => line.startsWith('jingle ')).length === 3);
  const sender = `${OWNER}/ipop-${owner.id.slice(0, 16)}`;
  const got = cabin.history.filter((line) => line.startsWith('jingle '));
  t.deepEqual(got, [`jingle one from ${sender}`, `jingle two <&>"' 😀 from ${sender}`, `jingle three from ${sender}`]);
});

test.serial(
  'a jingle iq to one who is not there, and from one who is no occupant, is refused with a code',
  async (t) => {
    const [owner, cabin] = await pair(t);
    const stranger = node(t, 'c', BOAT, {room: `elsewhere@${ROOMS_DOMAIN}`});
    stranger.session.start();
    await stranger.until('waiting', ({state}) => state === 'waiting');
    const jingle = xml('jingle', {xmlns: 'urn:xmpp:jingle:1', action: 'session-initiate', sid: 'x'});
    await t.throwsAsync(owner.session.sendJingle(`${CABIN}/gone`, jingle), {code: 'service-unavailable'});
    await t.throwsAsync(stranger.session.sendJingle(owner.members.get(cabin.id) ?? '', jingle), {
      code: 'not-authorized',
    });
    t.false(cabin.history.some((line) => line.startsWith('jingle ')));
  },
);

test.serial('a wrong password is named and not tried again for minutes', async (t) => {
  const wrong = new TestNode(server, 'b', CABIN, 'wrong', {room: room(t)});
  t.teardown(() => wrong.session.stop());
  wrong.session.start();
  await wrong.until('stopped', ({state}) => state === 'stopped');
  t.is(wrong.error, 'not-authorized');
  t.true(wrong.history.some((line) => line.includes(`password refused for '${CABIN}'`)));
  t.true((wrong.retryInMs ?? 0) > 290_000);
});

test.serial(
  'after a crash and restart of the server nodes are back in 10 s and nobody was reported gone',
  async (t) => {
    const [owner, cabin] = await pair(t);
    await server.kill();
    await Promise.all([owner, cabin].map((one) => one.until('offline', ({state}) => state === 'offline')));
    await server.run();
    const from = performance.now();
    await Promise.all([owner, cabin].map((one) => one.until('online', ({state}) => state === 'online')));
    t.true(performance.now() - from < 10_000);
    await owner.session.sendJingle(
      owner.members.get(cabin.id) ?? '',
      xml('jingle', {xmlns: 'urn:xmpp:jingle:1', sid: 'back'}),
    );
    await cabin.until('jingle', ({history}) => history.some((line) => line.startsWith('jingle back')));
    t.deepEqual(
      [owner, cabin].flatMap(({history}) => history.filter((line) => line.startsWith('- '))),
      [],
    );
  },
);

test.serial('a frozen server is noticed by probe, and the session resumes when it thaws', async (t) => {
  const [owner, cabin] = await pair(t);
  t.teardown(() => server.thaw());
  await server.freeze();
  const from = performance.now();
  owner.session.probe();
  await owner.until('offline', ({state}) => state !== 'online');
  const tookMs = performance.now() - from;
  t.true(tookMs > 3_900 && tookMs < 6_000, `${tookMs}`);
  server.thaw();
  await owner.until('online', ({state}) => state === 'online');
  t.true(
    owner.history.some((line) => line.includes('resumed as')),
    owner.history.join('\n'),
  );
  await cabin.session.sendJingle(
    cabin.members.get(owner.id) ?? '',
    xml('jingle', {xmlns: 'urn:xmpp:jingle:1', sid: 'thaw'}),
  );
  await owner.until('jingle', ({history}) => history.some((line) => line.startsWith('jingle thaw')));
  t.is(cabin.history.filter((line) => line.startsWith('- ')).length, 0);
});

test.serial('a second node with the same identity makes the first stand back for a minute', async (t) => {
  const [, cabin] = await pair(t);
  const twin = node(t, 'b', CABIN);
  await twin.online();
  await cabin.until('offline', ({state}) => state === 'offline');
  t.is(cabin.error, 'conflict');
  t.true((cabin.retryInMs ?? 0) > 50_000);
});

test.serial('stop takes the node out of the room at once', async (t) => {
  const [owner, cabin] = await pair(t);
  const from = performance.now();
  await cabin.session.stop();
  t.true(performance.now() - from < 2_000);
  t.is(cabin.state, 'stopped');
  await owner.until('gone', ({members}) => members.size === 0);
  t.is(owner.members.size, 0);
});
