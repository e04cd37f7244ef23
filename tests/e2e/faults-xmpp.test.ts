// SPDX-License-Identifier: MIT
// Faults of account, server and group: each is told in words with a code, none is hammered at, and none takes a link that is up.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            the fault: at the server host
//                                       |
//                        server host (Prosody, coturn)

import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {Authority} from '../lab/pki.ts';
import {Internet} from '../lab/internet.ts';
import {groupOf, IpopNode, linksUp} from '../lab/ipopd.ts';
import {CERTIFICATE_NAMES, DOMAINS} from '../lab/xmpp-server.ts';
import {until} from '../lab/wait.ts';
import {allLinked, endWith, healthItem, labTest, networkOf, startAll, timesUp, TWO_SITES} from './kit.ts';
import {LINKS_MS, untilStatus, worldOf} from './kit.ts';
import {PingStream} from './ping-stream.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
/** For the account alone: TLS, login, room. */
const ONLINE_MS = 15_000;
const WATCH_SEC = 20;
const MAX_LOGINS = 2;

function single(
  t: ExecutionContext,
  options: Partial<ConstructorParameters<typeof IpopNode>[2]> = {},
  password = 'office-secret',
): IpopNode {
  const jid = world().xmpp.addAccount('office', 'office-secret');
  const room = `alone${serial++}@conference.example.org`;
  const node = new IpopNode(world(), world().site('office'), {jid, password, room, owner: true, ...options});
  endWith(t, [node]);
  return node;
}

labTest('a wrong password is told in words with a code, and the server sees at most 2 logins in 20 s', async (t) => {
  const node = single(t, {}, 'not-it');
  const {proc} = world().xmpp;
  const mark = proc.log().length;
  node.start();
  const watched = sleep(WATCH_SEC * 1000); // the span that is measured
  const {network, status} = await untilStatus(node, 'the refusal', ONLINE_MS, ({xmpp}) => xmpp.state === 'stopped');
  t.is(network.xmpp.error?.code, 'not-authorized');
  t.regex(network.xmpp.error?.text ?? '', /password refused for 'office@example\.org'/);
  t.regex(healthItem(status, 'xmpp-auth')?.text ?? '', /check options jid and password of account office@example\.org/);
  const shown = await node.ipop('status');
  t.is(shown.code, 1);
  t.regex(shown.stdout, /xmpp stopped/);
  t.regex(shown.stdout, /! xmpp-auth {3}.*password refused/);
  t.notRegex(shown.stdout + node.proc.log(), /not-it/, 'the password itself is never shown');
  await watched;
  const logins = [
    ...proc
      .log()
      .slice(mark)
      .matchAll(/Received\[c2s_unauthed\]: <auth /g),
  ].length;
  t.true(logins >= 1 && logins <= MAX_LOGINS, `${logins} logins in Prosody's log`);
});

/** The server runs again, also after a test that failed without it. */
async function restored(): Promise<void> {
  if (world().xmpp.proc.ended !== undefined) await world().xmpp.start();
}

const BAD_CERTIFICATES: readonly {
  readonly what: string;
  readonly code: RegExp;
  readonly words: RegExp;
  readonly issue: (good: Authority) => {readonly certFile: string; readonly keyFile: string};
}[] = [
  {
    what: 'of an authority that is not trusted',
    code: /^tls-(unknown-ca|self-signed)$/,
    words: /authority|CA|trusted/,
    issue: () => new Authority(world().lab, 'stranger').issue('xmpp', CERTIFICATE_NAMES),
  },
  {
    what: 'that has expired',
    code: /^tls-expired$/,
    words: /expired/,
    issue: (good) => good.issue('old', CERTIFICATE_NAMES, -1),
  },
  {
    what: 'for another host',
    code: /^tls-name$/,
    words: /example\.org/,
    issue: (good) => good.issue('other', ['elsewhere.example.com']),
  },
];

BAD_CERTIFICATES.forEach(({what, code, words, issue}, i) => {
  labTest(
    `a server certificate ${what} is refused and told in words with a code, and no password is sent`,
    async (t) => {
      const {certFile, keyFile} = issue(world().authority);
      const port = `${6001 + i}`;
      const argv = ['openssl', 's_server', '-accept', port, '-cert', certFile, '-key', keyFile, '-state'];
      const server = world().internet.server.spawn(`tls-${port}`, argv, {input: true});
      await server.waitLog(/ACCEPT/, 5_000);
      const node = single(t, {options: {server: `${Internet.SERVER}:${port}`}});
      node.start();
      const {network, status} = await untilStatus(node, 'the refusal', ONLINE_MS, ({xmpp}) => xmpp.error !== undefined);
      t.log(network.xmpp.error?.text);
      t.regex(network.xmpp.error?.code ?? '', code);
      t.regex(network.xmpp.error?.text ?? '', words);
      t.true((network.xmpp.retryInSec ?? 0) > 20, 'no hammering');
      const item = healthItem(status, 'xmpp-certificate');
      t.regex(
        item?.text ?? '',
        /check the server's certificate, options ca_file and pin, and this machine's clock; next try in/,
      );
      t.is((await node.ipop('status')).code, 1);
      t.notRegex(server.log(), /stream:stream|SCRAM/);
      await server.kill();
    },
  );
});

labTest('a server that is down at the start is told with its address, and used once it is there', async (t) => {
  t.teardown(restored);
  await world().xmpp.stop();
  const nodes = endWith(t, groupOf(world(), 'late@conference.example.org'));
  for (const node of nodes) node.start();
  for (const node of nodes) {
    const {network, status} = await untilStatus(node, 'an error', ONLINE_MS, ({xmpp}) => xmpp.error !== undefined);
    t.log(healthItem(status, 'xmpp-offline')?.text);
    t.is(network.xmpp.error?.code, 'refused');
    t.regex(network.xmpp.error?.text ?? '', /^cannot connect to '203\.0\.113\.10' port 5223: .*refused/);
    t.true((network.xmpp.retryInSec ?? 99) <= 5);
    t.truthy(healthItem(status, 'xmpp-offline'));
  }
  await world().xmpp.start();
  await allLinked(nodes);
});

labTest('kill -9 of the server loses no ping, no link and no learned MAC, and the nodes come back to it', async (t) => {
  const nodes = endWith(t, groupOf(world(), 'steady@conference.example.org'));
  await startAll(nodes);
  const [from, to] = ['office', 'boat'].map((name) => world().site(name).hosts[0]!);
  const stream = await PingStream.start(from!.ns, to!.address);
  const before = await Promise.all(nodes.map(timesUp));
  t.teardown(restored);
  await world().xmpp.proc.kill();
  for (const node of nodes) {
    const {network, status} = await untilStatus(node, 'offline', ONLINE_MS, ({xmpp}) => xmpp.error !== undefined);
    t.is(linksUp(status), 1);
    t.true(network.peers[0]!.macs > 0, 'MACs stay');
    t.regex(healthItem(status, 'xmpp-offline')?.text ?? '', /links that are up stay, new ones must wait/);
    t.is((await node.ipop('status')).code, 2);
  }
  await stream.answers(40, 10_000);
  await world().xmpp.start();
  for (const node of nodes) {
    await untilStatus(node, 'online and no problem', ONLINE_MS, ({xmpp}, {health}) => {
      return xmpp.state === 'online' && health.every(({severity}) => severity !== 'error');
    });
    t.is((await node.ipop('status')).code, 0);
  }
  await until('both to see each other in the room', ONLINE_MS, async () => {
    const networks = await Promise.all(nodes.map(networkOf));
    return networks.every(({peers}) => peers.every(({present}) => present));
  });
  t.deepEqual(await stream.stop(), [], 'pings lost');
  t.deepEqual(await Promise.all(nodes.map(timesUp)), before, 'no link was made anew');
});

labTest('a member waits for its owner to make the room, says so, and is online when the owner is', async (t) => {
  const [owner, member] = endWith(t, groupOf(world(), 'unmade@conference.example.org')) as [IpopNode, IpopNode];
  member.start();
  const {network, status} = await untilStatus(member, 'waiting', ONLINE_MS, ({xmpp}) => xmpp.state === 'waiting');
  t.is(network.xmpp.error?.code, 'room-missing');
  const text = healthItem(status, 'room-waiting')?.text ?? '';
  t.log(text);
  t.regex(
    text,
    /waiting for the owner of room 'unmade@conference\.example\.org' to create it; the node with option owner .* lists boat@example\.org/,
  );
  t.is((await member.ipop('status')).code, 1);
  owner.start();
  await allLinked([owner, member]);
});

labTest('an account that is no member waits, is told whom to ask, and is online once it is listed', async (t) => {
  const [owner, member] = endWith(t, groupOf(world(), 'closed@conference.example.org')) as [IpopNode, IpopNode];
  const [alone] = endWith(t, [new IpopNode(world(), owner.site, {...owner.options, members: []})] as const);
  alone.start();
  await untilStatus(alone, 'online', ONLINE_MS, ({xmpp}) => xmpp.state === 'online');
  member.start();
  const {network, status} = await untilStatus(member, 'waiting', ONLINE_MS, ({xmpp}) => xmpp.state === 'waiting');
  t.log(healthItem(status, 'room-waiting')?.text);
  t.is(network.xmpp.error?.code, 'not-a-member');
  t.regex(healthItem(status, 'room-waiting')?.text ?? '', /lists boat@example\.org as a member/);
  await alone.stop();
  const [listing] = endWith(t, [new IpopNode(world(), owner.site, owner.options)] as const);
  listing.start();
  await allLinked([listing, member], LINKS_MS);
});

labTest('the account of a domain with SCRAM-SHA-256 joins the same room', async (t) => {
  const [owner, member] = endWith(t, groupOf(world(), 'mixed@conference.example.org')) as [IpopNode, IpopNode];
  const jid = world().xmpp.addAccount('boat', 'other-secret', 'SHA-256');
  const [host] = endWith(t, [new IpopNode(world(), owner.site, {...owner.options, members: [jid]})] as const);
  const [guest] = endWith(t, [
    new IpopNode(world(), member.site, {...member.options, jid, password: 'other-secret'}),
  ] as const);
  await startAll([host, guest]);
  t.is((await networkOf(guest)).xmpp.jid, `boat@${DOMAINS['SHA-256']}`);
});

let serial = 0;
