// SPDX-License-Identifier: MIT
// Faults of the LAN side: the tap or the bridge is missing, goes, or comes back. The node says what is missing and goes on by itself.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            the fault: tap and br-lan of office
//                                       |
//                        server host (Prosody, coturn)

import type {NetworkStatus} from '../../src/status/types.ts';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import {ping} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import {endWith, healthItem, labTest, peerOf, startAll, timesUp, TWO_SITES, untilStatus, worldOf} from './kit.ts';

/** A missing device is looked for every 10 s, and when the kernel tells of a change. */
const REPAIR_MS = 12_000;
const SAY_MS = 3_000;

const world = worldOf(import.meta.filename, TWO_SITES);

function group(t: Parameters<typeof endWith>[0], room: string): readonly [IpopNode, IpopNode] {
  return endWith(t, groupOf(world(), `${room}@conference.example.org`)) as unknown as readonly [IpopNode, IpopNode];
}

function isJoined({bridge}: NetworkStatus): boolean {
  return bridge.state === 'joined';
}

/** Waits until the hosts of both sites reach each other. */
async function reach(timeoutMs: number): Promise<void> {
  const [a, b] = ['office', 'boat'].map((name) => world().site(name).hosts[0]!);
  await until('a ping from office to boat', timeoutMs, async () => {
    return (await ping(a!.ns, b!.address, {count: 1})).received === 1;
  });
}

labTest('a tap that somebody deletes is made anew by itself, and the link stays', async (t) => {
  const nodes = group(t, 'tap');
  await startAll(nodes);
  await reach(5_000);
  const [office] = nodes;
  const ups = timesUp(office);
  const {router} = office.site;
  const index = async (): Promise<string> =>
    /^(\d+): ipop0/.exec(await router.runOk(['ip', '-o', 'link', 'show', 'ipop0']))?.[1] ?? '';
  const before = await index();
  router.ip('link del ipop0');
  await until('another tap', REPAIR_MS, async () => (await index()) !== before);
  await untilStatus(office, 'the bridge joined', REPAIR_MS, isJoined);
  await reach(REPAIR_MS);
  t.is(timesUp(office), ups, 'no link was made anew');
  t.is((await office.ipop('status')).code, 0);
});

labTest('a tap whose name another device has is told, and made as soon as the name is free', async (t) => {
  const nodes = group(t, 'taken');
  const [office] = nodes;
  const {router} = office.site;
  t.teardown(() => router.run(['ip', 'link', 'del', 'other0']));
  router.ip('link add ipop0 type veth peer name other0');
  await startAll(nodes);
  const {network, status} = await untilStatus(office, 'no tap', SAY_MS, ({bridge}) => bridge.state === 'no-tap');
  t.log(healthItem(status, 'no-tap')?.text);
  t.is(network.bridge.error?.code, 'no-tap');
  t.regex(healthItem(status, 'no-tap')?.text ?? '', /cannot make tap 'ipop0'.*name free/);
  const shown = await office.ipop('status');
  t.is(shown.code, 2, 'the link is up, the LAN is not');
  t.regex(shown.stdout, /tap ipop0 \(missing\)/);
  router.ip('link del other0');
  await untilStatus(office, 'the bridge joined', REPAIR_MS, isJoined);
  await reach(REPAIR_MS);
  t.is((await office.ipop('status')).code, 0);
});

labTest('a bridge that is missing at the start is told, and joined when it appears', async (t) => {
  const [plain, boat] = group(t, 'latebridge');
  const late = {...plain.options, options: {bridge: 'br-late'}};
  const [office] = endWith(t, [new IpopNode(world(), plain.site, late)] as const);
  const {router} = office.site;
  t.teardown(async () => {
    await router.run(['ip', 'link', 'set', 'h1', 'master', 'br-lan']);
    await router.run(['ip', 'link', 'del', 'br-late']);
  });
  await startAll([office, boat]);
  const {network, status} = await untilStatus(office, 'no bridge', SAY_MS, ({bridge}) => bridge.state === 'no-bridge');
  t.log(healthItem(status, 'no-bridge')?.text);
  t.is(network.bridge.error?.code, 'no-bridge');
  t.regex(
    healthItem(status, 'no-bridge')?.text ?? '',
    /tap ipop0 is not in bridge br-late: .*make the bridge, or correct option bridge/,
  );
  t.is((await office.ipop('status')).code, 2);
  t.regex((await office.ipop('status')).stdout, /bridge br-late \(not joined\)/);
  router.ip('link add br-late type bridge', 'link set br-late up', 'link set h1 master br-late');
  await untilStatus(office, 'the bridge joined', REPAIR_MS, isJoined);
  await reach(REPAIR_MS);
  t.is((await office.ipop('status')).code, 0);
});

labTest(
  'a bridge that is deleted under the tap is told, joined again when it is made anew, and the link stays',
  async (t) => {
    const nodes = group(t, 'newbridge');
    const [office] = nodes;
    const {router, lanAddress, index} = office.site;
    await startAll(nodes);
    await reach(5_000);
    const ups = timesUp(office);
    const make = (): void =>
      router.ip(
        'link add br-lan type bridge stp_state 0 forward_delay 0',
        'link set br-lan up',
        `addr add ${lanAddress}/24 dev br-lan`,
        `addr add fd50::${index}/64 dev br-lan nodad`,
        'link set h1 master br-lan',
      );
    t.teardown(async () => {
      if ((await router.run(['ip', 'link', 'show', 'br-lan'])).code !== 0) make();
    });
    router.ip('link del br-lan');
    const {network, status} = await untilStatus(
      office,
      'no bridge',
      SAY_MS,
      ({bridge}) => bridge.state === 'no-bridge',
    );
    t.log(healthItem(status, 'no-bridge')?.text);
    t.is(peerOf(network, 'boat')?.state, 'up');
    make();
    await untilStatus(office, 'the bridge joined', REPAIR_MS, isJoined);
    await reach(REPAIR_MS);
    t.is(timesUp(office), ups, 'no link was made anew');
  },
);

labTest('a tap that somebody takes out of the bridge is put back', async (t) => {
  const nodes = group(t, 'out');
  const [office] = nodes;
  await startAll(nodes);
  await reach(5_000);
  office.site.router.ip('link set ipop0 nomaster');
  await until('the tap in the bridge again', REPAIR_MS, async () => {
    const ports = await office.site.router.runOk(['ip', '-o', 'link', 'show', 'master', 'br-lan']);
    return ports.includes('ipop0');
  });
  await reach(REPAIR_MS);
  t.is((await office.ipop('status')).code, 0);
});
