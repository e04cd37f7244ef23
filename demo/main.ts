// SPDX-License-Identifier: MIT
// The demo: builds the lab, starts ipop on each router, proves that three LANs are one Ethernet, and shows it.

import {cpSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {groupOf, IPOPD} from '../tests/lab/ipopd.ts';
import {Lab, sweep, whyNot} from '../tests/lab/lab.ts';
import {measureNat} from '../tests/lab/stun.ts';
import {World} from '../tests/lab/world.ts';
import {startNodes} from './links.ts';
import {compareStatus, judgeUpcalls, measurePairs, measurePlain, measureUsage} from './measure.ts';
import {HELP, readOptions, type Options} from './options.ts';
import {drawLinks, drawSites, natTable} from './picture.ts';
import {PROOFS} from './proofs.ts';
import {bold, dim, green, headline, red, say, seconds, step, table} from './screen.ts';
import type {Outcome, Proof, Stage} from './stage.ts';

const LOGS = fileURLToPath(new URL('../artifacts/demo-logs/', import.meta.url));
const MEASURES: readonly Proof[] = [
  {title: 'iperf3 without ipop (plain forwarding and NAT)', run: measurePlain},
  {title: 'iperf3 for each pair of sites', run: measurePairs},
  {title: 'frames of known flows stay in native code', run: judgeUpcalls},
  {title: 'each node tells the path that the WAN shows', run: compareStatus},
  {title: 'what a node needs when idle', run: measureUsage},
];

interface Result extends Outcome {
  readonly title: string;
  readonly ms: number;
}

const results: Result[] = [];

async function prove(stage: Stage, proof: Proof): Promise<void> {
  const work = (tell: (state: string) => void): Promise<Outcome> =>
    proof.run(stage, tell).catch((error: unknown) => {
      const text = (error as Error).message;
      return {ok: false, text: text.split('\n')[0] ?? '', failures: [text]};
    });
  const {value, ms} = await step(proof.title, work, ({ok, text}) => ({ok, text}));
  results.push({title: proof.title, ms, ...value});
  for (const failure of value.failures.slice(0, 6)) say(red(`        ${failure}`));
  if (value.failures.length > 6) say(red(`        and ${value.failures.length - 6} more`));
}

async function build(lab: Lab): Promise<Stage> {
  headline('Building the lab');
  const {value: world} = await step('internet, XMPP and TURN server, three sites', () => World.build(lab));
  const stage: Stage = {
    world,
    nodes: groupOf(world),
    nats: new Map(),
    pairs: [],
    usage: [],
    plain: undefined,
    linksMs: undefined,
  };
  await step('measuring the NATs (RFC 5780)', async () => {
    await Promise.all(
      world.sites.map(async (site) => stage.nats.set(site.name, await measureNat(site.router, world.turn))),
    );
  });
  say();
  say(drawSites(world.sites, stage.nats));
  say();
  say(natTable(world.sites, stage.nats));
  return stage;
}

async function show(stage: Stage): Promise<void> {
  headline('Starting ipop on each router');
  await step(
    'from start to all links up',
    (tell) => startNodes(stage, tell),
    (ms) => ({ok: true, text: `${seconds(ms)} for ${stage.world.pairs().length} links`}),
  );
  headline('One Ethernet?');
  for (const proof of [...PROOFS, ...MEASURES]) await prove(stage, proof);
  headline('How the links went, by the bytes that crossed the internet during iperf3');
  say(drawLinks(stage.pairs));
  say();
  say(pairTable(stage));
  headline('What a node needs');
  say(usageTable(stage));
  for (const node of stage.nodes) {
    headline(`ipop status at ${node.name}`);
    const {stdout, stderr} = await node.ipop('status');
    say((stdout + stderr).trimEnd().replace(/^/gm, '  '));
  }
}

function pairTable(stage: Stage): string {
  const mbit = (mbps: number): string => `${mbps.toFixed(0)} Mbit/s`;
  const {plain} = stage;
  const rows = stage.pairs.map(({a, b, crossing, mbps, retransmits, frames, upcalls}) => [
    `${a} – ${b}`,
    crossing.kind,
    mbit(mbps),
    plain === undefined ? '' : `${((100 * mbps) / plain.packetMbps).toFixed(0)} %`,
    String(retransmits),
    String(frames),
    String(upcalls),
  ]);
  if (plain !== undefined) {
    rows.push(['without ipop', 'packet by packet', mbit(plain.packetMbps), '100 %'].map(dim));
    rows.push(['without ipop', 'in super-packets', mbit(plain.superMbps)].map(dim));
  }
  return table(['PAIR', 'PATH', 'IPERF3', 'OF PLAIN', 'RETRANSMITS', 'FRAMES', 'UPCALLS'], rows);
}

function usageTable(stage: Stage): string {
  const rows = stage.usage.map(({name, rssKb, cpuPercent, threads}) => [
    name,
    `${(rssKb / 1024).toFixed(1)} MB`,
    `${cpuPercent.toFixed(1)} %`,
    String(threads),
  ]);
  return table(['NODE', 'MEMORY', 'IDLE CPU', 'THREADS'], rows);
}

async function writeJson(file: string, stage: Stage | undefined, failure: string | undefined): Promise<void> {
  const nodes = await Promise.all((stage?.nodes ?? []).map((node) => node.status().catch(() => undefined)));
  const report = {
    ok: failure === undefined && results.every((result) => result.ok),
    failure,
    linksMs: stage?.linksMs,
    sites: stage?.world.sites.map((site) => ({
      ...site.options,
      publicAddress: site.publicAddress,
      ...stage.nats.get(site.name),
    })),
    proofs: results,
    plain: stage?.plain,
    pairs: stage?.pairs,
    usage: stage?.usage,
    ipopdBytes: existsSync(IPOPD) ? statSync(IPOPD).size : undefined,
    status: nodes,
  };
  writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
}

function tellHowToEnter(lab: Lab, stage: Stage): void {
  headline('Left standing. Enter a host with');
  const spaces = stage.world.sites.flatMap((site) => [site.router, ...site.hosts.map((host) => host.ns)]);
  for (const ns of [...spaces, stage.world.internet.server, stage.world.internet.ns])
    say(`  ip netns exec ${ns.name} bash`);
  for (const node of stage.nodes) say(`  dist/ipop --socket ${node.socket} status`);
  say(`  Files and logs: ${lab.dir}`);
  say(`  Take it down:   npm run demo -- --down`);
}

function saveLogs(lab: Lab): void {
  rmSync(LOGS, {recursive: true, force: true});
  mkdirSync(LOGS, {recursive: true});
  cpSync(lab.logDir, LOGS, {recursive: true});
  say(red(`  Logs of all programs are kept in ${LOGS}`));
}

async function demo(options: Options): Promise<number> {
  const lab = Lab.open();
  let stage: Stage | undefined;
  let failure: string | undefined;
  try {
    stage = await build(lab);
    await show(stage);
  } catch (error) {
    failure = (error as Error).message;
    say(`\n${red(failure)}`);
  }
  if (options.json !== undefined) await writeJson(options.json, stage, failure);
  const failed = results.filter((result) => !result.ok);
  say();
  if (failure === undefined && failed.length === 0) {
    say(green(bold(`  Three LANs are one Ethernet: all ${results.length} proofs hold.`)));
  } else {
    say(
      red(
        bold(
          failure === undefined ? `  ${failed.length} of ${results.length} proofs do not hold:` : '  Stopped early.',
        ),
      ),
    );
    for (const {title, failures} of failed) say(red(`    ${title}: ${failures[0]}`));
    saveLogs(lab);
  }
  if (options.keep && stage !== undefined) {
    tellHowToEnter(lab, stage);
    lab.keep();
  } else {
    lab.close();
  }
  return failure === undefined && failed.length === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  let options: Options;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    say(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options.help) {
    say(HELP);
    return 0;
  }
  process.once('SIGINT', () => say('\nInterrupted: taking everything down.'));
  const obstacle = whyNot();
  if (obstacle !== undefined) {
    process.stderr.write(`demo: ${obstacle}\n`);
    return 2;
  }
  if (options.down) {
    say(`Took down ${sweep(true)} namespaces.`);
    return 0;
  }
  return await demo(options);
}

process.exit(await main());
