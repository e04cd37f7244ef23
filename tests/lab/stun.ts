// SPDX-License-Identifier: MIT
// What plain UDP sockets see of the lab's NATs: RFC 5780 classes, hole punching, relaying.

import type {Netns} from './netns.ts';
import type {Proc} from './proc.ts';
import {tool} from './tools.ts';
import {TurnServer} from './turn-server.ts';

/** RFC 4787 behaviour; `udp-blocked`: no answer at all; `unknown`: answers stopped in the middle. */
export type NatBehaviour =
  'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent' | 'udp-blocked' | 'unknown';

export interface NatClass {
  readonly mapping: NatBehaviour;
  readonly filtering: NatBehaviour;
  /** As the server sees the socket, host:port; absent when UDP is blocked. */
  readonly mapped?: string;
}

/** Measures the NAT and firewall between a namespace and the internet from a UDP socket in it (RFC 5780 section 4). */
export async function measureNat(from: Netns, server: TurnServer): Promise<NatClass> {
  return JSON.parse(await from.runOk(tool('nat_probe', server.address))) as NatClass;
}

export interface PairResult {
  /** Both sides heard the other's acknowledgement. */
  readonly met: boolean;
  /** Where each side heard the other from. */
  readonly heardFrom: readonly [string | null, string | null];
}

/**
 * Lets two plain UDP sockets meet: both send at once to what the other's STUN server saw.
 * `relay`: the first one speaks through a TURN allocation and the second one to the allocation's address.
 */
export async function udpPair(a: Netns, b: Netns, server: TurnServer, relay = false, seconds = 3): Promise<PairResult> {
  const turn = relay ? ['--turn', `${TurnServer.USER}:${TurnServer.PASSWORD}`] : [];
  const common = ['--stun', server.address, '--seconds', `${seconds}`];
  const number = serial++;
  const left = a.spawn(`pair${number}a`, tool('udp_pair', ...common, ...turn), {input: true});
  const right = b.spawn(`pair${number}b`, tool('udp_pair', ...common), {input: true});
  try {
    const [l, r] = await Promise.all([ends(left), ends(right)]);
    left.write(JSON.stringify({peer: r.mapped, permit: r.mapped.split(':')[0]}));
    right.write(JSON.stringify({peer: l.relayed ?? l.mapped}));
    const timeoutMs = (seconds + 5) * 1000;
    const results = await Promise.all([outcome(left, timeoutMs), outcome(right, timeoutMs)]);
    return {met: results.every((result) => result.met), heardFrom: [results[0].peer, results[1].peer]};
  } finally {
    await Promise.all([left.kill(), right.kill()]);
  }
}

async function ends(proc: Proc): Promise<{mapped: string; relayed: string | null}> {
  const match = await proc.waitLog(/^\{"mapped".*\}$/m, 8_000);
  return JSON.parse(match[0]) as {mapped: string; relayed: string | null};
}

async function outcome(proc: Proc, timeoutMs: number): Promise<{met: boolean; peer: string | null}> {
  const match = await proc.waitLog(/^\{"met".*\}$/m, timeoutMs);
  return JSON.parse(match[0]) as {met: boolean; peer: string | null};
}

let serial = 0;
