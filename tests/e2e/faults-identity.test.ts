// SPDX-License-Identifier: MIT
// Who a peer is, and what it speaks: two nodes with one identity, and a peer of another version. Both ends say so; nobody else notices.

import {cpSync, existsSync, rmSync, statSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {Internet} from '../lab/internet.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import type {Proc} from '../lab/proc.ts';
import {until} from '../lab/wait.ts';
import {CERTIFICATE_NAMES} from '../lab/xmpp-server.ts';
import {allLinked, endWith, healthItem, labTest, networkOf, startAll, TWO_SITES, untilStatus, worldOf} from './kit.ts';

const SAY_MS = 15_000;
const world = worldOf(import.meta.filename, [
  ...TWO_SITES,
  {name: 'cabin', index: 2, nat: 'port-restricted', hosts: 1},
]);

function group(t: Parameters<typeof endWith>[0], room: string): readonly [IpopNode, IpopNode, IpopNode] {
  const nodes = groupOf(world(), `${room}@conference.example.org`);
  return endWith(t, nodes) as unknown as readonly [IpopNode, IpopNode, IpopNode];
}

/** A node's log goes on from test to test. */
function logLength(node: IpopNode): number {
  return existsSync(node.logFile) ? statSync(node.logFile).size : 0;
}

/** How often each one's links come up from now on. */
function counted(...nodes: readonly IpopNode[]): () => number[] {
  const marks = nodes.map(logLength);
  return () =>
    nodes.map(
      (node, i) =>
        [
          ...node.proc
            .log()
            .slice(marks[i])
            .matchAll(/-> up:/g),
        ].length,
    );
}

labTest('two nodes with one identity both say so, with the way out, and the way out cures it', async (t) => {
  const [office, boat, copy] = group(t, 'twins');
  const ups = counted(office, boat);
  t.teardown(() => rmSync(copy.stateDir, {recursive: true, force: true}));
  await startAll([office, boat]);
  cpSync(boat.stateDir, copy.stateDir, {recursive: true});
  copy.start();
  const twice = (_: unknown, status: Parameters<typeof healthItem>[0]): boolean =>
    healthItem(status, 'identity-twice')?.text.includes('@') === true;
  const [first, second] = await Promise.all(
    [boat, copy].map((node) => untilStatus(node, 'identity-twice', SAY_MS, twice)),
  );
  t.is(first!.status.node.id, second!.status.node.id);
  for (const [status, other] of [
    [first!.status, 'cabin@example.org'],
    [second!.status, 'boat@example.org'],
  ] as const) {
    const text = healthItem(status, 'identity-twice')?.text ?? '';
    t.log(text);
    t.regex(text, new RegExp(`another node uses this node's identity, by account ${other}.*remove identity\\.key`));
    t.is(healthItem(status, 'room-waiting'), undefined, 'told once');
  }
  t.regex(boat.proc.log(), /error: home xmpp: another node has this one's identity: cabin@example\.org/);
  t.is((await boat.ipop('status')).code, 2);
  t.is((await networkOf(boat)).peers[0]?.state, 'up', 'the first goes on');
  t.deepEqual(ups(), [1, 1]);

  await copy.stop();
  rmSync(`${copy.stateDir}/identity.key`);
  copy.start();
  await allLinked([office, boat, copy]);
  t.deepEqual(ups(), [2, 2], 'each other once, cabin once');
});

/** A proxy before the server that rewrites what its one client says. */
async function proxy(
  name: string,
  port: number,
): Promise<{server: string; replace(from: string, to: string): Promise<void>}> {
  const {certFile, keyFile} = world().authority.issue(name, CERTIFICATE_NAMES);
  const [host = '', target = ''] = world().xmpp.address.split(':');
  const program = fileURLToPath(new URL('xml-proxy.ts', import.meta.url));
  const argv = [process.execPath, '--import', 'tsx', program, `${port}`, host, target, certFile, keyFile];
  const proc: Proc = world().internet.server.spawn(name, argv, {input: true});
  await proc.waitLog(/listening/, 10_000);
  return {
    server: `${Internet.SERVER}:${port}`,
    async replace(from, to) {
      const mark = proc.log().length;
      proc.write(JSON.stringify([from, to]));
      await until('the proxy to know', 5_000, () => proc.log().slice(mark).includes('replaces'));
    },
  };
}

const DESCRIPTION = "<description xmlns='urn:ipop:link:0' version='1'";
const QUOTED = DESCRIPTION.replaceAll("'", '"');

labTest('a peer of another version is told by both ends, without flapping, and harms no other link', async (t) => {
  const [office, boat, plain] = group(t, 'versions');
  const {server, replace} = await proxy('version-proxy', 5998);
  const cabin = new IpopNode(world(), plain.site, {...plain.options, options: {server}});
  endWith(t, [cabin]);
  const ups = counted(office, boat, cabin);
  const marks = [office, boat].map(logLength);
  await replace(QUOTED, QUOTED.replace('"1"', '"2"'));
  await startAll([office, boat]);
  cabin.start();
  const texts = (status: Parameters<typeof healthItem>[0]): string[] =>
    status.health.filter(({code}) => code === 'unsupported-version').map(({text}) => text);
  const told = await Promise.all(
    (
      [
        [office, 1],
        [boat, 1],
        [cabin, 2],
      ] as const
    ).map(([node, peers]) => untilStatus(node, 'the version', SAY_MS, (_, status) => texts(status).length === peers)),
  );
  const [here, , there] = told.map(({status}) => texts(status).join('\n'));
  t.log(here, there);
  t.regex(
    here ?? '',
    /^cabin@example\.org .*speaks version 2 of ipop's protocol, this node version 1: update this node$/,
  );
  for (const name of ['office', 'boat']) {
    const words = `${name}\\S* .*does not take version 1 .*\\(it says: I speak version 1\\): update the older node`;
    t.regex(there ?? '', new RegExp(words));
  }
  t.is(healthItem(told[0]!.status, 'peer-down'), undefined, 'told once');
  t.is((await office.ipop('status')).code, 2);
  t.deepEqual(ups(), [1, 1, 0]);
  const tries = [office, boat].map(
    (node, i) =>
      [
        ...node.proc
          .log()
          .slice(marks[i])
          .matchAll(/cabin.*-> gathering/g),
      ].length,
  );
  t.true(
    tries.every((count) => count <= 2),
    `${tries} tries: no flapping`,
  );
});

labTest('a newer peer that keeps this version, and says more in it, links as ever', async (t) => {
  const [office, boat, plain] = group(t, 'newer');
  const {server, replace} = await proxy('newer-proxy', 5997);
  const cabin = new IpopNode(world(), plain.site, {...plain.options, options: {server}});
  endWith(t, [cabin]);
  await replace(QUOTED, `<future xmlns="urn:ipop:future"/>${QUOTED} versions="1 2"`);
  const marks = [office, boat].map(logLength);
  await startAll([office, boat, cabin]);
  const logs = [office, boat].map((node, i) => node.proc.log().slice(marks[i]));
  t.true(logs.every((log) => !/refused|unsupported/.test(log)));
});
