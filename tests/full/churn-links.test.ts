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
/** glibc keeps an arena for each of many threads, and each fills with holes: it takes a third of the links until that ends. */
const WARM_UP = 1 / 3;
/** What malloc has given out, by the fitted line: 100 bytes a link, of the tens of kilobytes that two agents, DTLS and all take. */
const MAX_LIVE_GAIN_KB = (LINKS * 100) / 1024;
/** What the process has of the machine comes and goes by a fifth with the holes. */
const MAX_PAGES_GAIN = 0.5;

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
  for (const {made, up, seconds, anonymousKb, liveKb, threads, descriptors} of weights) {
    const memory = `${liveKb} KB live, ${anonymousKb} KB of pages`;
    t.log(`${made} (${up} up) after ${seconds} s: ${memory}, ${threads} threads, ${descriptors} descriptors`);
  }
  const last = weights.at(-1)!;
  t.is(last.made, LINKS);
  t.true(last.up > 0.7 * LINKS, `${last.up} came up`);
  for (const weight of weights.slice(1)) {
    t.true(weight.threads <= weights[0]!.threads, `${weight.threads} threads after ${weight.made}`);
    t.true(weight.descriptors <= weights[0]!.descriptors, `${weight.descriptors} descriptors after ${weight.made}`);
  }
  const live = growth(
    weights.map(({made, liveKb}) => ({x: made, y: liveKb})),
    WARM_UP,
  );
  t.log(`${(live.slope * 1024).toFixed(0)} live bytes a link: ${live.first} KB to ${live.last} KB`);
  t.true(live.gain < MAX_LIVE_GAIN_KB, `${live.gain.toFixed(0)} KB more are live`);
  const pages = growth(
    weights.map(({made, anonymousKb, heapKb}) => ({x: made, y: anonymousKb - heapKb})),
    WARM_UP,
  );
  t.log(`pages beside V8: ${pages.first} KB to ${pages.last} KB`);
  t.true(pages.gain < MAX_PAGES_GAIN * pages.first, `grew by ${pages.gain.toFixed(0)} KB`);
});
