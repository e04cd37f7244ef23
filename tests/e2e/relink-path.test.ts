// SPDX-License-Identifier: MIT
// Links must not run inside links: with everything up, each router could reach the others by their addresses on br-lan, through
// the taps. A new link made then goes from WAN to WAN, and nothing of its making enters a tap.
//
//   server host (Prosody, coturn) -- [ internet ] --+-- [ office ] masquerade -- h1, h2            office = boat: direct
//                                                   +-- [ cabin ] symmetric -- h1, h2              cabin = office, cabin = boat: relay
//                                                   +-- [ carrier ] masquerade -- [ boat ] masquerade -- h1, h2

import {readFileSync} from 'node:fs';
import test from 'ava';
import {Capture, judge} from '../lab/capture.ts';
import {Internet} from '../lab/internet.ts';
import type {IpopNode} from '../lab/ipopd.ts';
import {ping} from '../lab/tools.ts';
import {THREE_SITES} from '../lab/world.ts';
import {labTest, LINKS_MS, worldOf} from './kit.ts';
import {Mesh, pair} from './mesh.ts';

const COOKIE = '0x2112a442';
const IPV4 = `udp[12:4] = ${COOKIE} or (udp[8] >= 20 and udp[8] <= 63 and (udp[9:2] = 0xfefd or udp[9:2] = 0xfeff))`;
/** After 40 bytes of IPv6 header and 8 of UDP. */
const IPV6 = `ip6[52:4] = ${COOKIE} or (ip6[48] >= 20 and ip6[48] <= 63 and (ip6[49:2] = 0xfefd or ip6[49:2] = 0xfeff))`;
/** STUN by its magic cookie (RFC 8489), DTLS by content type and version (RFC 6347). */
const SETTING_UP = `(ip and udp and (${IPV4})) or (ip6 and ip6[6] = 17 and (${IPV6}))`;

/** One STUN request and one DTLS record to each address. */
const SEND = `
import socket, sys
for address in sys.argv[1:]:
  with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(bytes.fromhex("000100002112a442000102030405060708090a0b"), (address, 40000))
    s.sendto(bytes.fromhex("16feff0000000000000000000c") + bytes(12), (address, 40000))
`;

const world = worldOf(import.meta.url, THREE_SITES);
let mesh: Mesh;

test.beforeEach(async () => {
  mesh ??= await startListened();
  await mesh.watcher.wait(mesh.ends(), true, LINKS_MS);
});
test.after.always(() => mesh?.close());

/** A mesh whose XMPP server writes every stanza to its log. */
async function startListened(): Promise<Mesh> {
  const {xmpp} = world();
  await xmpp.stop();
  xmpp.logStanzas();
  await xmpp.start();
  return await Mesh.up(world());
}

/**
 * What the routers say to each other through br-lan and taps to make links, until stopped: one line for each packet. The tap of a
 * node that restarts meanwhile goes away, its br-lan stays.
 */
async function watchTaps(restarting?: string): Promise<{stop(): Promise<string[]>}> {
  const captures = await Promise.all(
    mesh.nodes.flatMap(({name, site}) => {
      const devices = name === restarting ? ['br-lan'] : ['br-lan', 'ipop0'];
      return devices.map((device) => Capture.start(site.router, device, SETTING_UP));
    }),
  );
  const read = async (capture: Capture): Promise<string[]> => {
    await capture.stop();
    const shown = await world().internet.ns.runOk(['tcpdump', '-n', '-r', capture.file]);
    return shown.split('\n').filter(Boolean);
  };
  return {stop: async () => (await Promise.all(captures.map(read))).flat()};
}

/** kill -9, start, and all its links up again. */
async function restart(node: IpopNode): Promise<void> {
  await node.kill();
  await mesh.watcher.wait(pair(node.name, other(node.name)).slice(0, 1), false, 5_000);
  node.start();
  await mesh.watcher.wait(mesh.ends(node.name), true, LINKS_MS);
}

function other(name: string): string {
  return name === 'office' ? 'boat' : 'office';
}

function isOverlay(text: string): boolean {
  return text.includes('192.168.50.') || /fd50:/i.test(text);
}

labTest('the capture hears STUN and DTLS that enter a tap', async (t) => {
  const taps = await watchTaps();
  const office = world().site('office');
  const boat = world().site('boat');
  const argv = ['/usr/bin/python3', '-c', SEND, boat.lanAddress, `fd50::${boat.index}`];
  await office.router.runOk(argv);
  await ping(office.router, boat.lanAddress);
  const heard = await taps.stop();
  t.log(heard.join('\n'));
  // Two packets to each address, at both routers, on the tap and on br-lan.
  t.is(heard.filter((line) => line.includes(`${boat.lanAddress}.40000`)).length, 8);
  t.is(heard.filter((line) => line.includes(`fd50::${boat.index}.40000`)).length, 8);
});

for (const name of ['boat', 'office', 'cabin']) {
  labTest(`links made anew by ${name} go from WAN to WAN, and nothing of their making enters a tap`, async (t) => {
    const taps = await watchTaps(name);
    world().internet.resetFlows();
    await restart(mesh.node(name));
    for (const peer of mesh.nodes.filter((node) => node.name !== name)) {
      const [a, b] = [world().site(name), world().site(peer.name)];
      const [from, to] = [mesh.host(name), mesh.host(peer.name)];
      t.is((await ping(from.ns, to.address, {count: 20, size: 1000})).received, 20);
      const crossing = judge(world().internet.flows(), a.publicAddress, b.publicAddress, Internet.SERVER, 20_000);
      const relayed = name === 'cabin' || peer.name === 'cabin';
      t.log(`${name} to ${peer.name}: ${crossing.kind}, ${crossing.by}`);
      t.true(relayed ? crossing.relayedBytes >= 20_000 : crossing.directBytes >= 20_000);
      for (const end of pair(name, peer.name)) {
        const path = mesh.watcher.peer(end)?.path;
        t.false(isOverlay(`${path?.local} ${path?.remote}`), `${path?.local} to ${path?.remote}`);
      }
    }
    t.deepEqual(await taps.stop(), []);
  });
}

labTest('no candidate on the way of br-lan was ever signalled, although each node had some', (t) => {
  const stanzas = world().xmpp.proc.log();
  const candidates = [...stanzas.matchAll(/candidate:\w+ [^<]*/g)].map(([line]) => line);
  t.log(`${candidates.length} candidates passed the server`);
  const wans = mesh.nodes.map(({site}) => site.wanAddress);
  for (const address of wans)
    t.true(
      candidates.some((line) => line.includes(` ${address} `)),
      address,
    );
  t.deepEqual(candidates.filter(isOverlay), []);
  for (const node of mesh.nodes) {
    t.regex(readFileSync(node.proc.logFile, 'utf8'), /local candidate dropped \(inside the overlay\)/, node.name);
  }
});
