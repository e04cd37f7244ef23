// SPDX-License-Identifier: MIT
// A running daemon is reloaded 1 000 times, with all that can change, and weighs no more for it. RELOADS=n: another number.
//
//   office: br-lan -- h1    network home, tap ipop0      boat: br-lan -- h1
//           br-work -- w    network work, tap ipop1            br-work -- w
//   office is reloaded; boat stays as it is.

import type {ExecutionContext} from 'ava';
import type {IpopNode, NetworkOptions} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {labTest, LINKS_MS, TWO_SITES, worldOf} from '../e2e/kit.ts';
import {bothNetworks, isLinked, peerIn, startBoth, untilNetwork} from '../e2e/two-lans.ts';
import {growth} from './growth.ts';

const RELOADS = Number(process.env['RELOADS'] ?? 1_000);
/** Readings of what the daemon weighs. */
const READINGS = 20;
const EVERY = RELOADS / READINGS;
const EXIT_CONFIG = 78;
/** Over all readings after the warm-up, by the fitted line: allocators keep what they once had, and pages come and go. */
const MAX_GAIN_KB = 2 * 1024;
/** Agents of closed links, TURN and XMPP say goodbye. */
const SETTLE_MS = 20_000;

const world = worldOf(import.meta.filename, TWO_SITES);

interface Change {
  readonly main?: Record<string, string>;
  readonly stun?: readonly string[];
  readonly turn?: readonly string[];
  /** Of network work; null: it is not there. */
  readonly work?: Partial<NetworkOptions> | null;
  /** The file is wrong: refused. */
  readonly isWrong?: boolean;
}

/** One after another, again and again. After a change of network work or of its tap the next puts it back. */
const CHANGES: readonly Change[] = [
  {},
  {stun: [], turn: []},
  {main: {log_level: 'info'}},
  {main: {name: 'desk'}},
  {work: {options: {bridge: 'none', tap: 'ipop7'}}},
  {},
  {main: {log_level: 'loud'}, isWrong: true},
  {work: null},
  {},
  {work: {options: {bridge: 'br-work', tap: 'ipop1', mtu: '1400'}}},
];

type Options = ReturnType<typeof bothNetworks>;

async function reload(t: ExecutionContext, office: IpopNode, options: Options, change: Change): Promise<void> {
  const {main, work, stun, turn, isWrong} = change;
  const servers = {...(stun ? {stun} : {}), ...(turn ? {turn} : {})};
  const more = work === null ? [] : [{...options.more[0], ...work}];
  office.configure({...options, ...(main ? {main} : {}), ...servers, more});
  const {code, stderr} = await office.ipop('reload');
  if (code !== (isWrong === true ? EXIT_CONFIG : 0)) t.fail(`exit ${code}: ${stderr}`);
}

interface Reading {
  readonly reloads: number;
  readonly rssKb: number;
  readonly threads: number;
  readonly descriptors: number;
}

/** What the daemon weighs with both networks linked, once it has no more threads and descriptors than at first. */
async function read(office: IpopNode, reloads: number, first: Reading | undefined): Promise<Reading> {
  for (const network of ['home', 'work']) await untilNetwork(office, network, 'linked', LINKS_MS, isLinked);
  let now = office.usage();
  const isLight = (): boolean => {
    now = office.usage();
    if (first === undefined) return true;
    if (now.threads <= first.threads && now.descriptors <= first.descriptors) return true;
    throw new Error(`${now.threads} and ${now.descriptors} after ${reloads} reloads`);
  };
  if (first === undefined) await until('rest', SETTLE_MS, () => now.threads === office.usage().threads, 2_000);
  await until(`${first?.threads} threads and ${first?.descriptors} descriptors`, SETTLE_MS, isLight, 50);
  return {reloads, rssKb: now.rssKb, threads: now.threads, descriptors: now.descriptors};
}

labTest(`${RELOADS} reloads leave no thread, no descriptor and no memory behind`, async (t) => {
  t.timeout(60_000 + RELOADS * 2_000);
  const {office, boat} = await startBoth(t, world());
  // Once: each call writes the accounts' files anew, under the server's eyes.
  const options = bothNetworks(world(), 'office');
  const home = (await peerIn(office, 'home')).sinceSec;
  const readings = [await read(office, 0, undefined)];
  const start = performance.now();
  for (let done = 0; done < RELOADS; done++) {
    await reload(t, office, options, CHANGES[done % CHANGES.length]!);
    if ((done + 1) % EVERY !== 0) continue;
    await reload(t, office, options, {});
    const reading = await read(office, done + 1, readings[0]);
    readings.push(reading);
    t.log(`${reading.reloads}: ${reading.rssKb} KB, ${reading.threads} threads, ${reading.descriptors} descriptors`);
  }
  const {slope, gain, first, last} = growth(readings.map(({reloads, rssKb}) => ({x: reloads, y: rssKb})));
  const seconds = (performance.now() - start) / 1000;
  t.log(
    `${RELOADS} reloads in ${seconds.toFixed(0)} s: ${first} KB to ${last} KB, ${(slope * 1024).toFixed(0)} bytes a reload`,
  );
  t.true(gain < MAX_GAIN_KB, `grew by ${gain.toFixed(0)} KB`);
  const after = await peerIn(office, 'home');
  t.true(after.sinceSec >= home + Math.floor(seconds), 'the link of network home was up all the while');
  t.is(boat.proc.ended, undefined);
});
