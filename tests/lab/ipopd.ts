// SPDX-License-Identifier: MIT
// One ipopd on a site's router: its UCI file, its process, its status.

import {existsSync, readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {Status} from '../../src/status/types.ts';
import {prepareTjs} from '../runtime/prepare.ts';
import {run, type RunResult} from './exec.ts';
import type {Proc} from './proc.ts';
import type {Site} from './site.ts';
import {until} from './wait.ts';
import type {World} from './world.ts';

/** IPOP_DIST: try another build than the tree's own. */
const DIST = process.env['IPOP_DIST'] ?? fileURLToPath(new URL('../../dist/', import.meta.url));
export const IPOPD = join(DIST, 'ipopd');
export const IPOP = join(DIST, 'ipop');
export const BUNDLE = join(DIST, 'ipop.js');
export const LIBRARY = join(DIST, 'libipop.so');
/** IPOP_TXIKI_SITE: nodes of this site run on txiki.js, the others see no difference. */
const TXIKI_SITE = process.env['IPOP_TXIKI_SITE'];

/** One `network` section. */
export type NetworkOptions = Omit<NodeOptions, 'more' | 'main' | 'runtime' | 'under' | 'env'>;

export interface NodeOptions {
  /** Bare JID and password of its account. */
  readonly jid: string;
  readonly password: string;
  /** Bare JID of the room. */
  readonly room: string;
  readonly owner?: boolean;
  readonly members?: readonly string[];
  /** Replace or add options of the `network` section; undefined leaves one out. */
  readonly options?: Readonly<Record<string, string | undefined>>;
  readonly stun?: readonly string[];
  readonly turn?: readonly string[];
  /** Name of its UCI network section; default `home`. */
  readonly network?: string;
  /** Further networks: their own account, room, tap and bridge. */
  readonly more?: readonly NetworkOptions[];
  /** Replace or add options of the section `main`. */
  readonly main?: Readonly<Record<string, string>>;
  /** What the daemon runs on; default ipopd. */
  readonly runtime?: 'ipopd' | 'txiki';
  /** A command that runs ipopd: it is given ipopd's own command line. */
  readonly under?: readonly string[];
  /** ipopd's environment, beside the test's own. */
  readonly env?: Readonly<Record<string, string>>;
}

export class IpopNode {
  readonly name: string;
  readonly configFile: string;
  readonly socket: string;
  readonly stateDir: string;
  #proc: Proc | undefined;

  /** Writes its configuration; `start` starts it. */
  constructor(
    readonly world: World,
    readonly site: Site,
    readonly options: NodeOptions,
  ) {
    const {lab} = world;
    this.name = site.name;
    this.stateDir = join(lab.folder(this.name), 'state');
    this.socket = join(lab.dir, this.name, 'ipop.sock');
    this.configFile = lab.file(`${this.name}/ipop`, this.#uci(options));
  }

  /** Writes another configuration; the running daemon is not told. */
  configure(options: NodeOptions): void {
    this.world.lab.file(`${this.name}/ipop`, this.#uci(options));
  }

  /** The running (or last) process. */
  get proc(): Proc {
    if (this.#proc === undefined) throw new Error(`ipopd of ${this.name} was never started.`);
    return this.#proc;
  }

  /** Where all processes of this site's nodes write, one after the other. */
  get logFile(): string {
    return join(this.world.lab.logDir, `${this.site.router.label}-ipopd.log`);
  }

  get runtime(): 'ipopd' | 'txiki' {
    return this.options.runtime ?? (this.name === TXIKI_SITE ? 'txiki' : 'ipopd');
  }

  get isStarted(): boolean {
    return this.#proc !== undefined;
  }

  /** Starts ipopd on the router; does not wait for anything. */
  start(): void {
    if (!existsSync(IPOPD)) throw new Error(`${IPOPD} is missing: run scripts/build first.`);
    const {under = [], env = {}} = this.options;
    const daemon = this.runtime === 'txiki' ? [prepareTjs(), 'run', BUNDLE, 'daemon'] : [IPOPD];
    this.#proc = this.site.router.spawn('ipopd', [...under, ...daemon, '--config', this.configFile], {env});
  }

  /** Asks it to end (it says good-bye) and waits for that. */
  async stop(): Promise<void> {
    await this.proc.stop();
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.proc.kill();
  }

  /** What `ipop <args>` says about this node. */
  async ipop(...args: readonly string[]): Promise<RunResult> {
    return await run([IPOP, '--socket', this.socket, ...args], {timeoutMs: 5_000});
  }

  /** Its status; undefined when it does not answer. */
  async status(): Promise<Status | undefined> {
    const {stdout} = await this.ipop('status', '--json');
    try {
      return JSON.parse(stdout) as Status;
    } catch {
      return undefined;
    }
  }

  /** Waits until it has this many links up and returns its status then. */
  async waitLinks(count: number, timeoutMs: number): Promise<Status> {
    return await until(
      `${count} links of ${this.name}`,
      timeoutMs,
      async () => {
        if (this.proc.ended !== undefined) throw new Error(`ipopd of ${this.name} ended (${this.proc.ended})`);
        const status = await this.status();
        return status !== undefined && linksUp(status) >= count ? status : undefined;
      },
      100,
    );
  }

  /** Resident memory and CPU time used so far. */
  usage(): {readonly rssKb: number; readonly cpuMs: number; readonly threads: number; readonly descriptors: number} {
    const {pid} = this.proc;
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    const field = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
    return {
      rssKb: field('VmRSS'),
      threads: field('Threads'),
      cpuMs: 10 * (Number(stat[11]) + Number(stat[12])), // utime and stime, in ticks of 10 ms
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
  }

  #uci(options: NodeOptions): string {
    const {site, stateDir} = this;
    const main = {enabled: '1', name: site.name, state_dir: stateDir, control: this.socket, log_level: 'debug'};
    return [
      `config ipop 'main'`,
      ...uciOptions({...main, ...options.main}),
      '',
      ...[options, ...(options.more ?? [])].flatMap((network) => networkSection(this.world, network)),
    ].join('\n');
  }
}

function networkSection(world: World, options: NetworkOptions): string[] {
  const network: Record<string, string | undefined> = {
    enabled: '1',
    jid: options.jid,
    password: options.password,
    server: world.xmpp.address,
    ca_file: world.authority.caFile,
    room: options.room,
    owner: options.owner === true ? '1' : undefined,
    bridge: 'br-lan',
    tap: 'ipop0',
    ...options.options,
  };
  const lists = {
    member: options.members ?? [],
    stun: options.stun ?? [world.turn.stun],
    turn: options.turn ?? [world.turn.turn],
  };
  return [
    `config network '${options.network ?? 'home'}'`,
    ...uciOptions(network),
    ...Object.entries(lists).flatMap(([key, values]) => values.map((value) => `\tlist ${key} '${value}'`)),
    '',
  ];
}

/** Links of all networks that are up. */
export function linksUp(status: Status): number {
  return status.networks.flatMap((network) => network.peers).filter((peer) => peer.state === 'up').length;
}

/** One node for each site, all in one room; the first site's owns it. Accounts are made; nothing is started. */
export function groupOf(world: World, room = 'home@conference.example.org'): IpopNode[] {
  const accounts = world.sites.map((site) => {
    const password = `${site.name}-secret`;
    return {site, password, jid: world.xmpp.addAccount(site.name, password)};
  });
  const members = accounts.slice(1).map((account) => account.jid);
  return accounts.map(({site, jid, password}, i) => {
    const role = i === 0 ? {owner: true, members} : {};
    return new IpopNode(world, site, {jid, password, room, ...role});
  });
}

function uciOptions(options: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(options).flatMap(([key, value]) => (value === undefined ? [] : [`\toption ${key} '${value}'`]));
}
