// SPDX-License-Identifier: MIT
// What ipopd takes of a router: memory after much traffic and with many links, CPU and wake-ups when there is nothing to do. See bench/footprint.

import {setTimeout as sleep} from 'node:timers/promises';
import {parseArgs} from 'node:util';
import {Lab, whyNot} from '../tests/lab/lab.ts';
import {pool, until} from '../tests/lab/wait.ts';
import {startSwarm, type SwarmNode, type ThreadUse} from './swarm.ts';

/** For every few nodes that come; the last of a mesh of 65 make 64 links each. */
const LINK_MS = 300_000;
/** After the last link is up: path MTU probes, ARP, and the last candidates have come to their end. */
const SETTLE_MS = 20_000;
const COUNTED_MS = 10_000;
/** Streams at once while traffic goes over all links. */
const AT_ONCE = 4;

const {values} = parseArgs({
  options: {
    gb: {type: 'string', default: '10'},
    links: {type: 'string', default: '64'},
    'links-mb': {type: 'string', default: '20'},
    idle: {type: 'string', default: '8'},
    seconds: {type: 'string', default: '30'},
    only: {type: 'string', default: 'traffic,idle,links'},
  },
});

/** A node's memory now, in words. */
function told(node: SwarmNode): string {
  const {rssKb, anonymousKb, peakKb} = node.memory();
  const [rss, anonymous, peak] = [rssKb, anonymousKb, peakKb].map((kb) => (kb / 1024).toFixed(1));
  return `${rss} MB (${anonymous} of no file; ${peak} at most)`;
}

/** Each server has a log of its own. */
let serial = 0;

interface Received {
  readonly bytes: number;
  readonly bits_per_second: number;
}

/** Sends so many bytes by TCP; resolves with what has arrived, which lacks what was in buffers when iperf3 ended the stream. */
async function send(from: SwarmNode, to: SwarmNode, bytes: number, reverse: boolean): Promise<Received> {
  const server = to.ns.spawn(`iperf3-${serial++}`, ['iperf3', '-s', '-1', '--forceflush']);
  try {
    await server.waitLog(/Server listening/g, 10_000);
    const argv = ['iperf3', '-c', to.address, '-n', `${bytes}`, '-J', '--connect-timeout', '10000'];
    const timeoutMs = 30_000 + bytes / 5_000; // 5 MB/s at least
    const out = await from.ns.runOk([...argv, ...(reverse ? ['-R'] : [])], {timeoutMs});
    const {error, end} = JSON.parse(out) as {error?: string; end: {sum_received?: Received}};
    if (!end.sum_received) throw new Error(`iperf3 to ${to.ns.label}: ${error ?? 'nothing arrived'}`);
    return end.sum_received;
  } finally {
    await server.kill();
  }
}

/** Waits until each link of a node has carried so many bytes each way; rejects when they went another way. */
async function checkCarried(node: SwarmNode, tx: number, rx: number): Promise<void> {
  await until(`${tx} and ${rx} bytes on each link of ${node.ns.label}`, COUNTED_MS, async () => {
    const peers = (await node.status())?.networks.flatMap((network) => network.peers) ?? [];
    const short = peers.find(({traffic}) => traffic.txBytes < tx || traffic.rxBytes < rx);
    if (short) throw new Error(`the one to ${short.name} has ${short.traffic.txBytes} and ${short.traffic.rxBytes}`);
    return peers.length > 0;
  });
}

async function traffic(lab: Lab): Promise<string[]> {
  const [a, b] = await startSwarm(lab, 1, LINK_MS, true);
  const before = [a!, b!].map(told);
  const received = await send(a!, b!, Number(values.gb) * 1e9, false);
  await checkCarried(a!, received.bytes, 0);
  const rows = [a!, b!].map((node, i) => {
    const role = i === 0 ? 'sender' : 'receiver';
    return `RSS, ${role}: ${before[i]!} before, ${told(node)} after ${values.gb} GB`;
  });
  return [...rows, `one TCP stream: ${(received.bits_per_second / 1e6).toFixed(0)} Mb/s`];
}

async function links(lab: Lab): Promise<string[]> {
  const count = Number(values.links);
  const [node, ...others] = await startSwarm(lab, count, LINK_MS, false);
  const before = told(node!);
  const bytes = Number(values['links-mb']) * 1e6;
  const received = await pool(
    AT_ONCE,
    others.map((other) => async () => [await send(node!, other, bytes, false), await send(node!, other, bytes, true)]),
  );
  const least = Math.min(...received.flat().map((one) => one.bytes));
  await checkCarried(node!, least, least);
  const after = told(node!);
  return [
    `RSS with ${count} links: ${before} before traffic, ${after} after ${values['links-mb']} MB each way on each`,
  ];
}

async function idle(lab: Lab): Promise<string[]> {
  const count = Number(values.idle);
  const [node] = await startSwarm(lab, count, LINK_MS, true);
  await sleep(SETTLE_MS);
  const [before, started] = [node!.threads(), performance.now()];
  await sleep(Number(values.seconds) * 1000);
  const after = node!.threads();
  const seconds = (performance.now() - started) / 1000;
  const used = after.map((now) =>
    difference(
      now,
      before.find(({name}) => name === now.name),
      seconds,
    ),
  );
  used.sort((a, b) => b.perSecond - a.perSecond);
  const line = (name: string, threads: number, perSecond: number, percent: number): string =>
    `${name.padEnd(16)} ${`${threads}`.padStart(7)} ${perSecond.toFixed(1).padStart(11)} ${percent.toFixed(3).padStart(8)}`;
  const sum = (key: 'threads' | 'perSecond' | 'percent'): number => used.reduce((all, one) => all + one[key], 0);
  return [
    `idle with ${count} links, ${seconds.toFixed(0)} s:`,
    `${'thread'.padEnd(16)} threads  wake-ups/s    CPU %`,
    ...used.map(({name, threads, perSecond, percent}) => line(name, threads, perSecond, percent)),
    line('all', sum('threads'), sum('perSecond'), sum('percent')),
    `RSS: ${told(node!)}`,
  ];
}

function difference(now: ThreadUse, before: ThreadUse | undefined, seconds: number) {
  const {name, threads} = now;
  const perSecond = (now.wakeUps - (before?.wakeUps ?? 0)) / seconds;
  return {name, threads, perSecond, percent: (now.cpuMs - (before?.cpuMs ?? 0)) / 10 / seconds};
}

const parts: Readonly<Record<string, (lab: Lab) => Promise<string[]>>> = {traffic, idle, links};

const obstacle = whyNot();
if (obstacle !== undefined) {
  console.error(`footprint: ${obstacle}`);
  process.exit(2);
}
for (const name of values.only.split(',')) {
  const part = parts[name];
  if (part === undefined) {
    console.error(`footprint: --only ${name}: there are ${Object.keys(parts).join(', ')}`);
    process.exit(2);
  }
  const lab = Lab.open();
  try {
    console.log(`${(await part(lab)).join('\n')}\n`);
  } finally {
    lab.close();
  }
}
