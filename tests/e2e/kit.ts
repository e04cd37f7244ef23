// SPDX-License-Identifier: MIT
// What the end-to-end tests share: a lab for each file, its logs kept when a test fails, questions to all nodes at once.

import {cpSync, mkdirSync, rmSync} from 'node:fs';
import {basename, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import test, {type ExecutionContext, type Implementation} from 'ava';
import type {HealthItem, NetworkStatus, PeerStatus, Status} from '../../src/status/types.ts';
import {CAPTURES, Recorder, SIGNALS} from '../lab/capture.ts';
import type {IpopNode} from '../lab/ipopd.ts';
import {Lab, whyNot} from '../lab/lab.ts';
import type {Netns} from '../lab/netns.ts';
import type {SiteOptions} from '../lab/site.ts';
import {until} from '../lab/wait.ts';
import {World} from '../lab/world.ts';

/** From start to all links up, on two slow cores that run another test file too. */
export const LINKS_MS = 45_000;
/** What the nodes themselves promise after a fault is over, in ms; a busy machine gets half as much again on top. */
export const RETURN_MS = 15_000;

/** Office and boat can meet directly. */
export const TWO_SITES: readonly SiteOptions[] = [
  {name: 'office', index: 1, nat: 'port-restricted', hosts: 1},
  {name: 'boat', index: 3, nat: 'port-restricted', hosts: 1},
];

const obstacle = whyNot();
if (obstacle !== undefined && process.env['CI'] !== undefined) throw new Error(obstacle);
if (obstacle !== undefined) console.log(`skipped: ${obstacle}`);

/** Declares a test that runs alone; skipped, visibly, where no lab can be. */
export function labTest(title: string, body: Implementation<[]>): void {
  (obstacle === undefined ? test.serial : test.serial.skip)(title, body);
}

/**
 * What is recorded of every world, as point=filter for tcpdump; point is namespace:device. IPOP_CAPTURE adds points with all that crosses them:
 * `IPOP_CAPTURE=office:br-lan,boat-h1:eth0`. Namespaces: internet, server, a site (its router), site-h1 and so on (hosts).
 */
const ALWAYS: readonly (readonly [point: string, filter: string])[] = [['internet:any', SIGNALS]];

/**
 * A world for all tests of the calling file. Ask for it inside tests. After a failed test its logs and packet captures are in
 * artifacts/<file>/<title>.
 */
export function worldOf(file: string, plan: readonly SiteOptions[]): () => World {
  let world: World | undefined;
  let lab: Lab | undefined;
  let recorders: readonly Recorder[] = [];
  const artifacts = fileURLToPath(new URL(`../../artifacts/${basename(file, '.test.ts')}`, import.meta.url));
  test.before(async () => {
    rmSync(artifacts, {recursive: true, force: true});
    if (obstacle !== undefined) return;
    lab = Lab.open();
    try {
      world = await World.build(lab, plan);
      recorders = await record(world);
    } catch (error) {
      await keep(lab, recorders, join(artifacts, 'build'));
      throw error;
    }
  });
  test.afterEach.always(async (t) => {
    if (t.passed || lab === undefined) return;
    const title = t.title.replace(/^afterEach\.always hook for /, '');
    const folder = join(artifacts, title.replace(/[^\w]+/g, '-').slice(-60));
    await keep(lab, recorders, folder);
    t.log(`logs and packet captures are in ${folder}`);
  });
  test.after.always(() => lab?.close());
  return () => {
    if (world === undefined) throw new Error('The lab is only there inside tests.');
    return world;
  };
}

/** Copies what programs wrote and what was captured to a folder. */
async function keep(lab: Lab, recorders: readonly Recorder[], folder: string): Promise<void> {
  mkdirSync(folder, {recursive: true});
  // Captures that a test makes for itself, too.
  for (const source of [lab.logDir, lab.folder(CAPTURES)]) cpSync(source, folder, {recursive: true});
  await Promise.all(recorders.map((recorder) => recorder.save(folder)));
}

async function record(world: World): Promise<Recorder[]> {
  const asked = (process.env['IPOP_CAPTURE'] ?? '').split(',').filter(Boolean);
  const points = [...ALWAYS, ...asked.map((point) => [point, ''] as const)];
  return await Promise.all(points.map(([point, filter]) => recorderAt(world, point, filter)));
}

async function recorderAt(world: World, point: string, filter: string): Promise<Recorder> {
  const {internet, sites} = world;
  const inside = sites.flatMap((site) => [site.router, ...site.hosts.map((host) => host.ns)]);
  const [label, device = 'any'] = point.split(':');
  const ns: Netns | undefined = [internet.ns, internet.server, ...inside].find((one) => one.label === label);
  if (ns === undefined) throw new Error(`IPOP_CAPTURE: this lab has no namespace '${label}' (of '${point}').`);
  return await Recorder.start(ns, device, filter);
}

/** Starts nodes and waits until each has a link to every other. */
export async function startAll(nodes: readonly IpopNode[], timeoutMs = LINKS_MS): Promise<void> {
  for (const node of nodes) node.start();
  await allLinked(nodes, timeoutMs);
}

/** Waits until each node has a link to every other. */
export async function allLinked(nodes: readonly IpopNode[], timeoutMs = LINKS_MS): Promise<void> {
  await Promise.all(nodes.map((node) => node.waitLinks(nodes.length - 1, timeoutMs)));
}

/** Sees to it that these nodes end with the test, so that the next can use their sites. */
export function endWith<T extends readonly IpopNode[]>(t: ExecutionContext, nodes: T): T {
  t.teardown(() => Promise.all(nodes.filter((node) => node.isStarted).map((node) => node.kill())));
  return nodes;
}

/** A node's first network. Throws when the node does not answer. */
export async function networkOf(node: IpopNode): Promise<NetworkStatus> {
  const network = (await node.status())?.networks[0];
  if (network === undefined) throw new Error(`ipopd of ${node.name} does not answer`);
  return network;
}

/** Waits until a node's network is as wanted, and returns the whole status then. */
export async function untilStatus(
  node: IpopNode,
  what: string,
  timeoutMs: number,
  wanted: (network: NetworkStatus, status: Status) => boolean,
): Promise<{network: NetworkStatus; status: Status}> {
  let last: NetworkStatus | undefined;
  try {
    return await until(
      `${node.name}: ${what}`,
      timeoutMs,
      async () => {
        const status = await node.status();
        last = status?.networks[0];
        return status && last && wanted(last, status) ? {network: last, status} : undefined;
      },
      100,
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${JSON.stringify(last, undefined, 1)}`);
  }
}

/** The peer whose signed name this is. */
export function peerOf(network: NetworkStatus, name: string): PeerStatus | undefined {
  return network.peers.find((peer) => peer.name === name);
}

/** The problem of this code, if there is one. */
export function healthItem(status: Status, code: string): HealthItem | undefined {
  return status.health.find((item) => item.code === code);
}

/** How often the node's links came up since its log began. */
export function timesUp(node: IpopNode): number {
  return [...node.proc.log().matchAll(/-> up:/g)].length;
}
