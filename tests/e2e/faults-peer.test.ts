// SPDX-License-Identifier: MIT
// Faults of the path and of the peer: garbage in a peer's name, and a peer that dies without a word and returns.
//
//   server host (Prosody, coturn) -- [ internet ] --+-- [ office ] masquerade -- h1            office = boat: direct
//                                                   +-- [ cabin ] symmetric -- h1              cabin = office, cabin = boat: relay
//                                                   +-- [ carrier ] masquerade -- [ boat ] masquerade -- h1

import {Capture} from '../lab/capture.ts';
import type {Flow} from '../lab/internet.ts';
import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import type {Netns} from '../lab/netns.ts';
import {ping, tool} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import {THREE_SITES} from '../lab/world.ts';
import {introduce} from './frames.ts';
import {garbage, randomOf, spoofed, udpPayloads} from './garbage.ts';
import {
  allLinked,
  endWith,
  labTest,
  networkOf,
  peerOf,
  RETURN_MS,
  startAll,
  timesUp,
  untilStatus,
  worldOf,
} from './kit.ts';
import {PingStream} from './ping-stream.ts';

const SITES = THREE_SITES.map((site) => ({...site, hosts: 1}));
const DATAGRAMS = 10_000;
/** A stranger's uplink of about 10 Mbit/s. */
const PPS = 2_000;
/** A link with traffic is given up after 12 s of silence. */
const LOST_MS = 25_000;

const world = worldOf(import.meta.filename, SITES);

function group(t: Parameters<typeof endWith>[0], room: string): readonly IpopNode[] {
  return endWith(t, groupOf(world(), `${room}@conference.example.org`));
}

function nodeOf(nodes: readonly IpopNode[], name: string): IpopNode {
  return nodes.find((node) => node.name === name)!;
}

/** The link's own conversation, from one site to another, as the internet sees it. */
function flowBetween(from: string, to: string): Flow {
  const [source, target] = [world().site(from).publicAddress, world().site(to).publicAddress];
  const flow = world()
    .internet.flows()
    .find((one) => one.from.address === source && one.to.address === target);
  if (flow === undefined) throw new Error(`nothing crossed from ${from} to ${to}`);
  return flow;
}

/** MAC address of the one router at the other end of a WAN link. */
async function neighbour(ns: Netns, device: string): Promise<string> {
  const text = await ns.runOk(['ip', '-4', 'neigh', 'show', 'dev', device]);
  return /lladdr (\S+)/.exec(text)?.[1] ?? '';
}

/** UDP datagrams that some socket of the namespace took. */
async function udpReceived(ns: Netns): Promise<number> {
  const text = await ns.runOk(['cat', '/proc/net/snmp']);
  return Number(/^Udp: (\d+)/m.exec(text)?.[1]);
}

for (const [from, to] of [
  ['boat', 'office'],
  ['office', 'boat'],
] as const) {
  labTest(
    `${DATAGRAMS} garbage datagrams in the name of ${from} harm neither the link of ${to} nor its traffic`,
    async (t) => {
      const nodes = group(t, 'garbage');
      await startAll(nodes);
      const {internet} = world();
      internet.resetFlows();
      const [near, far] = [world().site(to), world().site(from)];
      const stream = await PingStream.start(near.hosts[0]!.ns, far.hosts[0]!.address);
      await stream.answers(20, 10_000);
      const flow = flowBetween(from, to);
      const filter = `udp and src ${flow.from.address} and dst ${flow.to.address}`;
      const capture = await Capture.start(internet.ns, `w${near.index}`, filter, 2048);
      await stream.answers(20, 10_000);
      const real = udpPayloads(await capture.stop());
      t.true(real.length >= 10, `${real.length} real datagrams to send again`);
      const seed = Math.floor(Math.random() * 2 ** 32);
      t.log(`seed ${seed}, ${flow.from.address}:${flow.from.port} to ${flow.to.address}:${flow.to.port}`);
      const ups = nodes.map(timesUp);
      const before = await udpReceived(near.router);
      const device = `w${near.index}`;
      const macs = {from: internet.ns.mac(device), to: await neighbour(internet.ns, device)};
      const lines = garbage(DATAGRAMS, randomOf(seed), real).map((bytes) => spoofed(flow, macs, bytes).toString('hex'));
      await internet.ns.runOk(tool('send_raw', device, `${PPS}`), {input: `${lines.join('\n')}\n`});
      const came = (await udpReceived(near.router)) - before;
      t.true(came > 0.9 * DATAGRAMS, `only ${came} datagrams reached the node`);
      await stream.answers(20, 5_000);
      t.deepEqual(await stream.stop(), [], 'pings lost');
      t.deepEqual(nodes.map(timesUp), ups, 'no link was made anew');
      for (const node of nodes) t.is((await node.ipop('status')).code, 0, node.name);
    },
  );
}

for (const noticed of [false, true]) {
  const when = noticed ? 'after its peers have noticed' : 'at once';
  labTest(
    `a node killed with -9 that returns ${when} is linked with all again within 10 s, once, with its old id`,
    async (t) => {
      const nodes = group(t, 'killed');
      await startAll(nodes);
      const [boat, others] = [nodeOf(nodes, 'boat'), nodes.filter(({name}) => name !== 'boat')];
      const id = (await boat.status())?.node.id;
      const [host, back] = [world().site('boat').hosts[0]!, world().site('office').hosts[0]!];
      for (const {site} of others) await introduce(site.hosts[0]!, host);
      const stream = await PingStream.start(back.ns, world().site('cabin').hosts[0]!.address);
      await boat.kill();
      if (noticed) {
        const pinging = others.map((node) =>
          node.site.hosts[0]!.ns.spawn('knock', ['ping', '-n', '-i', '0.2', host.address]),
        );
        for (const node of others) {
          const {network} = await untilStatus(
            node,
            'boat is down',
            LOST_MS,
            (now) => peerOf(now, 'boat')?.state !== 'up',
          );
          t.is(peerOf(network, 'boat')?.macs, 0);
          t.log(`${node.name}: ${peerOf(network, 'boat')?.error?.text}`);
          t.false((await node.ipop('fdb')).stdout.includes(host.mac));
        }
        for (const proc of pinging) await proc.kill();
      }
      const start = performance.now();
      boat.start();
      await allLinked(nodes, RETURN_MS);
      for (const {site} of others) {
        await until(`${site.name} to reach boat`, RETURN_MS, async () => {
          return (await ping(site.hosts[0]!.ns, host.address, {count: 1})).received === 1;
        });
      }
      const elapsed = performance.now() - start;
      t.log(`all back after ${(elapsed / 1000).toFixed(1)} s`);
      t.true(elapsed < RETURN_MS, `${elapsed} ms`);
      for (const node of others) {
        const {peers} = await networkOf(node);
        t.deepEqual(
          peers.map(({name}) => name).sort(),
          nodes
            .map(({name}) => name)
            .filter((name) => name !== node.name)
            .sort(),
        );
        t.is(peers.find(({name}) => name === 'boat')?.id, id);
      }
      t.deepEqual(await stream.stop(), [], 'the other link lost pings');
    },
  );
}
