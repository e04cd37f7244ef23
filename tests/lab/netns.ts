// SPDX-License-Identifier: MIT
// One network namespace: a host or router of the lab.

import {run, runOk, runSync, type RunOptions, type RunResult} from './exec.ts';
import type {Lab} from './lab.ts';
import type {Proc, ProcOptions} from './proc.ts';

/** Settings of every new namespace. Those the kernel lacks are skipped. */
const SYSCTLS: readonly (readonly [string, string])[] = [
  ['net/bridge/bridge-nf-call-iptables', '0'],
  ['net/bridge/bridge-nf-call-ip6tables', '0'],
  ['net/bridge/bridge-nf-call-arptables', '0'],
  // Duplicate address detection would make each IPv6 address wait for a second.
  ['net/ipv6/conf/all/accept_dad', '0'],
  ['net/ipv6/conf/default/accept_dad', '0'],
  ['net/ipv6/conf/all/accept_ra', '0'],
  ['net/ipv6/conf/default/accept_ra', '0'],
];

export class Netns {
  private constructor(
    readonly lab: Lab,
    /** Short name, unique in the lab: also that of its log files. */
    readonly label: string,
    /** Name for `ip netns`. */
    readonly name: string,
  ) {}

  /** Makes the namespace, its loopback up, and registers its end: all processes in it are killed, then it is deleted. */
  static create(lab: Lab, label: string): Netns {
    const ns = new Netns(lab, label, `${lab.prefix}${label}`);
    lab.cleanup.add(`namespace ${ns.name}`, () => deleteNetns(ns.name));
    runSync(['ip', 'netns', 'add', ns.name]);
    runSync(['ip', '-n', ns.name, 'link', 'set', 'lo', 'up']);
    ns.sysctl(SYSCTLS);
    return ns;
  }

  /** Writes kernel settings (paths below /proc/sys). */
  sysctl(settings: readonly (readonly [string, string])[]): void {
    const script = settings.map(([key, value]) => `[ ! -e /proc/sys/${key} ] || echo ${value} > /proc/sys/${key}`);
    runSync(this.#argv(['sh', '-ec', script.join('\n')]));
  }

  /** Runs `ip ...` lines inside, in one go. */
  ip(...lines: readonly string[]): void {
    runSync(['ip', '-n', this.name, '-batch', '-'], {input: `${lines.join('\n')}\n`});
  }

  /** Loads nftables rules inside, as one transaction. */
  nft(ruleset: string): void {
    runSync(this.#argv(['nft', '-f', '-']), {input: ruleset});
  }

  /** Runs a command inside; see exec.ts. */
  run(argv: readonly string[], options?: RunOptions): Promise<RunResult> {
    return run(this.#argv(argv), options);
  }

  runOk(argv: readonly string[], options?: RunOptions): Promise<string> {
    return runOk(this.#argv(argv), options);
  }

  runSync(argv: readonly string[], options?: RunOptions): string {
    return runSync(this.#argv(argv), options);
  }

  /** Starts a process inside that ends with the lab; its log is `<label>-<name>.log`. */
  spawn(name: string, argv: readonly string[], options?: ProcOptions): Proc {
    return this.lab.spawn(`${this.label}-${name}`, this.#argv(argv), options);
  }

  /** MAC address of an interface. */
  mac(device: string): string {
    const links = JSON.parse(runSync(['ip', '-n', this.name, '-j', 'link', 'show', device])) as {address: string}[];
    return links[0]?.address ?? '';
  }

  #argv(argv: readonly string[]): readonly string[] {
    return ['ip', 'netns', 'exec', this.name, ...argv];
  }
}

/** Makes a veth pair between two namespaces, both ends up. Names have at most 15 characters. */
export function connect(a: Netns, aDevice: string, b: Netns, bDevice: string): void {
  a.ip(`link add ${aDevice} type veth peer name ${bDevice} netns ${b.name}`, `link set ${aDevice} up`);
  b.ip(`link set ${bDevice} up`);
}

/** Kills what runs in a namespace and deletes it; one that does not exist, or that somebody else deletes meanwhile, is fine. */
export function deleteNetns(name: string): void {
  if (!listNetns().includes(name)) return;
  try {
    for (let round = 0; round < 20 && killInside(name) > 0; round++);
    runSync(['ip', 'netns', 'del', name]);
  } catch (error) {
    if (listNetns().includes(name)) throw error;
  }
}

/** Returns how many processes there were. */
function killInside(name: string): number {
  const pids = runSync(['ip', 'netns', 'pids', name]).split('\n').filter(Boolean).map(Number);
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  return pids.length;
}

/** Names of all namespaces of this machine. */
export function listNetns(): string[] {
  const text = runSync(['ip', '-j', 'netns', 'list']).trim();
  return text === '' ? [] : (JSON.parse(text) as {name: string}[]).map((ns) => ns.name);
}
