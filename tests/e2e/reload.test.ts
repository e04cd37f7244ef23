// SPDX-License-Identifier: MIT
// A reload applies what differs. All the while a TCP stream runs through network `home`, which notices nothing.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            network home; two-lans.ts has the other
//                                       |
//                        server host (Prosody, coturn)

import type {PeerStatus} from '../../src/status/types.ts';
import type {ExecutionContext} from 'ava';
import type {IpopNode, NetworkOptions} from '../lab/ipopd.ts';
import {ping} from '../lab/tools.ts';
import {until} from '../lab/wait.ts';
import {healthItem, labTest, LINKS_MS, TWO_SITES, worldOf} from './kit.ts';
import {startTicks} from './ticks.ts';
import {bothNetworks, isLinked, peerIn, startBoth, type TwoLans, untilNetwork, untilWorkWorks} from './two-lans.ts';

const EXIT_CONFIG = 78;
/** A busy machine's hiccups; a link that was made anew takes longer. */
const MAX_GAP_MS = 1_000;
const SOON_MS = 10_000;
/** Goodbyes take 2 s at most. */
const GONE_MS = 4_000;
const DEN = 'den@conference.example.org';

const world = worldOf(import.meta.filename, TWO_SITES);

/** Writes the options and reloads: what `ipop reload` printed. */
async function reload(t: ExecutionContext, node: IpopNode, change: Change = {}): Promise<string[]> {
  const options = bothNetworks(world(), node.name as 'office' | 'boat');
  const {work, ...rest} = change;
  node.configure({...options, ...rest, more: work === null ? [] : [{...options.more[0], ...work}]});
  const {code, stdout, stderr} = await node.ipop('reload');
  t.is(code, 0, stderr);
  return stdout.trimEnd().split('\n');
}

/** Of network home, of `main`, and of network work (null: none). */
type Change = Partial<NetworkOptions> & {main?: Record<string, string>; work?: Partial<NetworkOptions> | null};

/** How often a network's session logged in, or its link came up, by the node's log. */
function times(node: IpopNode, pattern: RegExp): number {
  return [...node.proc.log().matchAll(pattern)].length;
}

/** A peer's path, without what is measured of it from second to second. */
function withoutLoss({path}: PeerStatus): object {
  return {...path, lossPermille: undefined};
}

labTest('what a reload does not change does not blink', async (t) => {
  const lans = await startBoth(t, world());
  const {office, boat} = lans;
  // Express comes a second after the link: what it does to the path is not the reload's doing.
  for (const node of [office, boat]) {
    await untilNetwork(node, 'home', 'by express, datagrams at full size', SOON_MS, (now) =>
      (now?.peers ?? []).every(({path}) => path?.carriage === 'express' && path.datagramBytes === 1472),
    );
  }
  const before = await Promise.all([peerIn(office, 'home'), peerIn(boat, 'home')]);
  const logins = [office, boat].map((node) => times(node, /home xmpp: logged in/g));
  const stream = await startTicks(world().site('office').hosts[0]!, world().site('boat').hosts[0]!);

  await t.notThrowsAsync(changeWork(t, lans));
  await refuseWrong(t, lans);

  const {sent, received, gapMs} = await stream.stop();
  t.log(`${sent} ticks, longest gap ${gapMs} ms`);
  t.is(received, sent);
  t.true(sent > 200);
  t.true(gapMs < MAX_GAP_MS, `${gapMs} ms without an answer`);
  const after = await Promise.all([peerIn(office, 'home'), peerIn(boat, 'home')]);
  after.forEach((peer, i) => {
    const old = before[i]!;
    t.is(peer.state, 'up');
    t.deepEqual(withoutLoss(peer), withoutLoss(old));
    t.true(peer.sinceSec >= old.sinceSec, 'up since then');
    // TCP puts ticks together after a hiccup: fewer frames than ticks.
    t.true(peer.traffic.rxFrames >= old.traffic.rxFrames + sent / 2, 'the counters went on');
    t.true(peer.traffic.txFrames >= old.traffic.txFrames + sent / 2);
  });
  t.deepEqual(
    [office, boat].map((node) => times(node, /home xmpp: logged in/g)),
    logins,
  );
  for (const node of [office, boat]) t.is(times(node, /home link: .*-> up:/g), 1);
});

/** Everything that can change about network work, and about the node. */
async function changeWork(t: ExecutionContext, {office, boat, work}: TwoLans): Promise<void> {
  t.deepEqual(await reload(t, office), ['nothing changed']);
  await untilWorkWorks(work);

  const servers = {stun: [], turn: []};
  t.deepEqual(await reload(t, office, {...servers, main: {log_level: 'info', name: 'desk'}}), [
    "network 'home': stun, turn or carriage: used from the next link try on",
    'log_level: info',
    'name: desk; peers learn it with the next link',
  ]);
  t.is((await office.status())?.node.name, 'desk');
  t.is((await reload(t, office)).length, 3, 'and back');

  const since = (await peerIn(office, 'work')).sinceSec;
  t.deepEqual(await reload(t, office, {work: {options: {bridge: 'none', tap: 'ipop7'}}}), [
    "network 'work': bridge, tap or mtu: the tap is made anew, links stay",
  ]);
  await untilNetwork(office, 'work', 'its tap moved', SOON_MS, (now) => now?.bridge.state === 'unbridged');
  t.is((await ping(work.office.ns, work.boat.address)).received, 0);
  await office.site.router.runOk(['ip', 'link', 'show', 'ipop7']);
  await reload(t, office);
  await untilNetwork(office, 'work', 'its tap is back', SOON_MS, (now) => now?.bridge.state === 'joined');
  await untilWorkWorks(work);
  t.true((await peerIn(office, 'work')).sinceSec >= since, 'the link stayed');

  t.deepEqual(await reload(t, office, {work: null}), ["network 'work': removed"]);
  await untilNetwork(office, 'work', 'gone', SOON_MS, (now) => now === undefined);
  await untilNetwork(boat, 'work', 'told so', SOON_MS, (now) => !isLinked(now));
  // It goes with the last goodbye: some servers take a moment to answer theirs.
  const ip = ['ip', 'link', 'show', 'ipop1'];
  await until('tap ipop1 to be gone', GONE_MS, async () => (await office.site.router.run(ip)).code !== 0);
  office.configure(bothNetworks(world(), 'office'));
  office.proc.signal('SIGHUP');
  await untilNetwork(office, 'work', 'linked again after SIGHUP', LINKS_MS, isLinked);

  await changeMembers(t, office, boat);
  await changeRoom(t, office, boat);
  await untilWorkWorks(work);
}

/** Another account is no member; its owner makes it one, in the session it has. */
async function changeMembers(t: ExecutionContext, office: IpopNode, boat: IpopNode): Promise<void> {
  const jid = world().xmpp.addAccount('office-new', 'secret');
  const logins = times(boat, /work xmpp: logged in/g);
  t.deepEqual(await reload(t, office, {work: {jid}}), ["network 'work': account: logs in anew, links stay"]);
  const waits = (state: string) => untilNetwork(office, 'work', state, SOON_MS, (now) => now?.xmpp.state === state);
  t.true(isLinked(await waits('waiting')));
  const members = ['office-work@example.org', jid];
  t.deepEqual(await reload(t, boat, {work: {members}}), ["network 'work': member: 1 added"]);
  t.true(isLinked(await waits('online')));
  t.is(times(boat, /work xmpp: logged in/g), logins);
}

async function changeRoom(t: ExecutionContext, office: IpopNode, boat: IpopNode): Promise<void> {
  const moved = await reload(t, boat, {work: {room: DEN}});
  t.deepEqual(moved.slice(0, 1), ["network 'work': room: links of the old room are closed, the new room is entered"]);
  await untilNetwork(office, 'work', 'without its link', SOON_MS, (now) => !isLinked(now));
  await reload(t, office, {work: {room: DEN}});
  for (const node of [office, boat]) {
    const now = await untilNetwork(node, 'work', 'linked in the other room', LINKS_MS, isLinked);
    t.is(now?.xmpp.room, DEN);
  }
}

/** A wrong file: told with exit code, line, log and health until it is mended, and nothing changes. */
async function refuseWrong(t: ExecutionContext, {office}: TwoLans): Promise<void> {
  const good = {work: {room: DEN}};
  const options = bothNetworks(world(), 'office');
  const networks = (await office.status())?.networks.map(({network}) => network);
  office.configure({...options, main: {log_level: 'loud'}, more: []});
  const {code, stdout, stderr} = await office.ipop('reload');
  t.log(stderr.trim());
  t.deepEqual([code, stdout], [EXIT_CONFIG, '']);
  t.regex(stderr, /office\/ipop:\d+: .*log_level 'loud'.*debug, info/);
  t.regex(office.proc.log(), /error: config: .*office\/ipop:\d+: .*log_level 'loud'/);
  const status = (await office.status())!;
  t.regex(healthItem(status, 'config-wrong')?.text ?? '', /log_level 'loud'/);
  t.deepEqual(
    status.networks.map(({network}) => network),
    networks,
    'the missing network still runs',
  );
  t.is((await office.ipop('status')).code, 2);
  t.deepEqual(await reload(t, office, good), ['nothing changed']);
  t.is(healthItem((await office.status())!, 'config-wrong'), undefined);
}

labTest('a reload that disables ipop ends it as a start would, with its goodbyes', async (t) => {
  const {office, boat} = await startBoth(t, world());
  t.deepEqual(await reload(t, office, {main: {enabled: '0'}}), ["ipop is disabled in section 'main': ipopd stops"]);
  t.is(await office.proc.waitEnd(5_000), 'exit 0');
  await untilNetwork(boat, 'home', 'told so', SOON_MS, (now) => !isLinked(now));
});
