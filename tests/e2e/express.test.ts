// SPDX-License-Identifier: MIT
// Frames by the express carriage wherever the direct path takes it, and by SRTP everywhere else, without a conversation noticing.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            faults in the internet

import test from 'ava';
import type {PeerStatus} from '../../src/status/types.ts';
import {groupOf, IpopNode, type NodeOptions} from '../lab/ipopd.ts';
import type {Host} from '../lab/site.ts';
import {blast, iperf3, ping} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import {
  allLinked,
  endWith,
  labTest,
  networkOf,
  peerOf,
  startAll,
  timesUp,
  TWO_SITES,
  untilStatus,
  worldOf,
} from './kit.ts';
import {passed} from './mesh.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
/** From link to express: keys, a burst of probes. */
const EXPRESS_MS = 5_000;
/** From the first lost datagram to SRTP. */
const FALLBACK_MS = 8_000;
/** A closed path is tried again after 10 s. */
const AGAIN_MS = 16_000;
const CUT_MS = 5_000;
const STREAM_SEC = 45;

test.afterEach.always(() => {
  allowExpress();
  world().internet.healAll();
});

function host(site: 'office' | 'boat'): Host {
  return world().site(site).hosts[0]!;
}

/** Both nodes, each with what is said of it, gone when the test is over. */
function nodesOf(t: Parameters<typeof endWith>[0], each: {office?: Partial<NodeOptions>; boat?: Partial<NodeOptions>}) {
  const nodes = groupOf(world()).map(
    (node) => new IpopNode(world(), node.site, {...node.options, ...each[node.name as 'office' | 'boat']}),
  );
  return endWith(t, nodes as unknown as readonly [IpopNode, IpopNode]);
}

/** Lets no express datagram cross the internet (PROTOCOL 5.1: their first byte is 0xC0 and above). */
function blockExpress(): void {
  world().internet.ns.nft(
    'table ip express { chain f { type filter hook forward priority 0; meta l4proto udp @th,64,8 >= 0xc0 drop; }; }',
  );
}

function allowExpress(): void {
  world().internet.ns.nft('table ip express\ndelete table ip express');
}

async function pathOf(node: IpopNode, other: IpopNode): Promise<NonNullable<PeerStatus['path']>> {
  const path = peerOf(await networkOf(node), other.name)?.path;
  if (path === undefined) throw new Error(`${node.name} has no link to ${other.name}`);
  return path;
}

async function untilCarriage(nodes: readonly IpopNode[], carriage: string, timeoutMs: number): Promise<void> {
  for (const node of nodes)
    await untilStatus(node, `link by ${carriage}`, timeoutMs, (network) =>
      network.peers.every(({path}) => path?.carriage === carriage),
    );
}

labTest('on a direct path frames go by express, and status says so, with cipher and size', async (t) => {
  const nodes = nodesOf(t, {});
  await startAll(nodes);
  await untilCarriage(nodes, 'express', EXPRESS_MS);
  const [office, boat] = nodes;
  for (const [node, other] of [
    [office, boat],
    [boat, office],
  ] as const) {
    const path = await untilStatus(node, 'the largest size', EXPRESS_MS, (network) =>
      network.peers.every((peer) => peer.path?.datagramBytes === 1472),
    ).then(() => pathOf(node, other));
    t.like(path, {kind: 'direct', carriage: 'express', carriageWhy: 'the direct path is open'});
    t.regex(path.cipher ?? '', /^(AES-256-GCM|ChaCha20-Poly1305)$/);
    t.regex((await node.ipop('status')).stdout, /express/);
  }
  const {mbps} = await iperf3(host('office').ns, host('boat').ns, host('boat').address, 3);
  t.log(`${mbps.toFixed(0)} Mbit/s`);
  t.true(mbps > 10);
});

labTest('a TCP stream survives SRTP and back, a cut of 5 s, and new keys every second', async (t) => {
  t.timeout(120_000);
  const env = {IPOP_TEST_REKEY_MS: '1000'};
  const nodes = nodesOf(t, {office: {env}, boat: {env}});
  await startAll(nodes);
  await untilCarriage(nodes, 'express', EXPRESS_MS);
  const times = nodes.map(timesUp);
  let streaming = true;
  const stream = iperf3(host('office').ns, host('boat').ns, host('boat').address, STREAM_SEC).finally(() => {
    streaming = false;
  });
  await passed(2_000);
  blockExpress();
  await untilCarriage(nodes, 'srtp', FALLBACK_MS);
  const {carriageWhy} = await pathOf(...nodes);
  t.regex(carriageWhy ?? '', /does not answer any more|no answer to probes/);
  await passed(1_000);
  allowExpress();
  await untilCarriage(nodes, 'express', AGAIN_MS);
  await passed(1_000);
  const [a, b] = [world().site('office').publicAddress, world().site('boat').publicAddress];
  world().internet.cutPair(a, b);
  await passed(CUT_MS);
  world().internet.healPair(a, b);
  await untilCarriage(nodes, 'express', AGAIN_MS);
  t.true(streaming, 'all of it happened to the stream');
  const {bytes, retransmits, mbps} = await stream;
  t.log(`${(bytes / 1e6).toFixed(0)} MB at ${mbps.toFixed(0)} Mbit/s, ${retransmits} retransmits`);
  t.true(bytes > 1e6);
  t.deepEqual(nodes.map(timesUp), times, 'it is the same link still');
});

labTest('checksums are right where a host takes frames without any offload', async (t) => {
  const nodes = nodesOf(t, {});
  await startAll(nodes);
  await untilCarriage(nodes, 'express', EXPRESS_MS);
  const [from, to] = [host('office'), host('boat')];
  // The last hop is as a network card without offload: the router completes and cuts, the host sees what a wire would.
  const {router} = world().site('boat');
  await router.runOk(['ethtool', '-K', 'h1', 'tx', 'off', 'tso', 'off', 'gso', 'off']);
  const capture = to.ns.spawn('checksums', ['tcpdump', '-n', '-vv', '-i', 'eth0', '-c', '4000', 'src', from.address]);
  await capture.waitLog(/listening on/, 5_000);
  await ping(from.ns, to.address);
  await iperf3(from.ns, to.ns, to.address, 2);
  await blast(from.ns, to.ns, to.address, {pps: 200, seconds: 2});
  await capture.waitLog(/packets captured/, 20_000).catch(() => capture.stop());
  const said = capture.log();
  const right = [...said.matchAll(/\(correct\)|udp sum ok/g)].length;
  t.log(`${right} right checksums`);
  t.true(right > 500, `${right} right checksums`);
  t.notRegex(said, /incorrect|bad (udp )?cksum/);
});

labTest('a node whose peer has only SRTP, by its option or its age, speaks SRTP with it and says why', async (t) => {
  // On the wire `option carriage srtp` is what a version before express says: nothing about carriages.
  const nodes = nodesOf(t, {boat: {options: {carriage: 'srtp'}}});
  await startAll(nodes);
  await allLinked(nodes);
  const [from, to] = [host('office'), host('boat')];
  await until('an answer', EXPRESS_MS, async () => (await ping(from.ns, to.address)).received === 3);
  await iperf3(from.ns, to.ns, to.address, 2);
  const [office, boat] = nodes;
  for (const path of [await pathOf(office, boat), await pathOf(boat, office)])
    t.like(path, {carriage: 'srtp', carriageWhy: 'express was not asked for'});
});
