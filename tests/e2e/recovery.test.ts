// SPDX-License-Identifier: MIT
// Losing a path, a peer, the XMPP server or the relay: how soon it is noticed, what is forgotten, how soon all is back.
//
//   server host (Prosody, coturn) -- [ internet ] --+-- [ office ] masquerade -- h1, h2            office = boat: direct
//                                                   +-- [ cabin ] symmetric -- h1, h2              cabin = office, cabin = boat: relay
//                                                   +-- [ carrier ] masquerade -- [ boat ] masquerade -- h1, h2

import test, {type ExecutionContext} from 'ava';
import {until} from '../lab/wait.ts';
import {THREE_SITES} from '../lab/world.ts';
import {LINKS_MS, labTest, worldOf} from './kit.ts';
import {EndlessPing, type End, Mesh, pair, passed, sec} from './mesh.ts';

/** A lost path is noticed within this, with traffic and without. */
const NOTICED_MS = 15_000;
const NOTICED_IDLE_MS = 35_000;
/** Links are back within this after the path, or the peer, is. */
const BACK_MS = 10_000;
/** How late a busy machine may let us see it. */
const LATE_MS = 1_000;
/** The XMPP server's outage. */
const OUTAGE_MS = 60_000;

const world = worldOf(import.meta.url, THREE_SITES);
let mesh: Mesh;

test.beforeEach(async () => {
  mesh ??= await Mesh.up(world());
  world().internet.healAll();
  await mesh.watcher.wait(mesh.ends(), true, LINKS_MS);
});
test.after.always(() => mesh?.close());

/** Waits until the end is down and judges when that was. Whatever a node knew of the peer's LAN is forgotten by then. */
async function noticed(t: ExecutionContext, end: End, cutAt: number, limitMs: number): Promise<number> {
  const at = await mesh.watcher.wait([end], false, limitMs + LATE_MS);
  const macs = await macsBehind(end.of, end.to);
  if (!mesh.watcher.isUp(end)) t.deepEqual(macs, [], `${end.of} still knows addresses behind ${end.to}`);
  t.log(`${end.of} noticed after ${sec(at - cutAt)}: ${mesh.watcher.peer(end)?.error?.text ?? '-'}`);
  t.true(at - cutAt <= limitMs + LATE_MS);
  return at - cutAt;
}

async function macsBehind(of: string, to: string): Promise<string[]> {
  return (await mesh.fdb(of)).filter((entry) => entry.port === to).map((entry) => entry.mac);
}

async function back(t: ExecutionContext, what: string, ends: readonly End[], healedAt: number): Promise<void> {
  const at = await mesh.watcher.wait(ends, true, BACK_MS + LATE_MS);
  t.log(`${what} back after ${sec(at - healedAt)}`);
  t.true(at - healedAt <= BACK_MS + LATE_MS);
}

/** Frames that the node sent to that peer. */
function sentTo(end: End): number {
  return mesh.watcher.peer(end)?.traffic.txFrames ?? 0;
}

labTest(
  'a site that is cut off is noticed within 15 s by traffic and 35 s without, and is back within 10 s',
  async (t) => {
    t.timeout(120_000);
    const {watcher} = mesh;
    const {internet} = world();
    const boat = world().site('boat');
    const ping = new EndlessPing(mesh.host('office'), mesh.host('boat'));
    // Once the path is cut, boat hears no more requests to answer: it sends because it has questions of its own.
    const reverse = new EndlessPing(mesh.host('boat'), mesh.host('office'));
    await Promise.all([ping, reverse].map((one) => one.after(performance.now(), 5_000)));
    t.true((await macsBehind('office', 'boat')).includes(mesh.host('boat').mac), 'what is to be forgotten is known');
    const cutAt = performance.now();
    internet.cutSite(boat.index);
    await Promise.all([
      noticed(t, {of: 'office', to: 'boat'}, cutAt, NOTICED_MS),
      noticed(t, {of: 'boat', to: 'office'}, cutAt, NOTICED_MS),
    ]);
    await Promise.all([
      noticed(t, {of: 'cabin', to: 'boat'}, cutAt, NOTICED_IDLE_MS),
      noticed(t, {of: 'boat', to: 'cabin'}, cutAt, NOTICED_IDLE_MS),
    ]);
    t.true(
      pair('office', 'cabin').every((end) => watcher.isUp(end)),
      'the other link is not touched',
    );
    const healedAt = performance.now();
    internet.healSite(boat.index);
    await Promise.all([
      back(t, 'the direct link', pair('office', 'boat'), healedAt),
      back(t, 'the relayed link', pair('cabin', 'boat'), healedAt),
      ping.after(healedAt, BACK_MS + LATE_MS).then((echo) => t.log(`first echo after ${sec(echo.at - healedAt)}`)),
    ]);
    t.is(watcher.peer({of: 'office', to: 'boat'})?.path?.kind, 'direct');
    t.is(watcher.peer({of: 'cabin', to: 'boat'})?.path?.kind, 'relay');
    await Promise.all([ping.stop(), reverse.stop()]);
  },
);

labTest(
  'a relayed link under traffic is lost within 15 s, its frames flood again, and it is back within 10 s',
  async (t) => {
    t.timeout(90_000);
    const {internet} = world();
    const [lost, other] = [
      {of: 'office', to: 'cabin'},
      {of: 'office', to: 'boat'},
    ];
    const ping = new EndlessPing(mesh.host('office'), mesh.host('cabin'));
    const reverse = new EndlessPing(mesh.host('cabin'), mesh.host('office'));
    await Promise.all([ping, reverse].map((one) => one.after(performance.now(), 5_000)));
    const before = sentTo(other);
    const cutAt = performance.now();
    internet.cutSite(world().site('cabin').index);
    await Promise.all([
      noticed(t, lost, cutAt, NOTICED_MS),
      noticed(t, {of: 'cabin', to: 'office'}, cutAt, NOTICED_MS),
    ]);
    // One echo request each 100 ms: none of them went to boat while cabin's address was known, all do once it is forgotten.
    // (Other hosts' own traffic aside.)
    const known = sentTo(other) - before;
    t.true(known < 30, `${known} frames went to boat before the loss`);
    await until('echo requests to flood', 5_000, () => sentTo(other) - before - known >= 20);
    const healedAt = performance.now();
    internet.healSite(world().site('cabin').index);
    await Promise.all([
      back(t, 'the relayed links', mesh.ends('cabin'), healedAt),
      ping.after(healedAt, BACK_MS + LATE_MS).then((echo) => t.log(`first echo after ${sec(echo.at - healedAt)}`)),
    ]);
    await Promise.all([ping.stop(), reverse.stop()]);
  },
);

labTest('a direct pair whose path is cut goes by the relay within 25 s, lost in between or not', async (t) => {
  t.timeout(60_000);
  const {watcher} = mesh;
  const {internet} = world();
  const [office, boat] = [world().site('office'), world().site('boat')];
  const ping = new EndlessPing(mesh.host('office'), mesh.host('boat'));
  await ping.after(performance.now(), 5_000);
  const cutAt = performance.now();
  internet.cutPair(office.publicAddress, boat.publicAddress);
  const limit = NOTICED_MS + BACK_MS + LATE_MS;
  // A link that is silent looks for another path, and mostly moves before it counts as lost.
  const relayed = (end: End): boolean => watcher.isUp(end) && watcher.peer(end)?.path?.kind === 'relay';
  await until('both ends by the relay', limit, () => pair('office', 'boat').every(relayed));
  const {at} = await ping.after(performance.now(), BACK_MS + LATE_MS);
  t.log(`first echo by the relay after ${sec(at - cutAt)}, longest gap ${sec(ping.longestGapMs(cutAt))}`);
  t.true(at - cutAt <= limit);
  internet.healPair(office.publicAddress, boat.publicAddress);
  await ping.stop();
});

labTest('a node that was killed is back within 10 s of its return', async (t) => {
  t.timeout(60_000);
  const ping = new EndlessPing(mesh.host('office'), mesh.host('boat'));
  const boat = mesh.node('boat');
  await boat.kill();
  await mesh.watcher.wait([{of: 'boat', to: 'office'}], false, 5_000);
  const startedAt = performance.now();
  boat.start();
  await Promise.all([
    back(t, 'all its links', mesh.ends('boat'), startedAt),
    ping.after(startedAt, BACK_MS + LATE_MS).then((echo) => t.log(`first echo after ${sec(echo.at - startedAt)}`)),
  ]);
  t.is(mesh.watcher.peer({of: 'office', to: 'boat'})?.path?.kind, 'direct');
  await ping.stop();
});

labTest('a relay that restarts costs relayed links no more than noticing, and 10 s', async (t) => {
  t.timeout(120_000);
  const {turn} = world();
  const pings = ['office', 'boat'].map((name) => new EndlessPing(mesh.host(name), mesh.host('cabin')));
  await Promise.all(pings.map((ping) => ping.after(performance.now(), 5_000)));
  const stoppedAt = performance.now();
  await turn.stop();
  await turn.start();
  const startedAt = performance.now();
  // Lost and made anew, or moved before that: what counts is when frames cross again.
  const limit = NOTICED_MS + BACK_MS + LATE_MS;
  const echoes = await Promise.all(pings.map((ping) => ping.after(startedAt, limit)));
  t.log(`first echoes ${echoes.map((echo) => sec(echo.at - startedAt)).join(', ')} after the relay's return`);
  t.true(echoes.every((echo) => echo.at - stoppedAt <= limit));
  await mesh.watcher.wait(mesh.ends('cabin'), true, BACK_MS);
  await Promise.all(pings.map((ping) => ping.stop()));
});

labTest('links survive 60 s without the XMPP server, and nodes log in again within 10 s of its return', async (t) => {
  t.timeout(150_000);
  const {watcher} = mesh;
  const {xmpp} = world();
  const before = mesh.ends().map((end) => watcher.since(end));
  const pings = [
    new EndlessPing(mesh.host('office'), mesh.host('boat')),
    new EndlessPing(mesh.host('office', 2), mesh.host('cabin')),
  ];
  for (const ping of pings) await ping.after(performance.now(), 5_000);
  const killedAt = performance.now();
  await xmpp.proc.kill();
  await passed(OUTAGE_MS);
  const returnedAt = performance.now();
  await xmpp.start();
  const names = mesh.nodes.map((node) => node.name);
  await until('all nodes to log in', BACK_MS + LATE_MS, () => names.every((name) => watcher.xmpp(name) === 'online'));
  t.log(`all logged in ${sec(performance.now() - returnedAt)} after the server's return`);
  for (const ping of pings) {
    const gap = ping.longestGapMs(killedAt);
    t.log(`longest gap between echoes ${sec(gap)}`);
    t.true(gap < 2_000);
    await ping.stop();
  }
  t.deepEqual(
    mesh.ends().map((end) => watcher.since(end)),
    before,
    'every link is the one it was',
  );
});
