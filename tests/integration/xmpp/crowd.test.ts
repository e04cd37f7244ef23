// SPDX-License-Identifier: MIT
// Fifty nodes in one room, some of which share an account.

import test from 'ava';
import xml from '@xmpp/xml';
import {Ejabberd} from './ejabberd.ts';
import {TestNode} from './node.ts';
import {Prosody, ROOMS_DOMAIN, SHA256_DOMAIN} from './prosody.ts';
import type {TestServer} from './server.ts';

const MEMBERS = 50;
const ACCOUNTS = 10;
const PASSWORD = 'secret';
/** Many times what it takes here; still less than a person waits. */
const LIMIT_MS = 30_000;

for (const {name, start} of [
  {name: 'Prosody', start: Prosody.start},
  {name: 'ejabberd', start: Ejabberd.start},
]) {
  test.serial(`${name}: fifty nodes enter a room at once, see each other, and see one leave`, async (t) => {
    const jids = Array.from({length: ACCOUNTS}, (_, i) => `node${i}@${SHA256_DOMAIN}`);
    const server: TestServer = await start(Object.fromEntries(jids.map((jid) => [jid, PASSWORD])));
    const nodes: TestNode[] = [];
    t.teardown(async () => {
      await Promise.all(nodes.map((node) => node.session.stop()));
      await server.kill();
      server.remove();
    });
    for (let i = 0; i < MEMBERS; i++) {
      const owner = i === 0 ? {owner: true, members: jids.slice(1)} : {};
      const options = {room: `crowd@${ROOMS_DOMAIN}`, ...owner};
      nodes.push(new TestNode(server, (16 + i).toString(16), jids[i % ACCOUNTS] ?? '', PASSWORD, options));
    }
    const [first, ...others] = nodes as [TestNode, ...TestNode[]];
    await first.online();
    const from = performance.now();
    await Promise.all(others.map((node) => node.online()));
    await Promise.all(nodes.map((node) => node.until('all', ({members}) => members.size === MEMBERS - 1)));
    const tookMs = performance.now() - from;
    t.log(`${MEMBERS} nodes saw each other after ${Math.round(tookMs)} ms`);
    t.true(tookMs < LIMIT_MS, `${tookMs}`);
    const last = nodes.at(-1) as TestNode;
    for (const node of nodes) {
      const expected = nodes.filter((other) => other !== node).map(({id}) => id);
      t.deepEqual([...node.members.keys()].sort(), expected.sort());
      t.deepEqual(
        node.history.filter((line) => line.startsWith('- ')),
        [],
      );
    }
    const jingle = xml('jingle', {xmlns: 'urn:xmpp:jingle:1', action: 'session-initiate', sid: 'crowd'});
    await Promise.all(others.map((node) => node.session.sendJingle(node.members.get(first.id) ?? '', jingle)));
    t.is(first.history.filter((line) => line.startsWith('jingle crowd')).length, MEMBERS - 1);
    await last.session.stop();
    const rest = nodes.slice(0, -1);
    await Promise.all(rest.map((node) => node.until('gone', ({members}) => !members.has(last.id))));
    t.is(first.members.size, MEMBERS - 2);
  });
}
