// SPDX-License-Identifier: MIT
// The main job, from the start of three nodes to their end: three LANs are one Ethernet, and the nodes tell the truth about it.
//
//   server host (Prosody, coturn) -- [ internet ] --+-- [ office ] masquerade -- h1, h2            office = boat: direct
//                                                   +-- [ cabin ] symmetric -- h1, h2              cabin = office, cabin = boat: relay
//                                                   +-- [ carrier ] masquerade -- [ boat ] masquerade -- h1, h2

import {setTimeout as sleep} from 'node:timers/promises';
import {PROOFS} from '../../demo/proofs.ts';
import type {Stage} from '../../demo/stage.ts';
import type {FdbEntryStatus} from '../../src/status/types.ts';
import {Capture, judge} from '../lab/capture.ts';
import {Internet} from '../lab/internet.ts';
import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import type {Host} from '../lab/site.ts';
import {blast, iperf3, listen, ping} from '../lab/tools.ts';
import {THREE_SITES} from '../lab/world.ts';
import {advertisementFrame, frame, introduce, mark, sendRaw, udpFrame} from './frames.ts';
import {allLinked, healthItem, labTest, networkOf, peerOf, RETURN_MS, startAll, untilStatus, worldOf} from './kit.ts';

/** Frames that may ask TypeScript during 10 s of one stream: ARP, and each flow's first. */
const MAX_UPCALLS = 100;
/** The longest frame that goes in one datagram: of 1472 bytes with 28 of express, of 1172 with 4 of the SRTP carriage (PROTOCOL 4.2, 5.2). */
const WHOLE = {direct: 1472 - 28, relay: 1172 - 4} as const;
const HEADERS = {address: 14 + 20 + 20, address6: 14 + 40 + 20} as const;
/** txiki.js needs 16 MB by itself. */
const MAX_RSS_KB = {ipopd: 30 * 1024, txiki: 40 * 1024} as const;
const IDLE_SEC = 6;
/** A link without traffic is given up after 30 s; the next 5 s are for noticing. */
const LOST_MS = 40_000;
const STOP_MS = 5_000;

const world = worldOf(import.meta.filename, THREE_SITES);
let nodes: readonly IpopNode[] = [];

function node(name: string): IpopNode {
  return nodes.find((candidate) => candidate.name === name)!;
}

function host(site: string, number = 1): Host {
  return world().site(site).hosts[number - 1]!;
}

async function upcalls(): Promise<number> {
  const networks = await Promise.all(nodes.map(networkOf));
  return networks.reduce((sum, network) => sum + network.upcalls, 0);
}

labTest('three nodes find each other and every two have a link', async (t) => {
  nodes = groupOf(world());
  await startAll(nodes);
  for (const one of nodes) {
    const {network, status} = await untilStatus(one, 'names of both peers', 5_000, ({peers}) =>
      peers.every((peer) => peer.name !== ''),
    );
    const others = nodes.filter((other) => other !== one).map((other) => other.name);
    t.deepEqual(network.peers.map((peer) => peer.name).sort(), others.sort());
    t.is(network.bridge.state, 'joined');
    t.is(status.node.name, one.name);
    t.is((await one.ipop('status')).code, 0);
  }
  await introduce(host('office'), host('boat'));
  t.true((await upcalls()) > 0, 'upcalls are counted');
});

for (const proof of PROOFS) {
  labTest(`across all sites: ${proof.title}`, async (t) => {
    const stage: Stage = {
      world: world(),
      nodes,
      nats: new Map(),
      pairs: [],
      usage: [],
      plain: undefined,
      linksMs: undefined,
    };
    const {failures, text} = await proof.run(stage, () => {});
    t.log(text);
    t.deepEqual(failures, []);
  });
}

labTest('ipop fdb lists every host behind the right peer, and its own behind the LAN', async (t) => {
  for (const site of world().sites)
    await Promise.all(
      site.hosts.map((other) => (other === host('office') ? undefined : introduce(host('office'), other))),
    );
  for (const one of nodes) {
    const entries = JSON.parse((await one.ipop('fdb', '--json')).stdout) as FdbEntryStatus[];
    for (const site of world().sites) {
      for (const {mac, name} of site.hosts) {
        // A host that spoke to office alone need not be known at the third site.
        const entry = entries.find((candidate) => candidate.mac === mac);
        if (one.name === 'office' || site === one.site) t.truthy(entry, `${one.name} does not know ${name}`);
        if (entry) t.is(entry.port, site === one.site ? 'lan' : site.name, `${name} at ${one.name}`);
      }
    }
    t.is((await one.ipop('fdb')).code, 0);
  }
});

labTest('DHCP and router advertisements do not cross, not even to the MAC of a host that has a rule', async (t) => {
  const [from, to] = [host('cabin'), host('office')];
  await introduce(from, to);
  const before = (await networkOf(node('cabin'))).bridge.traffic.drops;
  const options = Buffer.from([1, 1, 1, 0]); // three no-operations, end of list
  const held = {
    offer: udpFrame(from, to, [67, 68], 'offer'),
    request: udpFrame(from, to, [68, 67], 'request'),
    'offer-with-options': udpFrame(from, to, [67, 68], 'offer-with-options', {options}),
    'offer-in-vlan': udpFrame(from, to, [67, 68], 'offer-in-vlan', {vlan: 7}),
    ra: advertisementFrame(from, to, 'ra', false),
    'ra-behind-header': advertisementFrame(from, to, 'ra-behind-header', true),
  };
  const ear = await listen(to.ns, ['afterwards'], 5);
  await sendRaw(from, [...Object.values(held), udpFrame(from, to, [67, 69], 'afterwards')]);
  t.deepEqual(Object.keys(await ear.heard()), ['afterwards']);
  const after = (await networkOf(node('cabin'))).bridge.traffic.drops;
  t.is(after['guard-dhcp']! - (before['guard-dhcp'] ?? 0), 4);
  t.is(after['guard-ra']! - (before['guard-ra'] ?? 0), 2);
  t.regex((await node('cabin').ipop('status')).stdout, /kept from crossing: \d+ DHCP, \d+ router advertisement/);
});

labTest('frames to 01:80:c2:00:00:0x stay in their LAN', async (t) => {
  const from = host('boat');
  const tokens = [0x00, 0x0e].map((last) => ({token: `reserved-${last}`, to: `01:80:c2:00:00:${hex(last)}`}));
  const frames = tokens.map(({token, to}) => frame(to, from.mac, 0x88b5, mark(token)));
  const near = await listen(host('boat', 2).ns, ['afterwards'], 5);
  const far = await listen(host('office').ns, ['afterwards'], 5);
  await sendRaw(from, [...frames, frame('ff:ff:ff:ff:ff:ff', from.mac, 0x88b5, mark('afterwards'))]);
  t.deepEqual(Object.keys(await far.heard()), ['afterwards']);
  // The bridge itself floods what STP would keep while STP is off.
  t.true('reserved-0' in (await near.heard()));
  t.true(((await networkOf(node('boat'))).bridge.traffic.drops['reserved-address'] ?? 0) > 0);
});

for (const [a, b, kind, seconds] of [
  ['office', 'boat', 'direct', 10],
  ['office', 'cabin', 'relay', 10],
  ['cabin', 'boat', 'relay', 3],
] as const) {
  labTest(
    `${seconds} s of iperf3 from ${a} to ${b} cross as status says, ${kind}, and ask TypeScript hardly ever`,
    async (t) => {
      const {internet} = world();
      const before = await upcalls();
      internet.resetFlows();
      const {bytes, mbps, retransmits} = await iperf3(host(a).ns, host(b).ns, host(b).address, seconds);
      const {publicAddress} = world().site(a);
      const crossing = judge(internet.flows(), publicAddress, world().site(b).publicAddress, Internet.SERVER, bytes);
      const asked = (await upcalls()) - before;
      t.log(`${mbps.toFixed(0)} Mbit/s, ${retransmits} retransmits, ${asked} upcalls at all nodes, ${crossing.by}`);
      t.is(crossing.kind, kind);
      t.is(peerOf(await networkOf(node(a)), b)?.path?.kind, kind);
      t.is(peerOf(await networkOf(node(b)), a)?.path?.kind, kind);
      t.true(asked < MAX_UPCALLS, `${asked} upcalls`);
      t.true(mbps > 1);
    },
  );
}

for (const family of ['address', 'address6'] as const) {
  labTest(
    `TCP over ${family === 'address' ? 'IPv4' : 'IPv6'} agrees on segments that go in one datagram, by either carriage`,
    async (t) => {
      for (const [from, to, kind] of [
        [host('boat'), host('office'), 'direct'],
        [host('cabin'), host('office'), 'relay'],
      ] as const) {
        const capture = await Capture.start(to.ns, 'eth0', `tcp and dst host ${to[family]}`, 128);
        const {bytes} = await iperf3(from.ns, to.ns, to[family], 1);
        await capture.stop();
        const said = await to.ns.runOk(['tcpdump', '-n', '-v', '-r', capture.file]);
        const sizes = [...said.matchAll(/Flags \[S\][^\n]*\bmss (\d+)/g)].map((match) => Number(match[1]));
        t.true(sizes.length >= 2, 'control and data connection');
        t.deepEqual([...new Set(sizes)], [WHOLE[kind] - HEADERS[family]]);
        t.true(bytes > 100_000, `${bytes} bytes`);
      }
    },
  );
}

labTest(
  '10 s of a multicast stream of 5 000 frames a second are heard elsewhere and ask TypeScript hardly ever',
  async (t) => {
    const group = '239.10.20.30';
    const [from, to] = [host('office'), host('boat')];
    to.ns.ip(`addr add ${group}/32 dev eth0 autojoin`);
    await introduce(from, to);
    const before = await upcalls();
    const {sent, received} = await blast(from.ns, to.ns, group, {pps: 5_000, seconds: 10});
    const asked = (await upcalls()) - before;
    t.log(`${received} of ${sent} heard, ${asked} upcalls at all nodes`);
    t.is(sent, 50_000);
    t.true(received > 0.5 * sent, `${received} of ${sent} heard`);
    t.true(asked < MAX_UPCALLS, `${asked} upcalls`);
  },
);

labTest('an idle node needs less than 30 MB (40 on txiki.js) and 1 % of a CPU', async (t) => {
  const before = nodes.map((one) => one.usage());
  const start = performance.now();
  await sleep(IDLE_SEC * 1000); // the span that is measured
  const elapsed = performance.now() - start;
  nodes.forEach((one, i) => {
    const {rssKb, cpuMs, threads} = one.usage();
    const percent = (100 * (cpuMs - before[i]!.cpuMs)) / elapsed;
    t.log(`${one.name}: ${rssKb} KB, ${percent.toFixed(2)} % CPU, ${threads} threads`);
    t.true(rssKb < MAX_RSS_KB[one.runtime], `${one.name}: ${rssKb} KB`);
    t.true(percent < 1, `${one.name}: ${percent} %`);
  });
});

labTest(
  'a site that is cut off is a problem at the others (2), down at the site itself (1), and all is well (0) once healed',
  async (t) => {
    const {internet} = world();
    const cabin = world().site('cabin');
    const mac = host('cabin').mac;
    await introduce(host('office'), host('cabin'));
    internet.cutSite(cabin.index);
    const {status} = await untilStatus(node('office'), 'cabin is down', LOST_MS, (network) => {
      return peerOf(network, 'cabin')?.state !== 'up';
    });
    t.false((await node('office').ipop('fdb')).stdout.includes(mac), 'the lost peer’s hosts are forgotten at once');
    t.is(peerOf(status.networks[0]!, 'boat')?.state, 'up');
    t.regex(healthItem(status, 'peer-down')?.text ?? '', /^cabin \([0-9a-f]{8}\) is in the room but not linked/);
    const shown = await node('office').ipop('status');
    t.is(shown.code, 2);
    t.regex(shown.stdout, /! peer-down {3}cabin/);
    await untilStatus(node('cabin'), 'no links', LOST_MS, ({peers}) => peers.every((peer) => peer.state !== 'up'));
    t.is((await node('cabin').ipop('status')).code, 1);
    internet.healSite(cabin.index);
    const start = performance.now();
    await allLinked(nodes, RETURN_MS);
    t.log(`all links back after ${((performance.now() - start) / 1000).toFixed(1)} s`);
    for (const one of nodes) {
      await untilStatus(one, 'no error', RETURN_MS, (_, {health}) =>
        health.every(({severity}) => severity !== 'error'),
      );
      t.is((await one.ipop('status')).code, 0, one.name);
    }
    t.true((await ping(host('office').ns, host('cabin').address)).received > 0);
  },
);

labTest(
  'SIGTERM ends a node within 5 s: its tap is gone, its bridge as before, and the others do not wait for it',
  async (t) => {
    const cabin = node('cabin');
    const start = performance.now();
    await cabin.stop();
    const elapsed = performance.now() - start;
    t.is(cabin.proc.ended, 'exit 0');
    t.true(elapsed < STOP_MS, `${elapsed} ms`);
    const links = await cabin.site.router.runOk(['ip', '-br', 'link', 'show']);
    t.notRegex(links, /ipop0/);
    t.regex(links, /br-lan/);
    t.deepEqual(await bridgePorts(cabin), ['h1', 'h2']);
    t.is((await ping(host('cabin').ns, host('cabin', 2).address)).received, 3);
    const {code, stderr} = await cabin.ipop('status');
    t.is(code, 1);
    t.regex(stderr, /the daemon is not running \(no answer at .*ipop\.sock\); start ipopd/);
    for (const other of [node('office'), node('boat')]) {
      const {network} = await untilStatus(
        other,
        'cabin is gone',
        5_000,
        (now) => peerOf(now, 'cabin')?.state === 'idle',
      );
      t.false(peerOf(network, 'cabin')?.present);
      t.is((await other.ipop('status')).code, 0, 'a peer that left is no problem');
    }
  },
);

async function bridgePorts({site}: IpopNode): Promise<string[]> {
  const text = await site.router.runOk(['ip', '-j', 'link', 'show', 'master', 'br-lan']);
  return (JSON.parse(text) as {ifname: string}[]).map(({ifname}) => ifname).sort();
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
