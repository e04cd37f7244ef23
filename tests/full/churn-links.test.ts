// SPDX-License-Identifier: MIT
// 10 000 links are made and unmade on one node, 32 at a time, by the real library in one process: it weighs no more for it. LINKS=n: another
// number; with fewer than 6 000 it is still warming up.
//
//   [ namespace: one veth pair, one address; links-program.ts has both ends of each link ]

import {fileURLToPath} from 'node:url';
import test from 'ava';
import {Lab} from '../lab/lab.ts';
import {connect, Netns} from '../lab/netns.ts';
import {labTest} from '../e2e/kit.ts';
import {growth} from './growth.ts';
import type {Weight} from './links-program.ts';

const LINKS = Number(process.env['LINKS'] ?? 10_000);
const WIDTH = 32;
/** A reading after each. */
const BATCH = Math.ceil(LINKS / 40);
const LIMIT_MS = 15 * 60_000;
/** Allocators keep an arena for each of many threads: it takes a third of the links to fill them. */
const WARM_UP = 1 / 3;
/** By the fitted line. Less than a kilobyte a link; both ends, agents, DTLS and all, weigh a few hundred. */
const MAX_GAIN_KB = 4 * 1024;

let lab: Lab | undefined;
test.after.always(() => lab?.close());

labTest(`${LINKS} links leave no thread, no descriptor and no memory behind`, async (t) => {
  t.timeout(LIMIT_MS + 60_000);
  lab = Lab.open();
  const ns = Netns.create(lab, 'links');
  connect(ns, 'eth0', ns, 'eth1');
  ns.ip('addr add 10.9.0.1/24 dev eth0');
  const program = fileURLToPath(new URL('links-program.ts', import.meta.url));
  // A small nursery: V8's comings and goings are not what is measured.
  const node = [process.execPath, '--expose-gc', '--max-semi-space-size=1', '--import', 'tsx', program];
  const proc = ns.spawn('links', [...node, `${LINKS}`, `${WIDTH}`, `${BATCH}`]);
  const end = await proc.waitEnd(LIMIT_MS);
  const lines = proc.log().split('\n');
  const weights = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Weight);
  t.is(end, 'exit 0', lines.filter((line) => !line.startsWith('{')).join('\n'));
  for (const {made, up, seconds, anonymousKb, heapKb, threads, descriptors} of weights)
    t.log(
      `${made} (${up} up) after ${seconds} s: ${anonymousKb} KB (V8 ${heapKb}), ${threads} threads, ${descriptors} descriptors`,
    );
  const last = weights.at(-1)!;
  t.is(last.made, LINKS);
  t.true(last.up > 0.7 * LINKS, `${last.up} came up`);
  for (const weight of weights.slice(1)) {
    t.true(weight.threads <= weights[0]!.threads, `${weight.threads} threads after ${weight.made}`);
    t.true(weight.descriptors <= weights[0]!.descriptors, `${weight.descriptors} descriptors after ${weight.made}`);
  }
  const native = growth(
    weights.map(({made, anonymousKb, heapKb}) => ({x: made, y: anonymousKb - heapKb})),
    WARM_UP,
  );
  t.log(`${(native.slope * 1024).toFixed(0)} bytes a link, beside V8: ${native.first} KB to ${native.last} KB`);
  t.true(native.gain < MAX_GAIN_KB, `grew by ${native.gain.toFixed(0)} KB`);
});
