// SPDX-License-Identifier: MIT
// The lab proves itself, without ipop: its NATs are what they claim, some pairs meet directly and some only by a relay,
// its tools hear what is there, and nothing is left of it.
//
//                        server host 203.0.113.10, .11 (Prosody, coturn)
//                                          |
//   [ internet ]------+---------+----------+-----------+------------+------------+-----------+
//         |           |         |          |           |            |            |           |
//     [ office ]  [ cabin ] [ carrier ] [ open ]  [ UDP blocked ] [ carrier ] [ carrier ]
//     masquerade  symmetric masquerade  full cone      |          symmetric    full cone
//                               |                   [ mute ]          |            |
//                           [ boat ]               masquerade     [ mobile ]    [ fibre ]
//                           masquerade                            masquerade    full cone
//   office, cabin, boat: hosts h1, h2; open: h1, h2

import {existsSync, readFileSync} from 'node:fs';
import {spawn, spawnSync} from 'node:child_process';
import test from 'ava';
import {Capture, judge} from '../lab/capture.ts';
import {Internet} from '../lab/internet.ts';
import {Lab, sweep, whyNot} from '../lab/lab.ts';
import {listNetns, Netns} from '../lab/netns.ts';
import {Site, type SiteOptions} from '../lab/site.ts';
import {measureNat, type NatClass, udpPair} from '../lab/stun.ts';
import {arping, blast, dhcpDiscover, iperf3, listen, ping, sendFrame, tool} from '../lab/tools.ts';
import {TurnServer} from '../lab/turn-server.ts';
import {THREE_SITES, World} from '../lab/world.ts';
import {DOMAINS} from '../lab/xmpp-server.ts';

const PLAN: readonly SiteOptions[] = [
  ...THREE_SITES,
  {name: 'open', index: 4, nat: 'full-cone'},
  {name: 'mute', index: 5, nat: 'udp-blocked', hosts: 0},
  {name: 'mobile', index: 6, nat: 'port-restricted', carrier: 'symmetric', hosts: 0},
  {name: 'fibre', index: 7, nat: 'full-cone', carrier: 'full-cone', hosts: 0},
];

const obstacle = whyNot();
if (obstacle !== undefined && process.env['CI'] !== undefined) throw new Error(obstacle);
const labTest = obstacle === undefined ? test.serial : test.serial.skip;
if (obstacle !== undefined) console.log(`skipped: ${obstacle}`);

let lab: Lab;
let world: World;

test.before(async () => {
  if (obstacle !== undefined) return;
  lab = Lab.open();
  world = await World.build(lab, PLAN);
});
test.after.always(() => lab?.close());

/** A process whose parent has not asked for its exit code yet is still listed, without a memory of its own. */
function isAlive(pid: string): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

/** What a NAT of each kind is to be: mapping and filtering in the words of RFC 4787. */
const KINDS = [
  {site: 'office', kind: 'masquerade', mapping: 'endpoint-independent', filtering: 'address-and-port-dependent'},
  {
    site: 'cabin',
    kind: 'a symmetric NAT',
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
  },
  {
    site: 'boat',
    kind: 'masquerade behind CGNAT',
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
  },
  {site: 'open', kind: 'a full cone', mapping: 'endpoint-independent', filtering: 'endpoint-independent'},
  {
    site: 'mobile',
    kind: 'masquerade behind symmetric CGNAT',
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
  },
  {
    site: 'fibre',
    kind: 'a full cone behind a full cone',
    mapping: 'endpoint-independent',
    filtering: 'endpoint-independent',
  },
  {site: 'mute', kind: 'a firewall that blocks UDP', mapping: 'udp-blocked', filtering: 'udp-blocked'},
] as const;

/** Of every router and host, by its namespace; measured once, all at the same time. */
let measured: Promise<ReadonlyMap<Netns, NatClass>> | undefined;

async function measureAll(): Promise<ReadonlyMap<Netns, NatClass>> {
  const all = world.sites.flatMap((site) => [site.router, ...site.hosts.map((host) => host.ns)]);
  return new Map(await Promise.all(all.map(async (ns) => [ns, await measureNat(ns, world.turn)] as const)));
}

for (const {site: name, kind, mapping, filtering} of KINDS) {
  labTest(
    `${kind}: mapping is ${mapping}, filtering is ${filtering}, for the router and for each LAN host`,
    async (t) => {
      const site = world.site(name);
      const found = await (measured ??= measureAll());
      for (const ns of [site.router, ...site.hosts.map((host) => host.ns)]) {
        t.like(found.get(ns), {mapping, filtering}, ns.label);
        if (mapping !== 'udp-blocked') t.is(found.get(ns)?.mapped?.split(':')[0], site.publicAddress, ns.label);
      }
    },
  );
}

labTest(
  'CGNAT: the router’s own WAN address is the carrier’s, 100.64.0.0/10, and not the one the internet sees',
  (t) => {
    for (const name of ['boat', 'mobile', 'fibre']) {
      const {wanAddress, publicAddress, router} = world.site(name);
      t.regex(wanAddress, /^100\.64\./);
      t.regex(publicAddress, /^198\.51\.100\./);
      t.regex(router.runSync(['ip', '-br', 'addr', 'show', 'wan']), new RegExp(` ${wanAddress}/`));
    }
  },
);

labTest(
  'a full cone lets in from anywhere what is for a port that was used, sends it to who used it, and nothing else',
  async (t) => {
    const [h1, h2] = world.site('open').hosts;
    const {publicAddress} = world.site('open');
    for (const [host, port] of [
      [h1!, 5001],
      [h2!, 5002],
    ] as const) {
      const ear = host.ns.spawn(`ear-${port}`, tool('udp_ear', `${port}`, `${Internet.SERVER_2}:9`));
      await ear.waitLog(/listening/, 5_000);
      for (const to of [port + 10, port])
        await world.internet.server.runOk(tool('udp_send', `${publicAddress}:${to}`, `for-${to}`, Internet.SERVER));
      await ear.waitLog(new RegExp(`^${Internet.SERVER}:\\d+ for-${port}$`, 'm'), 5_000);
      t.notRegex(ear.log(), new RegExp(`for-${port + 10}`));
      await ear.kill();
    }
  },
);

labTest('masquerade lets in nothing from where nothing was sent to, though the port is in use', async (t) => {
  const [h1] = world.site('office').hosts;
  const ear = h1!.ns.spawn('ear', tool('udp_ear', '5001', `${Internet.SERVER}:9`));
  await ear.waitLog(/listening/, 5_000);
  const to = `${world.site('office').publicAddress}:5001`;
  await world.internet.server.runOk(tool('udp_send', to, 'unasked', Internet.SERVER_2));
  // From port 9 of the address that was asked: an answer.
  await world.internet.server.runOk(tool('udp_send', to, 'answer', `${Internet.SERVER}:9`));
  await ear.waitLog(/ answer$/m, 5_000);
  t.notRegex(ear.log(), /unasked/);
});

labTest('where UDP is blocked, TCP goes through', async (t) => {
  const {router} = world.site('mute');
  const argv = [
    'timeout',
    '5',
    'openssl',
    's_client',
    '-connect',
    world.xmpp.address,
    '-servername',
    'example.org',
    '-brief',
  ];
  const {stdout, stderr} = await router.run(argv);
  t.regex(stdout + stderr, /CONNECTION ESTABLISHED/);
});

labTest('office and boat meet directly by sending at once', async (t) => {
  const [office, boat] = [world.site('office'), world.site('boat')];
  const result = await udpPair(office.router, boat.router, world.turn);
  t.true(result.met);
  t.is(result.heardFrom[0]?.split(':')[0], boat.publicAddress);
  t.is(result.heardFrom[1]?.split(':')[0], office.publicAddress);
});

for (const other of ['office', 'boat']) {
  labTest(`cabin and ${other} cannot meet directly, but through the relay`, async (t) => {
    const [cabin, peer] = [world.site('cabin'), world.site(other)];
    const direct = await udpPair(peer.router, cabin.router, world.turn);
    t.deepEqual(direct, {met: false, heardFrom: [null, null]});
    world.internet.resetFlows();
    const relayed = await udpPair(peer.router, cabin.router, world.turn, true);
    t.true(relayed.met);
    t.is(relayed.heardFrom[1]?.split(':')[0], Internet.SERVER);
    const {kind} = judge(world.internet.flows(), cabin.publicAddress, peer.publicAddress, Internet.SERVER, 100);
    t.is(kind, 'relay');
    const {first, last} = TurnServer.RELAY_PORTS;
    t.true(
      world.internet.flows().some(({to}) => to.address === Internet.SERVER && to.port >= first && to.port <= last),
    );
  });
}

labTest('what two sites send each other counts as direct, and as nothing before', async (t) => {
  const [office, boat] = [world.site('office'), world.site('boat')];
  const crossing = () => judge(world.internet.flows(), office.publicAddress, boat.publicAddress, Internet.SERVER, 100);
  world.internet.resetFlows();
  t.is(crossing().kind, 'none');
  await udpPair(office.router, boat.router, world.turn);
  t.true(crossing().directBytes >= 100);
});

labTest('a cut pair does not meet, and meets again once healed', async (t) => {
  const [office, boat] = [world.site('office'), world.site('boat')];
  world.internet.cutPair(office.publicAddress, boat.publicAddress);
  t.false((await udpPair(office.router, boat.router, world.turn, false, 1)).met);
  world.internet.healPair(office.publicAddress, boat.publicAddress);
  t.true((await udpPair(office.router, boat.router, world.turn)).met);
});

labTest('a cut site reaches nobody, and everybody once healed', async (t) => {
  const office = world.site('office');
  world.internet.cutSite(office.index);
  t.is((await ping(office.router, Internet.SERVER, {count: 1})).received, 0);
  world.internet.healSite(office.index);
  t.is((await ping(office.router, Internet.SERVER, {count: 1})).received, 1);
});

labTest('hosts of one site hear each other, those of other sites they do not', async (t) => {
  const [h1, h2] = world.site('office').hosts;
  const far = world.site('cabin').hosts[0]!;
  t.is((await ping(h1!.ns, h2!.address)).received, 3);
  t.is((await ping(h1!.ns, h2!.address6)).received, 3);
  t.is((await ping(h1!.ns, h2!.address, {size: 1472, df: true})).received, 3);
  t.is((await ping(h1!.ns, h2!.address, {size: 1473, df: true})).received, 0);
  t.deepEqual(await arping(h1!.ns, h2!.address), {received: 2, macs: [h2!.mac]});
  t.is((await ping(h1!.ns, far.address, {count: 1})).received, 0);
  t.is((await arping(h1!.ns, far.address, 1)).received, 0);
});

labTest(
  'a broadcast, a multicast and a frame of a strange EtherType are heard on the LAN and only there',
  async (t) => {
    const [h1, h2] = world.site('office').hosts;
    const kinds = ['broadcast', 'mdns', 'ethertype'] as const;
    const near = await listen(h2!.ns, kinds, 5);
    const far = await listen(world.site('boat').hosts[0]!.ns, kinds, 2);
    for (const kind of kinds) await sendFrame(h1!.ns, h1!.address, kind, kind);
    t.deepEqual(await near.heard(), {
      broadcast: {src: h1!.mac, dst: 'ff:ff:ff:ff:ff:ff', type: '0x0800', count: 1},
      mdns: {src: h1!.mac, dst: '01:00:5e:00:00:fb', type: '0x0800', count: 1},
      ethertype: {src: h1!.mac, dst: 'ff:ff:ff:ff:ff:ff', type: '0x88b5', count: 1},
    });
    t.deepEqual(await far.heard(), {});
  },
);

labTest('the DHCP tool sees the server of its own LAN, asked either way, and none where there is none', async (t) => {
  const office = world.site('office');
  const server = await office.startDhcp();
  const host = office.hosts[0]!;
  const offers = await dhcpDiscover(host.ns, 1);
  t.deepEqual(
    offers.map((offer) => offer.server),
    [office.lanAddress],
  );
  t.is(offers[0]?.dst, 'ff:ff:ff:ff:ff:ff');
  const unicast = await dhcpDiscover(host.ns, 1, true);
  t.deepEqual(
    unicast.map(({server, dst}) => ({server, dst})),
    [{server: office.lanAddress, dst: host.mac}],
  );
  await server.stop();
  t.deepEqual(await dhcpDiscover(host.ns, 1), []);
});

labTest('iperf3 measures plain forwarding to the internet, and the meter counts what crossed', async (t) => {
  const office = world.site('office');
  world.internet.resetFlows();
  const result = await iperf3(office.hosts[0]!.ns, world.internet.server, Internet.SERVER, 1);
  t.true(result.mbps > 100, `${result.mbps} Mbit/s`);
  const [flow] = world.internet.flows();
  t.like(flow, {protocol: 'tcp', from: {address: office.publicAddress}, to: {address: Internet.SERVER, port: 5201}});
  t.true(flow!.bytes >= result.bytes);
});

labTest('the UDP stream reaches 15 000 packets a second, and a black hole shows as a gap', async (t) => {
  const office = world.site('office');
  const plain = await blast(office.hosts[0]!.ns, world.internet.server, Internet.SERVER, {pps: 20_000, seconds: 1});
  t.is(plain.sent, 20_000);
  t.true(plain.lost < 200, `${plain.lost} lost`);
  const holed = await blast(
    office.hosts[0]!.ns,
    world.internet.server,
    Internet.SERVER,
    {pps: 15_000, seconds: 3},
    async () => {
      await ping(office.hosts[1]!.ns, Internet.SERVER, {count: 5}); // half a second
      world.internet.cutSite(office.index);
      await ping(office.hosts[1]!.ns, office.lanAddress, {count: 11}); // a second
      world.internet.healSite(office.index);
    },
  );
  t.true(holed.longestGapMs > 800 && holed.longestGapMs < 2_500, `${holed.longestGapMs} ms`);
  t.true(holed.lost > 10_000, `${holed.lost} lost`);
});

labTest('a capture finds readable payload where it crosses', async (t) => {
  const capture = await Capture.start(world.internet.ns, 'w1', 'icmp');
  await ping(world.site('office').hosts[0]!.ns, Internet.SERVER, {
    count: 2,
    pattern: Buffer.from('readable').toString('hex'),
  });
  t.true((await capture.stop()).includes('readablereadable'));
});

labTest('the XMPP server shows the certificate of the lab and stops, starts and freezes', async (t) => {
  const ask = async (): Promise<string> => {
    const names = ['-servername', 'example.org', '-verify_hostname', 'example.org', '-CAfile', world.authority.caFile];
    const argv = ['timeout', '2', 'openssl', 's_client', '-connect', world.xmpp.address, ...names, '-brief'];
    const {stdout, stderr} = await world.site('boat').router.run(argv);
    return stdout + stderr;
  };
  t.regex(await ask(), /Verification: OK/);
  await world.xmpp.stop();
  t.notRegex(await ask(), /Verification/);
  await world.xmpp.start();
  world.xmpp.proc.freeze();
  t.notRegex(await ask(), /Verification/);
  world.xmpp.proc.thaw();
  t.regex(await ask(), /Verification: OK/);
});

for (const [hash, domain] of Object.entries(DOMAINS)) {
  labTest(`an account of the virtual host for ${hash} logs in, and not with a wrong password`, async (t) => {
    world.xmpp.addAccount('probe', 'right', hash as keyof typeof DOMAINS);
    const stream = `<stream:stream to='${domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`;
    const login = async (password: string): Promise<string> => {
      const secret = Buffer.from(`\0probe\0${password}`).toString('base64');
      const auth = `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${secret}</auth>`;
      const argv = [
        'timeout',
        '1',
        'openssl',
        's_client',
        '-connect',
        world.xmpp.address,
        '-servername',
        domain,
        '-quiet',
      ];
      return (await world.site('office').router.run(argv, {input: stream + auth})).stdout;
    };
    const answer = await login('right');
    t.regex(answer, new RegExp(`<mechanism>SCRAM-${hash}</mechanism>`));
    t.regex(answer, /<success/);
    t.regex(await login('wrong'), /<not-authorized/);
  });
}

labTest('a second lab beside the first leaves no namespace, process or file', (t) => {
  const other = Lab.open();
  const site = new Site(other, new Internet(other), {name: 'x', index: 1, nat: 'symmetric'});
  const proc = site.router.spawn('sleep', ['sleep', '1000']);
  t.true(existsSync(`/proc/${proc.pid}`));
  t.true(listNetns().some((name) => name.startsWith(other.prefix)));
  other.close();
  t.false(listNetns().some((name) => name.startsWith(other.prefix)));
  t.true(listNetns().some((name) => name.startsWith(lab.prefix)));
  t.false(existsSync(other.dir));
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  const how = signal === 'SIGKILL' ? 'is swept by the next run' : 'leaves nothing behind';
  labTest(`a lab whose program ends by ${signal} ${how}`, async (t) => {
    const program = `
      const {Lab} = await import('./tests/lab/lab.ts');
      const {Netns} = await import('./tests/lab/netns.ts');
      const lab = Lab.open();
      Netns.create(lab, 'a').spawn('sleep', ['sleep', '1000']);
      console.log(lab.prefix, lab.dir);
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const line = await new Promise<string>((resolve) =>
      child.stdout.once('data', (data: Buffer) => resolve(data.toString())),
    );
    const [prefix = '', dir = ''] = line.trim().split(' ');
    t.true(listNetns().includes(`${prefix}a`));
    const pids = spawnSync('ip', ['netns', 'pids', `${prefix}a`], {encoding: 'utf8'}).stdout.trim();
    t.regex(pids, /^\d+$/);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
    if (signal === 'SIGKILL') {
      t.true(listNetns().includes(`${prefix}a`));
      sweep(false);
    }
    t.false(listNetns().includes(`${prefix}a`));
    t.false(existsSync(dir));
    t.false(isAlive(pids));
  });
}

labTest('a namespace that is gone already does not disturb the end of a lab', (t) => {
  const other = Lab.open();
  const ns = Netns.create(other, 'gone');
  spawnSync('ip', ['netns', 'del', ns.name]);
  t.notThrows(() => other.close());
});
