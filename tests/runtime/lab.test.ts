// SPDX-License-Identifier: MIT
// One site on stock txiki.js, two on ipopd: the three find each other, and nobody sees a difference.
//
//   office (txiki.js) -- boat (ipopd): direct          office, boat -- cabin (ipopd): through the relay

import {setTimeout as sleep} from 'node:timers/promises';
import type {Status} from '../../src/status/types.ts';
import {run} from '../lab/exec.ts';
import {BUNDLE, groupOf, IpopNode} from '../lab/ipopd.ts';
import {iperf3, ping} from '../lab/tools.ts';
import {THREE_SITES} from '../lab/world.ts';
import {allLinked, labTest, networkOf, peerOf, timesUp, untilStatus, worldOf} from '../e2e/kit.ts';
import {TJS} from './prepare.ts';

/** The npm binary is built without optimisation and does five to ten times the work. */
const LINKS_MS = 90_000;
const STOP_MS = 5_000;
const IDLE_SEC = 5;

const world = worldOf(import.meta.filename, THREE_SITES);
let nodes: readonly IpopNode[] = [];

function node(name: string): IpopNode {
  return nodes.find((candidate) => candidate.name === name)!;
}

labTest('a site on txiki.js and two on ipopd find each other and every two have a link', async (t) => {
  nodes = groupOf(world()).map((one) => {
    if (one.name !== 'office') return one;
    return new IpopNode(world(), one.site, {...one.options, runtime: 'txiki'});
  });
  const start = performance.now();
  for (const one of nodes) one.start();
  await allLinked(nodes, LINKS_MS);
  t.log(`all links up after ${((performance.now() - start) / 1000).toFixed(1)} s`);
  for (const one of nodes) {
    const others = nodes.filter((other) => other !== one).map(({name}) => name);
    const {network} = await untilStatus(one, 'names of both peers', 10_000, ({peers}) =>
      peers.every(({name}) => name !== ''),
    );
    t.deepEqual(network.peers.map(({name}) => name).sort(), others.sort());
    t.is(network.bridge.state, 'joined');
  }
  t.is(peerOf(await networkOf(node('office')), 'boat')?.path?.kind, 'direct');
  t.is(peerOf(await networkOf(node('office')), 'cabin')?.path?.kind, 'relay');
});

labTest('hosts of all sites reach each other, both families, with full-size packets and a TCP stream', async (t) => {
  const all = world().sites.map((site) => site.hosts[0]!);
  for (const from of all) {
    for (const to of all.filter((other) => other !== from)) {
      t.true((await ping(from.ns, to.address)).received > 0, `${from.name} to ${to.name}`);
      t.true((await ping(from.ns, to.address6)).received > 0, `${from.name} to ${to.name}, IPv6`);
      t.true((await ping(from.ns, to.address, {size: 1472})).received > 0, `${from.name} to ${to.name}, 1500 bytes`);
    }
  }
  const [office, boat] = [world().site('office').hosts[0]!, world().site('boat').hosts[0]!];
  const {mbps} = await iperf3(office.ns, boat.ns, boat.address, 3);
  t.log(`${mbps.toFixed(0)} Mbit/s from txiki.js's site: frames never enter JavaScript`);
  t.true(mbps > 1);
});

labTest('status has the same shape on both runtimes, by either command line', async (t) => {
  const [office, boat] = await Promise.all([node('office'), node('boat')].map((one) => one.status()));
  t.deepEqual(shapeOf(office), shapeOf(boat));
  for (const one of [node('office'), node('boat')]) {
    const words = ['--socket', one.socket, 'status'];
    const theirs = await run([TJS, 'run', BUNDLE, ...words]);
    const ours = await one.ipop('status');
    t.is(theirs.code, ours.code, theirs.stderr);
    t.is(ours.code, 0);
    t.is(wordsOf(theirs.stdout), wordsOf(ours.stdout));
    const json = await run([TJS, 'run', BUNDLE, ...words, '--json']);
    t.deepEqual(shapeOf(JSON.parse(json.stdout) as Status), shapeOf(await one.status()));
  }
});

labTest('memory, processor time, threads and descriptors are of the same order', async (t) => {
  const before = nodes.map((one) => one.usage());
  await sleep(IDLE_SEC * 1000); // the span that is measured
  for (const [i, one] of nodes.entries()) {
    const {rssKb, cpuMs, threads, descriptors} = one.usage();
    const percent = (cpuMs - before[i]!.cpuMs) / (IDLE_SEC * 10);
    t.log(`${one.name}: ${rssKb} KB, ${percent.toFixed(1)} % CPU, ${threads} threads, ${descriptors} descriptors`);
    t.true(rssKb < 60 * 1024, `${one.name}: ${rssKb} KB`);
    t.true(percent < 5, `${one.name}: ${percent} %`);
  }
});

labTest('nothing was thrown and not caught, and no link had to be made twice', (t) => {
  for (const one of nodes) {
    t.notRegex(one.proc.log(), /uncaught|cannot start|console /, one.name);
    t.is(timesUp(one), 2, one.name);
  }
});

labTest('SIGTERM ends it within 5 s with a good-bye, its tap is gone, and it can start again', async (t) => {
  const office = node('office');
  const start = performance.now();
  await office.stop();
  const elapsed = performance.now() - start;
  t.is(office.proc.ended, 'exit 0');
  t.true(elapsed < STOP_MS, `${elapsed} ms`);
  t.log(`ended after ${elapsed.toFixed(0)} ms`);
  t.notRegex(await office.site.router.runOk(['ip', '-br', 'link', 'show']), /ipop0/);
  for (const other of [node('cabin'), node('boat')]) {
    await untilStatus(other, 'office is gone', 10_000, (now) => peerOf(now, 'office')?.present === false);
  }
  office.start();
  await allLinked(nodes, LINKS_MS);
  t.true((await ping(world().site('office').hosts[0]!.ns, world().site('cabin').hosts[0]!.address)).received > 0);
});

labTest('kill -9 leaves no tap either', async (t) => {
  await node('office').kill();
  t.notRegex(await node('office').site.router.runOk(['ip', '-br', 'link', 'show']), /ipop0/);
});

/** What a path has only with express, or once something was measured. */
const OF_THE_MOMENT = ['cipher', 'datagramBytes', 'lossPermille'];

/** Every name in it with the kind of its value; of an array the first entry's, since numbers of entries may differ, as may the names of drops. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.length === 0 ? 'array' : ['array', shapeOf(value[0])];
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  const entries = Object.entries(value)
    .filter(([name]) => !OF_THE_MOMENT.includes(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, inner]) => [name, name === 'drops' ? typeof inner : shapeOf(inner)]));
}

/** The words of a status text, without its numbers, which go on. */
function wordsOf(text: string): string {
  return text.replace(/\d+(\.\d+)?( ?[kKMG]?i?B| [a-z]+)?/g, '#').replace(/ +/g, ' ');
}
