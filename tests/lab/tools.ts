// SPDX-License-Identifier: MIT
// Questions to ask of a lab's network: each runs a program inside a namespace and returns what it measured.

import {fileURLToPath} from 'node:url';
import type {Netns} from './netns.ts';
import type {Proc} from './proc.ts';

const PYTHON = '/usr/bin/python3';

/** Command line of a helper in tools/. */
export function tool(name: string, ...args: readonly string[]): string[] {
  return [PYTHON, '-u', '-B', fileURLToPath(new URL(`tools/${name}.py`, import.meta.url)), ...args];
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** Mean round trip; undefined when nothing came back. */
  readonly rttMs: number | undefined;
  /** The shortest: what the path takes, whatever else the machine does. */
  readonly leastRttMs: number | undefined;
  /** What ping complained about, if it did. */
  readonly said: string;
}

export interface PingOptions {
  /** Default 3. */
  readonly count?: number;
  /** Bytes of ICMP payload; 1472 fills a 1500-byte packet. */
  readonly size?: number;
  /** Forbid fragmentation. */
  readonly df?: boolean;
  /** Hex digits to fill the payload with. */
  readonly pattern?: string;
}

/** Pings an IPv4 or IPv6 address. Never rejects because of lost packets. */
export async function ping(from: Netns, address: string, options: PingOptions = {}): Promise<PingResult> {
  const {count = 3, size, df = false, pattern} = options;
  const args = ['-n', '-q', '-c', `${count}`, '-i', '0.1', '-W', '2'];
  if (size !== undefined) args.push('-s', `${size}`);
  if (df) args.push('-M', 'do');
  if (pattern !== undefined) args.push('-p', pattern);
  const {stdout, stderr} = await from.run(['ping', ...args, address]);
  return {
    sent: count,
    received: Number(/(\d+) received/.exec(stdout)?.[1] ?? 0),
    rttMs: numberOf(/= [\d.]+\/([\d.]+)\//, stdout),
    leastRttMs: numberOf(/= ([\d.]+)\//, stdout),
    said: (stderr.trim() || stdout.trim()).split('\n')[0] ?? '',
  };
}

export interface ArpResult {
  readonly received: number;
  /** MAC addresses that answered. */
  readonly macs: readonly string[];
}

/** Asks by ARP who has an address. */
export async function arping(from: Netns, address: string, count = 2): Promise<ArpResult> {
  const {stdout} = await from.run(['arping', '-c', `${count}`, '-w', '4', '-I', 'eth0', address]);
  const macs = [...stdout.matchAll(/\[([0-9A-Fa-f:]{17})\]/g)].map((match) => match[1]!.toLowerCase());
  return {received: Number(/Received (\d+) response/.exec(stdout)?.[1] ?? 0), macs: [...new Set(macs)]};
}

export type FrameKind = 'broadcast' | 'mdns' | 'ethertype';

export interface HeardFrame {
  readonly src: string;
  readonly dst: string;
  readonly type: string;
  readonly count: number;
}

/** Listens on a host's eth0 for marked frames. Resolves once it hears; `heard` then waits for all of them or `seconds`. */
export async function listen(
  on: Netns,
  tokens: readonly string[],
  seconds: number,
): Promise<{heard(): Promise<Readonly<Record<string, HeardFrame>>>}> {
  const argv = tool('frames', 'listen', 'eth0', '--expect', tokens.join(','), '--seconds', `${seconds}`);
  const proc = on.spawn(`listen-${serial++}`, argv);
  await proc.waitLog(/listening/, 5_000);
  return {heard: async () => (await lastJson(proc, (seconds + 5) * 1000)) as Record<string, HeardFrame>};
}

/** Sends a frame that carries `token` from a host's eth0. */
export async function sendFrame(from: Netns, ip: string, kind: FrameKind, token: string): Promise<void> {
  await from.runOk(tool('frames', 'send', 'eth0', '--kind', kind, '--token', token, '--ip', ip));
}

export interface DhcpOffer {
  readonly server: string;
  readonly address: string;
  /** MAC address the offer was sent to. */
  readonly dst: string;
}

/** Asks for DHCP offers during `seconds`; `unicast`: servers may answer to our MAC alone. */
export async function dhcpDiscover(from: Netns, seconds = 2, unicast = false): Promise<readonly DhcpOffer[]> {
  const args = ['eth0', '--seconds', `${seconds}`, ...(unicast ? ['--unicast'] : [])];
  return (JSON.parse(await from.runOk(tool('dhcp_discover', ...args))) as {offers: DhcpOffer[]}).offers;
}

export interface IperfResult {
  /** Delivered. */
  readonly mbps: number;
  readonly bytes: number;
  readonly retransmits: number;
}

/** One TCP stream from one host to another for `seconds`. */
export async function iperf3(from: Netns, to: Netns, address: string, seconds = 3): Promise<IperfResult> {
  const server = to.spawn(`iperf3-${serial++}`, ['iperf3', '-s', '-1', '--forceflush']);
  try {
    await server.waitLog(/Server listening/, 5_000);
    const argv = ['iperf3', '-c', address, '-t', `${seconds}`, '-J', '--connect-timeout', '4000'];
    const {stdout, stderr} = await from.run(argv, {timeoutMs: (seconds + 15) * 1000});
    const result = JSON.parse(stdout || '{}') as IperfJson;
    if (result.end?.sum_received === undefined) throw new Error(`iperf3: ${result.error ?? stderr.trim()}`);
    const {bits_per_second, bytes} = result.end.sum_received;
    return {mbps: bits_per_second / 1e6, bytes, retransmits: result.end.sum_sent?.retransmits ?? 0};
  } finally {
    await server.kill();
  }
}

interface IperfJson {
  readonly error?: string;
  readonly end?: {
    readonly sum_received?: {readonly bits_per_second: number; readonly bytes: number};
    readonly sum_sent?: {readonly retransmits?: number};
  };
}

export interface BlastResult {
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
  readonly longestGapMs: number;
  /** [ms since the first, datagrams], 100 ms each. */
  readonly buckets: readonly (readonly [number, number])[];
}

/** A paced one-way stream of numbered UDP datagrams; `during` runs as soon as it flows. */
export async function blast(
  from: Netns,
  to: Netns,
  address: string,
  options: {readonly pps: number; readonly seconds: number; readonly bytes?: number},
  during: () => Promise<void> = () => Promise.resolve(),
): Promise<BlastResult> {
  const {pps, seconds, bytes = 200} = options;
  const sink = to.spawn(`sink-${serial++}`, tool('udp_blast', 'sink', '9999', '--seconds', `${seconds + 15}`));
  await sink.waitLog(/listening/, 5_000);
  const argv = tool('udp_blast', 'send', address, '9999', '--pps', `${pps}`, '--seconds', `${seconds}`);
  const sending = from.runOk([...argv, '--bytes', `${bytes}`], {timeoutMs: (seconds + 15) * 1000});
  const [said] = await Promise.all([sending, during()]);
  const {sent} = JSON.parse(said) as {sent: number};
  return {sent, ...((await lastJson(sink, 20_000)) as Omit<BlastResult, 'sent'>)};
}

async function lastJson(proc: Proc, timeoutMs: number): Promise<unknown> {
  const match = await proc.waitLog(/^\{.*\}$/m, timeoutMs);
  return JSON.parse(match[0]);
}

function numberOf(pattern: RegExp, text: string): number | undefined {
  const match = pattern.exec(text);
  return match === null ? undefined : Number(match[1]);
}

let serial = 0;
