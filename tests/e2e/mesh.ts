// SPDX-License-Identifier: MIT
// Three sites with their nodes, a watcher that notes when each end of a link changed its state, and an endless ping.

import {createConnection} from 'node:net';
import type {FdbEntryStatus, PeerStatus, Status} from '../../src/status/types.ts';
import {groupOf, IpopNode, type NodeOptions} from '../lab/ipopd.ts';
import type {Proc} from '../lab/proc.ts';
import type {Host} from '../lab/site.ts';
import {until} from '../lab/wait.ts';
import type {World} from '../lab/world.ts';

const POLL_MS = 100;
const ANSWER_MS = 2_000;
/** First start on a busy machine: room, accounts, three links. */
const START_MS = 60_000;

/** One end of a link: what node `of` says about its peer `to`. */
export interface End {
  readonly of: string;
  readonly to: string;
}

/** Asks a daemon's control socket; undefined when it does not answer. */
export async function ask(socket: string, command: 'status' | 'fdb'): Promise<Answer | undefined> {
  return await new Promise((resolve) => {
    let text = '';
    const connection = createConnection(socket);
    connection.setTimeout(ANSWER_MS, () => connection.destroy());
    connection.setEncoding('utf8').on('data', (data: string) => (text += data));
    connection.on('error', () => {});
    connection.on('close', () => {
      try {
        resolve(JSON.parse(text) as Answer);
      } catch {
        resolve(undefined);
      }
    });
    connection.write(`{"command":"${command}"}\n`);
  });
}

interface Answer {
  readonly status?: Status;
  readonly fdb?: readonly FdbEntryStatus[];
}

/** Polls every node and notes since when each end of a link is what it is. Times are those of performance.now(). */
export class Watcher {
  readonly #nodes: readonly IpopNode[];
  readonly #seen = new Map<string, {peer: PeerStatus | undefined; up: boolean; since: number}>();
  readonly #xmpp = new Map<string, {state: string; since: number}>();
  #running = true;

  constructor(nodes: readonly IpopNode[]) {
    this.#nodes = nodes;
    for (const node of nodes) void this.#watch(node);
  }

  stop(): void {
    this.#running = false;
  }

  /** What the node said last; undefined: it does not know that peer, or does not answer. */
  peer(end: End): PeerStatus | undefined {
    return this.#seen.get(key(end))?.peer;
  }

  isUp(end: End): boolean {
    return this.#seen.get(key(end))?.up ?? false;
  }

  /** Since when the end is up, or is not. */
  since(end: End): number {
    return this.#seen.get(key(end))?.since ?? 0;
  }

  xmpp(name: string): string {
    return this.#xmpp.get(name)?.state ?? 'offline';
  }

  /** Waits until all ends are up, or all are down; resolves with the time at which the last one was seen so. */
  async wait(ends: readonly End[], up: boolean, timeoutMs: number): Promise<number> {
    try {
      await until(
        `${ends.map(key).join(', ')} ${up ? 'up' : 'down'}`,
        timeoutMs,
        () => ends.every((end) => this.isUp(end) === up),
        POLL_MS / 4,
      );
    } catch (error) {
      const said = ends.map((end) => `${key(end)}: ${describe(this.peer(end))}, XMPP ${this.xmpp(end.of)}`);
      throw new Error([(error as Error).message, ...said].join('\n  '));
    }
    return Math.max(...ends.map((end) => this.since(end)));
  }

  async #watch(node: IpopNode): Promise<void> {
    while (this.#running) {
      const next = performance.now() + POLL_MS;
      const status = (await ask(node.socket, 'status'))?.status;
      const now = performance.now();
      for (const other of this.#nodes) {
        if (other === node) continue;
        const peer = status?.networks[0]?.peers.find((one) => one.jid === other.options.jid);
        const end = key({of: node.name, to: other.name});
        const before = this.#seen.get(end);
        const up = peer?.state === 'up';
        this.#seen.set(end, {peer, up, since: before?.up === up ? before.since : now});
      }
      const xmpp = status?.networks[0]?.xmpp.state ?? 'offline';
      if (this.#xmpp.get(node.name)?.state !== xmpp) this.#xmpp.set(node.name, {state: xmpp, since: now});
      await new Promise((resolve) => setTimeout(resolve, Math.max(10, next - performance.now())));
    }
  }
}

export interface MeshOptions {
  /** Environment of a site's ipopd, by the site's name. */
  readonly env?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** What every node gets beside its account. */
  readonly every?: Pick<NodeOptions, 'options' | 'turn'>;
}

/** A world's sites as one Ethernet. In the lab's three, office and boat meet directly, cabin by the relay. */
export class Mesh {
  readonly watcher: Watcher;

  private constructor(
    readonly world: World,
    readonly nodes: readonly IpopNode[],
  ) {
    this.watcher = new Watcher(nodes);
  }

  /** Starts a node at each site and waits until all links are up. */
  static async up(world: World, options: MeshOptions = {}): Promise<Mesh> {
    const nodes = groupOf(world).map(
      (node) =>
        new IpopNode(world, node.site, {
          ...node.options,
          env: options.env?.[node.name] ?? {},
          ...options.every,
        }),
    );
    const mesh = new Mesh(world, nodes);
    for (const node of nodes) node.start();
    await mesh.watcher.wait(mesh.ends(), true, START_MS);
    return mesh;
  }

  node(name: string): IpopNode {
    const node = this.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`The mesh has no node ${name}.`);
    return node;
  }

  host(name: string, number = 1): Host {
    return this.world.site(name).hosts[number - 1]!;
  }

  /** Both ends of every link; of those of one site, if named. */
  ends(site?: string): End[] {
    const all = this.nodes.flatMap((a) => this.nodes.map((b) => ({of: a.name, to: b.name})));
    return all.filter(({of, to}) => of !== to && (site === undefined || of === site || to === site));
  }

  async fdb(of: string): Promise<readonly FdbEntryStatus[]> {
    return (await ask(this.node(of).socket, 'fdb'))?.fdb ?? [];
  }

  /** Ends its watching; the lab ends the nodes. */
  close(): void {
    this.watcher.stop();
  }
}

/** Both ends of one link. */
export function pair(a: string, b: string): End[] {
  return [
    {of: a, to: b},
    {of: b, to: a},
  ];
}

export interface Echo {
  /** performance.now() of its arrival. */
  readonly at: number;
  readonly sequence: number;
}

/** A ping that goes on until it is stopped, and what came back when. */
export class EndlessPing {
  readonly intervalMs: number;
  readonly #proc: Proc;

  /** `intervalMs`: 10 or more. Needs no ARP: both hosts are told of each other. */
  constructor(from: Host, to: Host, intervalMs = 100) {
    this.intervalMs = intervalMs;
    from.ns.ip(`neigh replace ${to.address} lladdr ${to.mac} dev eth0 nud permanent`);
    to.ns.ip(`neigh replace ${from.address} lladdr ${from.mac} dev eth0 nud permanent`);
    const argv = ['ping', '-n', '-D', '-i', `${intervalMs / 1000}`, '-s', '400', to.address];
    this.#proc = from.ns.spawn(`ping-${serial++}`, argv);
  }

  echoes(): Echo[] {
    return [...this.#proc.log().matchAll(/^\[([\d.]+)\] \d+ bytes from .* icmp_seq=(\d+)/gm)].map(
      ([, time, sequence]) => ({at: Number(time) * 1000 - performance.timeOrigin, sequence: Number(sequence)}),
    );
  }

  /** Waits for an echo that came after `at` and returns it. */
  async after(at: number, timeoutMs: number): Promise<Echo> {
    return await until('an echo', timeoutMs, () => this.echoes().find((echo) => echo.at > at));
  }

  /** The longest time without an echo since `at`, up to now. */
  longestGapMs(at: number): number {
    const times = [
      at,
      ...this.echoes()
        .map((echo) => echo.at)
        .filter((time) => time > at),
      performance.now(),
    ];
    return Math.max(...times.slice(1).map((time, i) => time - times[i]!));
  }

  async stop(): Promise<void> {
    await this.#proc.stop();
  }
}

export function describe(peer: PeerStatus | undefined): string {
  if (peer === undefined) return 'unknown';
  const {state, path, error, attempts} = peer;
  return `${state}${path ? ` ${path.kind} ${path.local} ${path.remote}` : ''}${error ? ` (${error.code}: ${error.text})` : ''}, ${attempts} tries`;
}

/** Lets a fault last that long. */
export async function passed(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Seconds with two digits, for log lines. */
export function sec(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function key({of, to}: End): string {
  return `${of} to ${to}`;
}

let serial = 0;
