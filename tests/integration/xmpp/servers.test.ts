// SPDX-License-Identifier: MIT
// Native streams against the servers there are: each way to begin TLS, and each server's ways of being away.

import {execFileSync} from 'node:child_process';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import xml from '@xmpp/xml';
import type {XmppOptions} from '../../../src/xmpp/types.ts';
import {Ejabberd} from './ejabberd.ts';
import {nativeStreams, type NativeStreams} from './native-deps.ts';
import {TestNode} from './node.ts';
import {Prosody, ROOMS_DOMAIN, SHA256_DOMAIN} from './prosody.ts';
import type {TestServer} from './server.ts';

const OWNER = `owner@${SHA256_DOMAIN}`;
const CABIN = `cabin@${SHA256_DOMAIN}`;
const PASSWORD = 'pä=ss,wörd <&>';

let native: NativeStreams;
const servers: Partial<Record<'Prosody' | 'ejabberd', TestServer>> = {};

test.before(async () => {
  native = nativeStreams();
  const accounts = {[OWNER]: PASSWORD, [CABIN]: PASSWORD};
  servers.Prosody = await Prosody.start(accounts);
  servers.ejabberd = await Ejabberd.start(accounts);
});
test.after.always(async () => {
  native?.close();
  for (const server of Object.values(servers)) {
    await server.kill();
    server.remove();
  }
});

for (const name of ['Prosody', 'ejabberd'] as const) {
  const server = (): TestServer => {
    const running = servers[name];
    if (!running) throw new Error(`${name} does not run`);
    return running;
  };

  /** A node that is stopped at the test's end, in a room of the test's own. */
  const node = (t: ExecutionContext, digit: string, jid: string, options: Partial<XmppOptions> = {}): TestNode => {
    const room = `${t.title.replace(/[^a-z]/g, '').slice(0, 60)}@${ROOMS_DOMAIN}`;
    const made = new TestNode(server(), digit, jid, PASSWORD, {
      room,
      makeDeps: (log) => native.deps(log),
      ...options,
    });
    t.teardown(() => made.session.stop());
    return made;
  };

  const pair = async (t: ExecutionContext, options: Partial<XmppOptions> = {}): Promise<[TestNode, TestNode]> => {
    const owner = node(t, 'a', OWNER, {owner: true, members: [CABIN], ...options});
    const cabin = node(t, 'b', CABIN, options);
    await owner.online();
    await cabin.online();
    await owner.until('cabin', ({members}) => members.size === 1);
    await cabin.until('owner', ({members}) => members.size === 1);
    return [owner, cabin];
  };

  const talk = async (from: TestNode, to: TestNode, sid: string): Promise<void> => {
    const jingle = xml('jingle', {xmlns: 'urn:xmpp:jingle:1', action: 'session-initiate', sid});
    await from.session.sendJingle(from.members.get(to.id) ?? '', jingle);
    await to.until(sid, ({history}) => history.some((line) => line.startsWith(`jingle ${sid} `)));
  };

  const flaps = (...nodes: TestNode[]): string[] =>
    nodes.flatMap(({history}) => history.filter((line) => line.startsWith('- ')));

  test.serial(`${name}: two nodes meet and talk over direct TLS`, async (t) => {
    const [owner, cabin] = await pair(t);
    await talk(owner, cabin, 'there');
    await talk(cabin, owner, 'back');
    t.is(owner.session.server, `127.0.0.1:${server().port}`);
  });

  test.serial(`${name}: two nodes meet and talk over STARTTLS`, async (t) => {
    const starttls = {server: {host: '127.0.0.1', port: server().starttlsPort}, tls: 'starttls'} as const;
    const [owner, cabin] = await pair(t, starttls);
    await talk(owner, cabin, 'there');
    t.is(owner.session.server, `127.0.0.1:${server().starttlsPort}`);
  });

  test.serial(`${name}: the wrong kind of TLS for a port is told in words`, async (t) => {
    const {port, starttlsPort} = server();
    const direct = node(t, 'a', OWNER, {server: {host: '127.0.0.1', port: starttlsPort}, tls: 'direct'});
    const starttls = node(t, 'b', CABIN, {server: {host: '127.0.0.1', port}, tls: 'starttls'});
    for (const one of [direct, starttls]) {
      one.session.start();
      await one.until('offline', ({error}) => error !== undefined);
    }
    t.is(direct.error, 'tls-protocol', direct.history.join('\n'));
    t.true(['starttls-refused', 'eof', 'reset'].includes(starttls.error ?? ''), starttls.history.join('\n'));
  });

  test.serial(
    `${name}: a certificate is accepted by its fingerprint alone, and another fingerprint is refused`,
    async (t) => {
      const pem = join(server().folder, 'server.pem');
      const told = execFileSync('openssl', ['x509', '-in', pem, '-noout', '-fingerprint', '-sha256'], {
        encoding: 'utf8',
      });
      const pin = told.trim().split('=')[1]?.replaceAll(':', '').toLowerCase() ?? '';
      const good = node(t, 'a', OWNER, {owner: true, pin, caFile: '/nonexistent'});
      await good.online();
      const bad = node(t, 'b', CABIN, {pin: 'ab'.repeat(32)});
      bad.session.start();
      await bad.until('refusal', ({error}) => error === 'tls-pin');
      t.true(
        bad.history.some((line) => line.includes(`option pin 'sha256:${pin}'`)),
        bad.history.join('\n'),
      );
      const unknown = node(t, 'c', CABIN, {caFile: '/etc/ssl/certs/ca-certificates.crt'});
      unknown.session.start();
      await unknown.until('refusal', ({error}) => error === 'tls-unknown-ca');
      t.true(unknown.history.some((line) => line.includes(`option pin 'sha256:${pin}'`)));
    },
  );

  test.serial(`${name}: two routers share one account`, async (t) => {
    const owner = node(t, 'a', OWNER, {owner: true});
    const second = node(t, 'b', OWNER);
    await owner.online();
    await second.online();
    await owner.until('second', ({members}) => members.size === 1);
    await talk(owner, second, 'there');
    await talk(second, owner, 'back');
    await second.session.stop();
    await owner.until('gone', ({members}) => members.size === 0);
    t.is(owner.state, 'online');
  });

  test.serial(`${name}: one who is no member waits outside, and gets in once he is one`, async (t) => {
    const owner = node(t, 'a', OWNER, {owner: true});
    await owner.online();
    const cabin = node(t, 'b', CABIN);
    cabin.session.start();
    await cabin.until('waiting', ({state}) => state === 'waiting');
    t.is(cabin.error, 'not-a-member');
    await owner.session.stop();
    await node(t, 'a', OWNER, {owner: true, members: [CABIN]}).online();
    await cabin.until('online', ({state}) => state === 'online');
  });

  test.serial(
    `${name}: frozen, it is noticed by a probe, and the session resumes without a flap when it thaws`,
    async (t) => {
      const [owner, cabin] = await pair(t);
      // Nothing is on its way any more that could pass for an answer.
      await talk(cabin, owner, 'before');
      try {
        await server().freeze();
        const from = performance.now();
        owner.session.probe();
        await owner.until('offline', ({state}) => state !== 'online');
        const tookMs = performance.now() - from;
        t.true(tookMs > 3_900 && tookMs < 6_000, `${tookMs}`);
      } finally {
        server().thaw();
      }
      await owner.until('online', ({state}) => state === 'online');
      t.true(
        owner.history.some((line) => line.includes('resumed as')),
        owner.history.join('\n'),
      );
      await talk(cabin, owner, 'thaw');
      t.deepEqual(flaps(owner, cabin), []);
    },
  );

  test.serial(
    `${name}: killed under load and started again, nodes are back in 10 s and all of them in the room`,
    async (t) => {
      const [owner, cabin] = await pair(t);
      const to = owner.members.get(cabin.id) ?? '';
      // What is under way when the server dies must end too, with an answer or an error.
      const load = Array.from({length: 30}, (_, i) =>
        owner.session.sendJingle(to, xml('jingle', {xmlns: 'urn:xmpp:jingle:1', action: 'session-info', sid: `${i}`})),
      );
      const ended = Promise.allSettled(load);
      await server().kill();
      await Promise.all([owner, cabin].map((one) => one.until('offline', ({state}) => state === 'offline')));
      await server().run();
      const from = performance.now();
      await Promise.all([owner, cabin].map((one) => one.until('online', ({state}) => state === 'online')));
      t.true(performance.now() - from < 10_000);
      t.is((await ended).length, 30);
      // A server that has just started may drop a node's first stream: that node has really left then, and comes again.
      await owner.until('cabin is there', ({members}) => members.has(cabin.id));
      await cabin.until('owner is there', ({members}) => members.has(owner.id));
      t.log(`went and came: ${flaps(owner, cabin).join(', ') || 'nobody'}`);
      await talk(owner, cabin, 'back');
    },
  );
}
