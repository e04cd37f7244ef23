// SPDX-License-Identifier: MIT
// What the proofs work on: the lab with a node on each router, and everything measured so far.

import type {Crossing} from '../tests/lab/capture.ts';
import type {IpopNode} from '../tests/lab/ipopd.ts';
import type {Host, Site} from '../tests/lab/site.ts';
import type {NatClass} from '../tests/lab/stun.ts';
import type {World} from '../tests/lab/world.ts';

/** One proof: what it shows, and how it came out. */
export interface Outcome {
  readonly ok: boolean;
  /** What was seen, in a few words. */
  readonly text: string;
  /** What went wrong, one line each; empty when it holds. */
  readonly failures: readonly string[];
  /** The figures behind it, for --json. */
  readonly data?: unknown;
}

export interface Proof {
  readonly title: string;
  readonly run: (stage: Stage, tell: (state: string) => void) => Promise<Outcome>;
}

export interface PairFigures {
  readonly a: string;
  readonly b: string;
  readonly crossing: Crossing;
  readonly mbps: number;
  readonly retransmits: number;
  /** Frames that both nodes moved meanwhile, and how many of them asked TypeScript. */
  readonly frames: number;
  readonly upcalls: number;
}

export interface NodeFigures {
  readonly name: string;
  readonly rssKb: number;
  readonly cpuPercent: number;
  readonly threads: number;
}

export interface Stage {
  readonly world: World;
  readonly nodes: readonly IpopNode[];
  readonly nats: Map<string, NatClass>;
  readonly pairs: PairFigures[];
  readonly usage: NodeFigures[];
  /** iperf3 from a LAN host to the server without ipop: in super-packets, and packet by packet. */
  plain: {readonly superMbps: number; readonly packetMbps: number} | undefined;
  /** From the start of the first ipopd to all links up. */
  linksMs: number | undefined;
}

export interface HostPair {
  readonly from: Host;
  readonly to: Host;
}

/** Every host with every host of every other site, both ways. */
export function hostPairs(world: World): HostPair[] {
  const hosts = world.sites.flatMap((site) => site.hosts.map((host) => ({site, host})));
  return hosts.flatMap(({site, host: from}) =>
    hosts.filter((other) => other.site !== site).map((other) => ({from, to: other.host})),
  );
}

/** Hosts of all sites but one. */
export function hostsBeyond(world: World, site: Site): Host[] {
  return world.sites.filter((other) => other !== site).flatMap((other) => other.hosts);
}

/** An outcome from checks of which each says what is wrong, or nothing. */
export function outcome(text: string, failures: readonly (string | undefined)[], data?: unknown): Outcome {
  const real = failures.filter((failure) => failure !== undefined);
  return {ok: real.length === 0, text, failures: real, data};
}
