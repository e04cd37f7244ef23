// SPDX-License-Identifier: MIT
// dnsmasq as the tests' DHCP and name servers: nothing of the machine's own configuration is read or written.

import type {Netns} from './netns.ts';
import type {Proc} from './proc.ts';

/** Starts one with these options and waits until it says `ready`. */
export async function startDnsmasq(ns: Netns, name: string, ready: RegExp, options: readonly string[]): Promise<Proc> {
  const own = ['--keep-in-foreground', '--conf-file=/dev/null', '--user=root', '--log-facility=-', '--pid-file='];
  const server = ns.spawn(name, ['dnsmasq', ...own, '--bind-interfaces', ...options]);
  await server.waitLog(ready, 5_000);
  return server;
}
