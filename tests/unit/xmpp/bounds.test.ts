// SPDX-License-Identifier: MIT
// What others cannot make the session do.

import test from 'ava';
import xml from '@xmpp/xml';
import {online, OTHER_JID} from './run.ts';

test('a peer that does not answer cannot keep us from asking another', async (t) => {
  const world = await online(t);
  const send = (to: string): Promise<void> =>
    world.session.sendJingle(to, xml('jingle', {xmlns: 'urn:xmpp:jingle:1', sid: '1'}));
  const sent = Array.from({length: 500}, () => send(OTHER_JID));
  const refused = (await Promise.allSettled(sent.slice(40))).map((result) => 'reason' in result && result.reason.code);
  t.deepEqual(new Set(refused), new Set(['busy']));
  const before = world.server.named('iq').length;
  const another = t.throwsAsync(send('another@example.org/x'), {code: 'timeout'});
  await world.clock.advance(10);
  t.is(world.server.named('iq').length, before + 41);
  await world.clock.advance(15_000);
  await another;
  await Promise.allSettled(sent);
  // Those have ended, so there is room again.
  const again = t.throwsAsync(send(OTHER_JID), {code: 'timeout'});
  await world.clock.advance(15_000);
  await again;
});

test('somebody who keeps us answering does not keep us from asking for acknowledgements', async (t) => {
  const world = await online(t);
  const before = world.server.named('r').length;
  const ping = "<iq type='get' id='p' from='x@y/z'><ping xmlns='urn:xmpp:ping'/></iq>";
  world.server.send(ping.repeat(640));
  await world.clock.advance(100);
  t.true(world.server.named('r').length - before >= 10);
  t.deepEqual(world.states, []);
});

test('a server that never acknowledges is left before what waits for it fills the memory', async (t) => {
  const world = await online(t, {silentFrom: 'acknowledgement'});
  const ping = "<iq type='get' id='p' from='x@y/z'><ping xmlns='urn:xmpp:ping'/></iq>";
  world.server.send(ping.repeat(2_100));
  await world.clock.advance(100);
  t.is(world.states[0], 'offline stream-unacknowledged');
});

test('a server that resumes with a count of more than was sent gets a new session, not the same again and again', async (t) => {
  const world = await online(t);
  world.script = {resumeAt: 999};
  world.handlers?.onClosed('eof', 'gone');
  await world.clock.advance(10_000);
  t.is(world.states.at(-1), 'online');
  t.true(world.servers.length <= 3, `${world.servers.length} tries`);
});
