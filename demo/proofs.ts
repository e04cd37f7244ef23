// SPDX-License-Identifier: MIT
// The proofs that three LANs are one Ethernet, asked from LAN hosts that know nothing of ipop.

import {Capture} from '../tests/lab/capture.ts';
import {arping, dhcpDiscover, listen, ping, sendFrame} from '../tests/lab/tools.ts';
import type {FrameKind, PingOptions} from '../tests/lab/tools.ts';
import {pool} from '../tests/lab/wait.ts';
import {hostPairs, hostsBeyond, outcome, type HostPair, type Outcome, type Proof, type Stage} from './stage.ts';

/** At a time; more would measure this machine and not the network. */
const WIDTH = 6;
const HEAR_SEC = 4;
const DHCP_SEC = 2;

export const PROOFS: readonly Proof[] = [
  {title: 'ARP finds hosts of other sites', run: proveArp},
  {title: 'ping', run: (stage) => provePing(stage, 'address', {})},
  {title: 'ping over IPv6', run: (stage) => provePing(stage, 'address6', {})},
  {
    title: '1500-byte packets pass whole (ping -s 1472, DF)',
    run: (stage) => provePing(stage, 'address', {size: 1472, df: true}),
  },
  {title: 'a broadcast is heard at all sites', run: (stage) => proveHeard(stage, 'broadcast')},
  {title: 'a multicast as of mDNS is heard at all sites', run: (stage) => proveHeard(stage, 'mdns')},
  {title: 'a frame that is not IP (EtherType 88b5) too', run: (stage) => proveHeard(stage, 'ethertype')},
  {title: 'DHCP stays at home: two servers, own offers only', run: proveDhcp},
  {title: 'nothing readable crosses the internet', run: proveSecret},
];

async function proveArp(stage: Stage, tell: (state: string) => void): Promise<Outcome> {
  const pairs = hostPairs(stage.world);
  const failures = await each(pairs, tell, async ({from, to}) => {
    const {macs} = await arping(from.ns, to.address);
    if (macs.length === 0) return 'no answer';
    return macs.join() === to.mac ? undefined : `answered by ${macs.join(', ')}, not by ${to.mac}`;
  });
  return outcome(`${count(pairs, failures)} pairs of hosts, each by its own MAC`, failures);
}

async function provePing(stage: Stage, family: 'address' | 'address6', options: PingOptions): Promise<Outcome> {
  const pairs = hostPairs(stage.world);
  const rtts: number[] = [];
  const failures = await each(
    pairs,
    () => {},
    async ({from, to}) => {
      const {sent, received, rttMs, said} = await ping(from.ns, to[family], options);
      if (rttMs !== undefined) rtts.push(rttMs);
      return received === sent ? undefined : `${received} of ${sent} came back (${said})`;
    },
  );
  rtts.sort((a, b) => a - b);
  const [median = 0, worst = 0] = [rtts[rtts.length >> 1], rtts.at(-1)];
  const text = `${count(pairs, failures)} pairs of hosts, median ${median.toFixed(1)} ms, worst ${worst.toFixed(1)} ms`;
  return outcome(text, failures, {medianMs: median, worstMs: worst});
}

async function proveHeard(stage: Stage, kind: FrameKind): Promise<Outcome> {
  const {sites} = stage.world;
  const token = (name: string): string => `${kind}-from-${name}`;
  const listeners = await Promise.all(
    sites.flatMap((site) =>
      site.hosts.map(async (host) => {
        const tokens = sites.filter((other) => other !== site).map((other) => token(other.name));
        return {host, tokens, ear: await listen(host.ns, tokens, HEAR_SEC)};
      }),
    ),
  );
  for (const site of sites) {
    const speaker = site.hosts[0]!;
    await sendFrame(speaker.ns, speaker.address, kind, token(site.name));
  }
  const failures: string[] = [];
  for (const {host, tokens, ear} of listeners) {
    const heard = await ear.heard();
    for (const wanted of tokens) {
      if (heard[wanted] === undefined) failures.push(`${host.name} did not hear ${wanted}`);
      else if (heard[wanted].count !== 1) failures.push(`${host.name} heard ${wanted} ${heard[wanted].count} times`);
    }
  }
  const total = sites.reduce((sum, site) => sum + hostsBeyond(stage.world, site).length, 0);
  return outcome(`${total - failures.length} of ${total} times, each once`, failures);
}

async function proveDhcp(stage: Stage): Promise<Outcome> {
  const {sites} = stage.world;
  const served = sites.slice(0, 2);
  const servers = await Promise.all(served.map((site) => site.startDhcp()));
  const failures: string[] = [];
  let own = 0;
  for (const unicast of [false, true]) {
    const asked = sites.flatMap((site) => site.hosts.map((host) => ({site, host})));
    await pool(
      asked.length,
      asked.map(({site, host}) => async () => {
        const offers = await dhcpDiscover(host.ns, DHCP_SEC, unicast);
        const home = served.includes(site) ? site.lanAddress : undefined;
        own += offers.filter((offer) => offer.server === home).length;
        for (const {server} of offers.filter((offer) => offer.server !== home)) {
          failures.push(`${host.name} got an offer from ${server}, a server of another site`);
        }
        if (home !== undefined && !offers.some((offer) => offer.server === home)) {
          failures.push(`${host.name} got no offer from ${home}, the server of its own site`);
        }
      }),
    );
  }
  await Promise.all(servers.map((server) => server.stop()));
  const names = served.map((site) => site.name).join(', ');
  return outcome(`servers at ${names}: ${own} offers, ${failures.length} strange ones`, failures);
}

async function proveSecret(stage: Stage): Promise<Outcome> {
  const word = 'readable-payload'; // ping fills with at most 16 bytes
  const captures = [];
  for (const site of stage.world.sites)
    captures.push(await Capture.start(stage.world.internet.ns, `w${site.index}`, 'udp', 2048));
  const pattern = Buffer.from(word).toString('hex');
  let answers = 0;
  for (const [a, b] of stage.world.pairs()) {
    answers += (await ping(a.hosts[0]!.ns, b.hosts[0]!.address, {count: 2, size: 256, pattern})).received;
  }
  const seen = await Promise.all(captures.map((capture) => capture.stop()));
  const bytes = seen.reduce((sum, data) => sum + data.length, 0);
  const readable = seen.some((data) => data.includes(word));
  return outcome(`${bytes} bytes captured on the WANs during ${answers} pings`, [
    readable ? `the pings' payload "${word}" was found in them` : undefined,
    answers === 0 ? 'no ping came back' : undefined,
    bytes < answers * 256 ? 'fewer bytes than the pings had: they went another way' : undefined,
  ]);
}

async function each(
  pairs: readonly HostPair[],
  tell: (state: string) => void,
  check: (pair: HostPair) => Promise<string | undefined>,
): Promise<string[]> {
  let done = 0;
  const jobs = pairs.map((pair) => async () => {
    const wrong = await check(pair);
    tell(`${++done} of ${pairs.length}`);
    return wrong === undefined ? undefined : `${pair.from.name} → ${pair.to.name}: ${wrong}`;
  });
  return (await pool(WIDTH, jobs)).filter((failure) => failure !== undefined);
}

function count(pairs: readonly HostPair[], failures: readonly string[]): string {
  return `${pairs.length - failures.length} of ${pairs.length}`;
}
