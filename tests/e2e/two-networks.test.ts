// SPDX-License-Identifier: MIT
// Two networks on one node: two Ethernets that know nothing of each other, and share no fault.
//
//   office: br-lan -- h1 (192.168.50.11)     boat: br-lan -- h1 (192.168.50.31)     network home, tap ipop0, owned by office
//           br-work -- w (192.168.60.11)           br-work -- w (192.168.60.31)     network work, tap ipop1, owned by boat

import {listen, ping, sendFrame} from '../lab/tools.ts';
import {healthItem, labTest, RETURN_MS, TWO_SITES, worldOf} from './kit.ts';
import {PingStream} from './ping-stream.ts';
import {isLinked, networkNamed, peerIn, ROOMS, startBoth, untilNetwork, untilWorkWorks} from './two-lans.ts';

const LISTEN_SEC = 3;
const world = worldOf(import.meta.filename, TWO_SITES);

labTest('two networks of one node are two Ethernets, and one’s fault leaves the other alone', async (t) => {
  const {office, boat, work} = await startBoth(t, world());
  const home = {office: office.site.hosts[0]!, boat: boat.site.hosts[0]!};

  const names = (await office.status())?.networks.map(({network, bridge, xmpp}) => [
    network,
    bridge.tap,
    bridge.name,
    xmpp.jid,
    xmpp.room,
  ]);
  t.deepEqual(names, [
    ['home', 'ipop0', 'br-lan', 'office@example.org', ROOMS.home],
    ['work', 'ipop1', 'br-work', 'office-work@example.org', ROOMS.work],
  ]);
  const {stdout} = await office.ipop('status');
  t.regex(stdout, /network home .*bridge br-lan {2}tap ipop0[^]*network work .*bridge br-work {2}tap ipop1/);

  t.is((await ping(home.office.ns, home.boat.address)).received, 3);
  await untilWorkWorks(work);
  // A broadcast reaches the hosts of its own network, and nobody in the other.
  const ears = await Promise.all(
    [home.boat, work.boat, work.office].map((host) => listen(host.ns, ['at-home', 'at-work'], LISTEN_SEC)),
  );
  await sendFrame(home.office.ns, home.office.address, 'broadcast', 'at-home');
  await sendFrame(work.office.ns, work.office.address, 'broadcast', 'at-work');
  const heard = await Promise.all(ears.map(async (ear) => Object.keys(await ear.heard())));
  t.deepEqual(heard, [['at-home'], ['at-work'], []]);
  const fdb = JSON.parse((await office.ipop('fdb', '--json')).stdout) as {network: string; mac: string}[];
  for (const [network, there, notThere] of [
    ['home', home.boat.mac, work.boat.mac],
    ['work', work.boat.mac, home.boat.mac],
  ] as const) {
    const macs = fdb.filter((entry) => entry.network === network).map(({mac}) => mac);
    t.true(macs.includes(there));
    t.false(macs.includes(notThere));
  }

  const stream = await PingStream.start(home.office.ns, home.boat.address);
  const before = await peerIn(office, 'home');
  boat.site.router.ip('link del ipop1', 'link del br-work');
  const broken = await untilNetwork(boat, 'work', 'without a bridge', 5_000, (now, status) => {
    return now?.bridge.state === 'no-bridge' && healthItem(status, 'no-bridge')?.network === 'work';
  });
  t.true(isLinked(broken));
  t.is((await networkNamed(boat, 'home'))?.bridge.state, 'joined');
  t.regex((await boat.ipop('status')).stdout, /! no-bridge {3}work: /);
  t.is((await ping(work.office.ns, work.boat.address)).received, 0);
  boat.site.router.ip('link add br-work type bridge stp_state 0 forward_delay 0', 'link set br-work up');
  boat.site.router.ip('link set w master br-work');
  await untilNetwork(boat, 'work', 'joined again', RETURN_MS, (now) => now?.bridge.state === 'joined');
  await untilWorkWorks(work);

  t.deepEqual(await stream.stop(), [], 'home lost nothing');
  const after = await peerIn(office, 'home');
  t.true(after.sinceSec >= before.sinceSec);
  t.true(after.traffic.rxFrames > before.traffic.rxFrames);
});
