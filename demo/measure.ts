// SPDX-License-Identifier: MIT
// What is measured while traffic flows: throughput and path of each pair, what a node needs.

import type {Status} from '../src/status/types.ts';
import {judge} from '../tests/lab/capture.ts';
import {Internet} from '../tests/lab/internet.ts';
import type {IpopNode} from '../tests/lab/ipopd.ts';
import {iperf3} from '../tests/lab/tools.ts';
import {setTimeout as sleep} from 'node:timers/promises';
import {outcome, type Outcome, type Stage} from './stage.ts';

const IPERF_SEC = 3;
/** For both nodes of a pair together: ARP, and each flow's first frames. */
const MAX_UPCALLS = 100;
/** Long enough for a CPU share in steps of 10 ms to mean something. */
const IDLE_MS = 5_000;

/**
 * iperf3 from a LAN host to the server on the internet, through NAT, without ipop: as this machine does it, a memory copy of
 * super-packets of 64 KB, and packet by packet, as a wire would carry it.
 */
export async function measurePlain(stage: Stage): Promise<Outcome> {
  const {ns, name} = stage.world.sites[0]!.hosts[0]!;
  const measure = async (): Promise<number> =>
    (await iperf3(ns, stage.world.internet.server, Internet.SERVER, IPERF_SEC)).mbps;
  const superMbps = await measure();
  ns.ip('link set eth0 gso_max_segs 1');
  const packetMbps = await measure();
  ns.ip('link set eth0 gso_max_segs 65535');
  stage.plain = {superMbps, packetMbps};
  const text = `${superMbps.toFixed(0)}, packet by packet ${packetMbps.toFixed(0)} Mbit/s from ${name} to the server host`;
  return outcome(text, [Math.min(superMbps, packetMbps) > 0 ? undefined : 'nothing arrived']);
}

/** iperf3 between hosts of each two sites; the path is judged by the bytes that crossed the internet meanwhile. */
export async function measurePairs(stage: Stage, tell: (state: string) => void): Promise<Outcome> {
  const {internet} = stage.world;
  for (const [a, b] of stage.world.pairs()) {
    tell(`${a.name} – ${b.name}`);
    internet.resetFlows();
    const [from, to] = [a.hosts[0]!, b.hosts[0]!];
    const ends = stage.nodes.filter(({site}) => site === a || site === b);
    const before = await work(ends);
    const {mbps, retransmits, bytes} = await iperf3(from.ns, to.ns, to.address, IPERF_SEC);
    const after = await work(ends);
    const crossing = judge(internet.flows(), a.publicAddress, b.publicAddress, Internet.SERVER, bytes);
    const done = {frames: after.frames - before.frames, upcalls: after.upcalls - before.upcalls};
    stage.pairs.push({a: a.name, b: b.name, crossing, mbps, retransmits, ...done});
  }
  const kinds = stage.pairs.map((pair) => pair.crossing.kind);
  const strange = stage.pairs.filter(({crossing}) => crossing.kind === 'mixed' || crossing.kind === 'none');
  return outcome(stage.pairs.map(({a, b, mbps}) => `${a}–${b} ${mbps.toFixed(0)}`).join(', ') + ' Mbit/s', [
    ...strange.map(
      ({a, b, crossing}) => `${a} – ${b}: the bytes crossed neither directly nor by the relay (${crossing.kind})`,
    ),
    kinds.includes('direct') ? undefined : 'no pair is direct',
    kinds.includes('relay') ? undefined : 'no pair goes through the relay',
    ...stage.pairs.map(({a, b, mbps}) => (mbps >= 1 ? undefined : `${a} – ${b}: ${mbps} Mbit/s`)),
  ]);
}

/** Frames with a rule never reach TypeScript: judged by the counters of both nodes during iperf3. */
export async function judgeUpcalls(stage: Stage): Promise<Outcome> {
  const total = stage.pairs.reduce((sum, pair) => sum + pair.frames, 0);
  const upcalls = stage.pairs.reduce((sum, pair) => sum + pair.upcalls, 0);
  return outcome(`${upcalls} of ${total} frames asked TypeScript`, [
    total === 0 ? 'the nodes counted no frames during iperf3' : undefined,
    (await work(stage.nodes)).upcalls === 0 ? 'the nodes counted no upcall at all since their start' : undefined,
    ...stage.pairs.map(({a, b, upcalls: asked}) =>
      asked < MAX_UPCALLS ? undefined : `${a} – ${b}: ${asked} upcalls in ${IPERF_SEC} s, more than ${MAX_UPCALLS}`,
    ),
  ]);
}

/** Frames through the taps, and upcalls, of some nodes since they started. */
async function work(nodes: readonly IpopNode[]): Promise<{frames: number; upcalls: number}> {
  const statuses = await Promise.all(nodes.map((node) => node.status()));
  const networks = statuses.flatMap((status) => status?.networks ?? []);
  const frames = networks.map(({bridge}) => bridge.traffic.rxFrames + bridge.traffic.txFrames);
  return {frames: frames.reduce((a, b) => a + b, 0), upcalls: networks.reduce((sum, {upcalls}) => sum + upcalls, 0)};
}

/** What `ipop status` says about each pair's path must be what crossed the internet. */
export async function compareStatus(stage: Stage): Promise<Outcome> {
  const failures: string[] = [];
  for (const {a, b, crossing} of stage.pairs) {
    for (const [name, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      const node = stage.nodes.find((candidate) => candidate.name === name);
      const said = pathKind(await node?.status(), peer);
      if (said !== crossing.kind)
        failures.push(`${name} calls its link to ${peer} ${said}, but it is ${crossing.kind}`);
    }
  }
  return outcome(stage.pairs.map(({a, b, crossing}) => `${a}–${b} ${crossing.kind}`).join(', '), failures);
}

/** Memory, and CPU time while nothing happens. */
export async function measureUsage(stage: Stage): Promise<Outcome> {
  const before = stage.nodes.map((node) => node.usage());
  const start = performance.now();
  await sleep(IDLE_MS);
  stage.nodes.forEach((node, i) => {
    const {rssKb, cpuMs, threads} = node.usage();
    const cpuPercent = (100 * (cpuMs - before[i]!.cpuMs)) / (performance.now() - start);
    stage.usage.push({name: node.name, rssKb, cpuPercent, threads});
  });
  const worst = stage.usage.reduce((a, b) => (a.rssKb > b.rssKb ? a : b));
  const cpu = Math.max(...stage.usage.map((one) => one.cpuPercent));
  return outcome(`at most ${(worst.rssKb / 1024).toFixed(1)} MB and ${cpu.toFixed(1)} % CPU a node`, []);
}

function pathKind(status: Status | undefined, peer: string): string {
  const found = status?.networks.flatMap((network) => network.peers).find((candidate) => candidate.name === peer);
  return found?.path?.kind ?? (found === undefined ? 'unknown' : found.state);
}
