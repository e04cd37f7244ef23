// SPDX-License-Identifier: MIT
// Interfaces that are renamed, and a bridge that is made anew, under traffic: what the daemon can mend it mends without a restart, the
// rest it says. What netifd does on a router, to put the tap into a bridge that it made anew, the daemon does here by itself.

import type {NetworkStatus} from '../../src/status/types.ts';
import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {endWith, healthItem, labTest, startAll, timesUp, TWO_SITES, untilStatus, worldOf} from './kit.ts';
import {PingStream} from './ping-stream.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
const MEND_MS = 12_000;

/** Office and boat, linked, a ping from host to host. */
async function pair(t: Parameters<typeof endWith>[0], room: string) {
  const nodes = endWith(t, groupOf(world(), `${room}@conference.example.org`)) as unknown as readonly [
    IpopNode,
    IpopNode,
  ];
  await startAll(nodes);
  const [from, to] = nodes.map((node) => node.site.hosts[0]!);
  const stream = await PingStream.start(from!.ns, to!.address);
  t.teardown(() => stream.stop().catch(() => undefined));
  const ups = nodes.map(timesUp);
  return {office: nodes[0], stream, relinked: () => nodes.map(timesUp).some((count, i) => count !== ups[i])};
}

const isJoined = ({bridge}: NetworkStatus): boolean => bridge.state === 'joined';

labTest('a tap that is renamed under traffic is made anew under its name, and the link stays', async (t) => {
  const {office, stream, relinked} = await pair(t, 'rename-tap');
  const {router} = office.site;
  router.ip('link set ipop0 down', 'link set ipop0 name other0', 'link set other0 up');
  await until('a tap of that name in the bridge', MEND_MS, async () => {
    return (await router.runOk(['ip', '-o', 'link', 'show', 'master', 'br-lan'])).includes('ipop0');
  });
  await untilStatus(office, 'the bridge joined', MEND_MS, isJoined);
  await stream.answers(20, MEND_MS);
  t.not((await router.run(['ip', 'link', 'show', 'other0'])).code, 0, 'the renamed one is gone');
  t.false(relinked());
  t.is((await office.ipop('status')).code, 0);
});

labTest('a bridge that is renamed is missed by its name, keeps carrying, and is joined when it is back', async (t) => {
  const {office, stream, relinked} = await pair(t, 'rename-bridge');
  const {router} = office.site;
  const rename = (from: string, to: string): void =>
    router.ip(`link set ${from} down`, `link set ${from} name ${to}`, `link set ${to} up`);
  t.teardown(async () => {
    if ((await router.run(['ip', 'link', 'show', 'br-old'])).code === 0) rename('br-old', 'br-lan');
  });
  rename('br-lan', 'br-old');
  const {status} = await untilStatus(office, 'no bridge', MEND_MS, ({bridge}) => bridge.state === 'no-bridge');
  t.log(healthItem(status, 'no-bridge')?.text);
  t.regex(healthItem(status, 'no-bridge')?.text ?? '', /there is no interface 'br-lan': make the bridge, or correct/);
  await stream.answers(20, MEND_MS);
  // Another one of that name: ipop does not take its tap out of a bridge that somebody put it into.
  router.ip('link add br-lan type bridge');
  const other = await untilStatus(office, 'the other bridge', MEND_MS, ({bridge}) =>
    /br-old/.test(bridge.error?.text ?? ''),
  );
  t.log(healthItem(other.status, 'no-bridge')?.text);
  t.regex(healthItem(other.status, 'no-bridge')?.text ?? '', /'ipop0' is in 'br-old' already, not in 'br-lan'/);
  router.ip('link del br-lan');
  rename('br-old', 'br-lan');
  await untilStatus(office, 'the bridge joined', MEND_MS, isJoined);
  await stream.answers(20, MEND_MS);
  t.false(relinked());
});

labTest('a bridge that is deleted and made anew under traffic carries it again, three times over', async (t) => {
  const {office, stream, relinked} = await pair(t, 'anew');
  const {router, lanAddress, index} = office.site;
  for (let round = 0; round < 3; round++) {
    router.ip(
      'link del br-lan',
      'link add br-lan type bridge stp_state 0 forward_delay 0',
      'link set br-lan up',
      `addr add ${lanAddress}/24 dev br-lan`,
      `addr add fd50::${index}/64 dev br-lan nodad`,
      'link set h1 master br-lan',
    );
    await untilStatus(office, 'the bridge joined', MEND_MS, isJoined);
    await stream.answers(20, MEND_MS);
  }
  t.false(relinked());
  t.is((await office.ipop('status')).code, 0);
});
