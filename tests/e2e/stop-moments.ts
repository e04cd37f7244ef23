// SPDX-License-Identifier: MIT
// SIGTERM at moments of one seed, from the first instruction of the daemon to a link that is up, and again while it stops.

import {existsSync, readdirSync, statSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import type {IpopNode} from '../lab/ipopd.ts';
import {randomOf} from './garbage.ts';

const SEED = 20_260_727;
/** Two nodes that start together are linked before. */
const SPAN_MS = 3_000;
const APART_MS = 100;
const END_MS = 5_000;
/** From the fork to the daemon's own handling of signals: `ip netns exec`, then the loader. */
const LOADING_MS = 500;

/** Runs the nodes side by side, each stopped at moments of its own, until there were so many. */
export async function stopAtMoments(t: ExecutionContext, nodes: readonly IpopNode[], moments: number): Promise<void> {
  const below = randomOf(SEED);
  const random = (): number => below(1_000_000) / 1_000_000;
  const took: number[] = [];
  let untouched = 0;
  let linked = 0;
  for (let round = 0; round * nodes.length < moments; round++) {
    // Half of them early: most happens then. Nearly the same for all, or none would live to see a link.
    const base = random() < 0.5 ? random() * LOADING_MS : random() * SPAN_MS;
    const results = await Promise.all(
      nodes.map((node) => {
        const afterMs = base + random() * APART_MS;
        const againMs = random() < 0.4 ? random() * 300 : undefined;
        return stopOnce(t, node, afterMs, againMs);
      }),
    );
    for (const one of results) {
      took.push(one.tookMs);
      if (one.untouched) untouched++;
      if (one.linked) linked++;
    }
  }
  t.log(
    `${took.length} moments, slowest end ${Math.round(Math.max(...took))} ms; ` +
      `${untouched} before it was loaded, ${linked} with a link up`,
  );
  t.true(untouched < moments / 2 && (linked > 0 || moments < 40), 'moments of all kinds');
}

async function stopOnce(t: ExecutionContext, node: IpopNode, afterMs: number, againMs: number | undefined) {
  const mark = existsSync(node.logFile) ? statSync(node.logFile).size : 0;
  node.start();
  const {proc} = node;
  await sleep(afterMs); // the moment itself
  const began = performance.now();
  proc.signal('SIGTERM');
  if (againMs !== undefined) {
    await sleep(againMs);
    proc.signal('SIGTERM');
  }
  const end = await proc.waitEnd(END_MS);
  const tookMs = performance.now() - began;
  const log = proc.log().slice(mark);
  const what = `SIGTERM after ${Math.round(afterMs)} ms${againMs === undefined ? '' : `, again after ${Math.round(againMs)} ms`}: ${end}\n${log}`;
  // Not yet ours to handle: the kernel's own end, before anything was done.
  const untouched = end === 'killed by SIGTERM' && log === '' && afterMs < LOADING_MS;
  if (!untouched) t.is(end, 'exit 0', what);
  t.notRegex(log, /uncaught|panicked|^error:/m, what);
  t.not((await node.site.router.run(['ip', 'link', 'show', 'ipop0'])).code, 0, `a tap is left: ${what}`);
  t.throws(() => process.kill(-proc.pid, 0), {code: 'ESRCH'}, `a child is left: ${what}`);
  t.false(existsSync(node.socket), `the control socket is left: ${what}`);
  const names = existsSync(node.stateDir) ? readdirSync(node.stateDir) : [];
  t.true(
    names.every((name) => ['identity.key', 'boot'].includes(name)),
    `${names.join()} is left: ${what}`,
  );
  return {tookMs, untouched, linked: log.includes('-> up:')};
}
