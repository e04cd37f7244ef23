// SPDX-License-Identifier: MIT
// Links move to another path while they are up: make before break, so a TCP stream through them lives on.

import type {ExecutionContext} from 'ava';
import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import type {SiteOptions} from '../lab/site.ts';
import {until} from '../lab/wait.ts';
import {allLinked, endWith, labTest, networkOf, startAll, timesUp, untilStatus, worldOf} from './kit.ts';
import {passed} from './mesh.ts';
import {startTicks} from './ticks.ts';

/** Office lets in UDP that it did not ask for, so it sees the others' new addresses; boat's NAT is a carrier's, of which it knows nothing. */
const SITES: readonly SiteOptions[] = [
  {name: 'office', index: 1, nat: 'full-cone', hosts: 1},
  {name: 'cabin', index: 2, nat: 'port-restricted', hosts: 1},
  {name: 'boat', index: 3, nat: 'port-restricted', carrier: 'port-restricted', hosts: 1},
];
/** A link whose ICE has lost its path ends so much later. */
const CONSENT_MS = 30_000;
const DIRECT_MS = 40_000;
/** Its last check goes out 7.5 s after the answer. */
const ICE_MS = 15_000;
/** What a machine that runs other tests takes in addition. */
const BUSY_MS = 10_000;

const world = worldOf(import.meta.filename, SITES);

/** How the link to another site goes, by what a node says. */
async function pathTo(node: IpopNode, site: string): Promise<{kind: string; remote: string} | undefined> {
  return (await networkOf(node)).peers.find((peer) => peer.name === site)?.path;
}

/** What its process of now has logged; one of an earlier test shares the file. */
function logOf(node: IpopNode): string {
  const log = node.proc.log();
  return log.slice(Math.max(0, log.lastIndexOf('daemon: ipop ')));
}

function movedLines(node: IpopNode): string[] {
  const lines = logOf(node).split('\n');
  return lines.filter((line) => line.includes('moved to a new path'));
}

async function start(t: ExecutionContext): Promise<IpopNode[]> {
  const nodes = endWith(t, groupOf(world()));
  await startAll(nodes);
  return nodes;
}

/** Both ends say that their link leads to the other's address of now. */
async function untilAtNewAddress(
  nodes: readonly IpopNode[],
  from: IpopNode,
  to: IpopNode,
  withinMs: number,
): Promise<void> {
  const {publicAddress} = world().site(to.name);
  await untilStatus(from, `its link leads to ${publicAddress}`, withinMs, (network) => {
    const peer = network.peers.find((one) => one.name === to.name);
    return peer?.state === 'up' && peer.path?.remote.startsWith(`${publicAddress}:`) === true;
  });
  await allLinked(nodes, withinMs);
}

labTest(
  'a TCP stream survives a new WAN address of its router, by a new link before ICE would have lost the old one',
  async (t) => {
    const nodes = await start(t);
    const [office, cabin] = nodes as [IpopNode, IpopNode];
    const site = world().site('cabin');
    const ticks = await startTicks(world().site('office').hosts[0]!, site.hosts[0]!, 7771);
    await passed(6_000);
    const at = performance.now();
    site.readdress(world().internet);
    await untilAtNewAddress(nodes, office, cabin, CONSENT_MS + BUSY_MS);
    const tookMs = performance.now() - at;
    await passed(60_000);
    await untilAtNewAddress(nodes, office, cabin, 1_000);
    const {sent, received, gapMs} = await ticks.stop();
    t.log(
      `new link after ${Math.round(tookMs)} ms; ${sent} ticks, longest gap ${gapMs} ms`,
      movedLines(office),
      movedLines(cabin),
    );
    t.is(received, sent);
    t.true(tookMs < CONSENT_MS);
    t.regex(logOf(cabin), /moving to a new path: this node has a new address/);
  },
);

labTest('a peer whose NAT gave it another address is followed at once, and gets a link that lasts', async (t) => {
  const nodes = await start(t);
  const [office, , boat] = nodes as [IpopNode, IpopNode, IpopNode];
  const ticks = await startTicks(world().site('office').hosts[0]!, world().site('boat').hosts[0]!, 7772);
  await until(
    'express',
    30_000,
    async () => (await networkOf(boat)).peers.find((peer) => peer.name === 'office')?.path?.carriage === 'express',
  );
  await passed(6_000);
  const at = performance.now();
  world().site('boat').readdress(world().internet);
  await untilAtNewAddress(nodes, office, boat, CONSENT_MS + BUSY_MS);
  const tookMs = performance.now() - at;
  await passed(60_000);
  await untilAtNewAddress(nodes, office, boat, 1_000);
  const {sent, received, gapMs} = await ticks.stop();
  t.log(
    `new link after ${Math.round(tookMs)} ms; ${sent} ticks, longest gap ${gapMs} ms`,
    movedLines(office),
    movedLines(boat),
  );
  t.is(received, sent);
  t.true(tookMs < CONSENT_MS);
  t.regex(logOf(office) + logOf(boat), /the peer's datagrams come from|the peer sees this node at/);
});

labTest(
  'a link by a relay becomes direct within 40 s once the direct path is free, and a TCP stream notices nothing',
  async (t) => {
    const {internet} = world();
    const [from, to] = [world().site('office'), world().site('cabin')];
    internet.cutPair(from.publicAddress, to.publicAddress);
    t.teardown(() => internet.healPair(from.publicAddress, to.publicAddress));
    const [office, cabin] = (await start(t)) as [IpopNode, IpopNode];
    t.is((await pathTo(office, 'cabin'))?.kind, 'relay');
    const ticks = await startTicks(from.hosts[0]!, to.hosts[0]!, 7773);
    const upsBefore = timesUp(office);
    // ICE looks for a direct path itself while a link is young.
    await passed(ICE_MS);
    t.is((await pathTo(office, 'cabin'))?.kind, 'relay');
    internet.healPair(from.publicAddress, to.publicAddress);
    const at = performance.now();
    for (const [node, other] of [
      [office, 'cabin'],
      [cabin, 'office'],
    ] as const) {
      await untilStatus(node, `a direct link to ${other}`, DIRECT_MS + BUSY_MS, (network) => {
        return network.peers.find((peer) => peer.name === other)?.path?.kind === 'direct';
      });
    }
    const tookMs = performance.now() - at;
    await passed(8_000);
    const {sent, received, gapMs} = await ticks.stop();
    t.log(
      `direct after ${Math.round(tookMs)} ms; ${sent} ticks, longest gap ${gapMs} ms`,
      movedLines(office),
      movedLines(cabin),
    );
    t.is(received, sent);
    t.true(tookMs < DIRECT_MS);
    t.true(gapMs < 1_000, `${gapMs} ms without an answer`);
    t.is(timesUp(office), upsBefore, 'no link was lost');
    t.regex(movedLines(office).at(-1) ?? '', /a direct path is wanted|the peer asked for it/);
  },
);
