// SPDX-License-Identifier: MIT
// Many nodes of one network on one machine: each in a namespace of its own with a public address, all in one room, so that all link with all.
// Their taps are in no bridge; each carries an address, so that a node is its own LAN.

import {readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import type {Status} from '../src/status/types.ts';
import {run} from '../tests/lab/exec.ts';
import {Internet} from '../tests/lab/internet.ts';
import {IPOP, IPOPD, linksUp} from '../tests/lab/ipopd.ts';
import type {Lab} from '../tests/lab/lab.ts';
import {connect, Netns} from '../tests/lab/netns.ts';
import {Authority} from '../tests/lab/pki.ts';
import type {Proc} from '../tests/lab/proc.ts';
import {Prosody} from '../tests/lab/prosody.ts';
import {Hopeless, until} from '../tests/lab/wait.ts';
import {CERTIFICATE_NAMES, MUC_DOMAIN} from '../tests/lab/xmpp-server.ts';

const TAP_MS = 30_000;
const POLL_MS = 500;
const ANSWER_MS = 20_000;
/** Nodes that start together. */
const AT_ONCE = 4;

/** CPU time and wake-ups of a process's threads that have one name. */
export interface ThreadUse {
  readonly name: string;
  readonly threads: number;
  readonly cpuMs: number;
  /** Times that one of them waited and was woken. */
  readonly wakeUps: number;
}

/** One node. */
export class SwarmNode {
  readonly ns: Netns;
  /** Of its tap. */
  readonly address: string;
  readonly #argv: readonly string[];
  readonly #socket: string;
  #proc: Proc | undefined;

  constructor(lab: Lab, internet: Internet, number: number, uci: string) {
    this.ns = Netns.create(lab, `n${number}`);
    this.address = `10.77.${number >> 8}.${(number & 255) + 1}`;
    this.ns.sysctl([['net/ipv6/conf/default/disable_ipv6', '1']]);
    connect(internet.ns, `v${number}`, this.ns, 'wan');
    // A segment for each: on one of all, their neighbours would be more than the kernel keeps for all namespaces together.
    const [gateway, wan] = [1, 2].map((host) => `10.201.${number >> 6}.${(number & 63) * 4 + host}`);
    internet.ns.ip(`addr add ${gateway}/30 dev v${number}`);
    this.ns.ip(`addr add ${wan}/30 dev wan`, `route add default via ${gateway}`);
    const folder = lab.folder(`n${number}`);
    this.#socket = join(folder, 'ipop.sock');
    const main = `config ipop 'main'\n\toption enabled '1'\n\toption name 'n${number}'\n\toption state_dir '${folder}'\n\toption control '${this.#socket}'\n`;
    this.#argv = [IPOPD, '--config', lab.file(`n${number}/ipop`, main + uci)];
  }

  /** Starts ipopd and gives its tap its address. */
  async start(): Promise<void> {
    this.#proc = this.ns.spawn('ipopd', this.#argv);
    await until(`the tap of ${this.ns.label}`, TAP_MS, () => {
      if (this.#proc?.ended !== undefined) throw new Hopeless(`${this.ns.label} ended: ${this.#proc.ended}`);
      return this.ns.runSync(['ip', '-br', 'link']).includes('ipop0');
    });
    this.ns.ip(`addr add ${this.address}/16 dev ipop0`);
  }

  /** Its status; undefined while it does not answer. */
  async status(): Promise<Status | undefined> {
    if (this.#proc?.ended !== undefined) throw new Hopeless(`${this.ns.label} ended: ${this.#proc.ended}`);
    const {stdout} = await run([IPOP, '--socket', this.#socket, 'status', '--json'], {timeoutMs: ANSWER_MS});
    try {
      return JSON.parse(stdout) as Status;
    } catch {
      return undefined;
    }
  }

  get #pid(): number {
    if (this.#proc === undefined) throw new Error(`${this.ns.label} was never started`);
    return this.#proc.pid;
  }

  /** Memory in kB: what is resident, how much of that is of no file, and what was resident at most. */
  memory(): {readonly rssKb: number; readonly anonymousKb: number; readonly peakKb: number} {
    const field = (file: string, name: string): number => {
      const text = readFileSync(`/proc/${this.#pid}/${file}`, 'utf8');
      return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
    };
    // VmRSS lags behind by what the kernel's counters of each CPU hold.
    const rssKb = field('smaps_rollup', 'Rss');
    const peakKb = Math.max(rssKb, field('status', 'VmHWM'));
    return {rssKb, anonymousKb: field('smaps_rollup', 'Anonymous'), peakKb};
  }

  /** What its threads have used so far, by their names. */
  threads(): ThreadUse[] {
    const found = new Map<string, ThreadUse>();
    const folder = `/proc/${this.#pid}/task`;
    for (const id of readdirSync(folder)) {
      const read = (file: string): string => readFileSync(`${folder}/${id}/${file}`, 'utf8');
      const name = read('comm').trim();
      // Nanoseconds on a CPU come first.
      const cpuMs = Number(read('schedstat').split(' ')[0]) / 1e6;
      const wakeUps = Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(read('status'))?.[1] ?? 0);
      const before = found.get(name) ?? {name, threads: 0, cpuMs: 0, wakeUps: 0};
      found.set(name, {
        name,
        threads: before.threads + 1,
        cpuMs: before.cpuMs + cpuMs,
        wakeUps: before.wakeUps + wakeUps,
      });
    }
    return [...found.values()];
  }
}

/**
 * Starts nodes, a few at a time, and waits until the first has links by the express carriage to all others. With `all` every node must
 * have them. Every few nodes have `limitMs`.
 */
export async function startSwarm(lab: Lab, links: number, limitMs: number, all: boolean): Promise<SwarmNode[]> {
  const internet = new Internet(lab);
  const authority = new Authority(lab);
  const server = new Prosody(lab, internet, authority.issue('xmpp', CERTIFICATE_NAMES));
  await server.start();
  const accounts = Array.from({length: links + 1}, (_, n) => server.addAccount(`n${n}`, `secret-${n}`));
  const nodes = accounts.map((jid, n) => {
    const members = n === 0 ? accounts.slice(1).map((member) => `\tlist member '${member}'\n`) : [];
    const uci = `
config network 'swarm'
\toption jid '${jid}'
\toption password 'secret-${n}'
\toption server '${server.address}'
\toption ca_file '${authority.caFile}'
\toption room 'swarm@${MUC_DOMAIN}'
\toption owner '${n === 0 ? 1 : 0}'
\toption bridge 'none'
\toption tap 'ipop0'
${members.join('')}`;
    return new SwarmNode(lab, internet, n, uci);
  });
  // Who comes links with all who are there: at once they would be too many for one machine.
  for (let at = 0; at < nodes.length; at += AT_ONCE) {
    for (const node of nodes.slice(at, at + AT_ONCE)) await node.start();
    await waitLinks(nodes[0]!, Math.min(at + AT_ONCE, nodes.length) - 1, limitMs);
  }
  if (all) for (const node of nodes) await waitLinks(node, links, limitMs);
  return nodes;
}

async function waitLinks(node: SwarmNode, links: number, limitMs: number): Promise<void> {
  let last: Status | undefined;
  const isReady = async (): Promise<boolean> => {
    last = await node.status();
    const peers = last?.networks.flatMap((network) => network.peers) ?? [];
    return peers.filter((peer) => peer.path?.carriage === 'express').length >= links;
  };
  try {
    await until(`${links} links of ${node.ns.label} by express`, limitMs, isReady, POLL_MS);
  } catch (error) {
    const told = (last?.networks ?? []).flatMap(({xmpp, peers}) => [
      `XMPP ${xmpp.state}`,
      ...peers
        .filter(({state}) => state !== 'up')
        .map((peer) => `${peer.name} ${peer.state} (${peer.error?.text ?? ''})`),
    ]);
    const up = last === undefined ? 0 : linksUp(last);
    throw new Error([`${(error as Error).message}; up are ${up}`, ...told].join('\n  '));
  }
}
