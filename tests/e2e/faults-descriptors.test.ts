// SPDX-License-Identifier: MIT
// Out of file descriptors: the limit of a running daemon is lowered under it. It says so, stays, and comes back when there are some again.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            the fault: at office
//                                       |
//                        server host (Prosody, coturn)

import {readdirSync} from 'node:fs';
import {runOk} from '../lab/exec.ts';
import {groupOf, type IpopNode} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {allLinked, endWith, healthItem, labTest, startAll, TWO_SITES, untilStatus, worldOf} from './kit.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
const WITHOUT_MS = 25_000;
/** At rest a node uses a hundredth of it. */
const BUSY_SHARE = 0.1;

/** The soft limit; what is open stays. */
async function limit(node: IpopNode, count: number): Promise<void> {
  await runOk(['prlimit', `--pid=${node.proc.pid}`, `--nofile=${count}:`]);
}

labTest('a daemon without descriptors says so when asked, and makes its link when there are some again', async (t) => {
  const nodes = endWith(t, groupOf(world(), 'few@conference.example.org')) as readonly IpopNode[];
  const [office, boat] = nodes as [IpopNode, IpopNode];
  await startAll(nodes);
  const highest = Math.max(...readdirSync(`/proc/${office.proc.pid}/fd`).map(Number));
  await limit(office, Math.min(highest + 1, office.usage().descriptors));
  const {status} = await untilStatus(office, 'few descriptors', 10_000, (_, {health}) =>
    health.some(({code}) => code === 'few-descriptors'),
  );
  t.log(healthItem(status, 'few-descriptors')?.text);
  t.regex(healthItem(status, 'few-descriptors')?.text ?? '', /file descriptors? of \d+ .*raise the limit/);
  t.is(status.networks[0]?.peers[0]?.state, 'up', 'what is there goes on');
  t.is((await office.ipop('status')).code, 2);

  // Nothing can be opened at all: not even the reserve's number.
  await limit(office, 3);
  const [mark, began, used] = [office.proc.log().length, performance.now(), office.usage().cpuMs];
  const news = (): string => office.proc.log().slice(mark);
  await boat.stop();
  await until('the link to be gone', WITHOUT_MS, () => /link: boat .*-> idle: peer is offline/.test(news()));
  boat.start();
  await until('a try without descriptors', WITHOUT_MS, () =>
    /peer is offline[^]*link: boat .*-> backoff: /.test(news()),
  );
  await world().xmpp.proc.kill();
  await world().xmpp.start();
  await until('words about it in the log', WITHOUT_MS, () => /home xmpp: .*Too many open files/.test(news()));
  await until('the reason in the log', WITHOUT_MS, () => /warning: daemon: .*raise the limit/.test(office.proc.log()));
  const share = (office.usage().cpuMs - used) / (performance.now() - began);
  t.true(share < BUSY_SHARE, `${Math.round(share * 100)} % of a CPU without descriptors`);
  t.notRegex(news(), /uncaught/);

  await limit(office, 1024);
  await allLinked(nodes);
  const after = await untilStatus(office, 'well', 10_000, (_, {health}) =>
    health.every(({severity}) => severity !== 'error'),
  );
  t.is(healthItem(after.status, 'few-descriptors'), undefined);
  await until('the end of it in the log', 10_000, async () => {
    await office.status();
    return /info: daemon: there are file descriptors again/.test(news());
  });
});
