// SPDX-License-Identifier: MIT
// A TCP stream between two hosts that says something every 20 ms and hears it back.

import type {Proc} from '../lab/proc.ts';
import type {Host} from '../lab/site.ts';
import {tool} from '../lab/tools.ts';

export interface Ticks {
  readonly sender: Proc;
  /** Ends it: what went and came, and the longest time between two answers. */
  stop(): Promise<{sent: number; received: number; gapMs: number}>;
}

/** Starts one; it flows when this resolves. Each of a lab has a port of its own, after which its logs are named. */
export async function startTicks(from: Host, to: Host, port = 7777): Promise<Ticks> {
  const echo = to.ns.spawn(`echo-${port}`, tool('tcp_ticks', 'echo', `${port}`));
  await echo.waitLog(/listening/, 5_000);
  const sender = from.ns.spawn(`ticks-${port}`, tool('tcp_ticks', 'send', to.address, `${port}`));
  await sender.waitLog(/flowing/, 10_000);
  return {
    sender,
    async stop() {
      sender.signal('SIGINT');
      const [json] = await sender.waitLog(/^\{.*\}$/m, 10_000);
      const {sent, received, longestGapMs} = JSON.parse(json) as Record<string, number>;
      return {sent: sent ?? 0, received: received ?? -1, gapMs: longestGapMs ?? Infinity};
    },
  };
}
