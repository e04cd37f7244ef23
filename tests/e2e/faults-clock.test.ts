// SPDX-License-Identifier: MIT
// A wall clock that jumps under running nodes: nothing but the validity of certificates goes by it. libfaketime moves it; the
// monotonic clock, which no machine sets, stays as it is.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- masquerade [ boat ] -- h1            the fault: the clock of a router
//                                       |
//                        server host (Prosody, coturn)

import {existsSync, readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {groupOf, IpopNode} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {endWith, healthItem, labTest, networkOf, startAll, timesUp, TWO_SITES, untilStatus, worldOf} from './kit.ts';
import {PingStream} from './ping-stream.ts';

const world = worldOf(import.meta.filename, TWO_SITES);
const JUMPS = ['+1h', '+26h', '-50h', '+0', '-3h', '+400h'] as const;
const ONLINE_MS = 15_000;
/** Two such nodes at rest use a hundredth of it. */
const BUSY_MS = 1_500;

/** The library for programs with threads; its folder is named after the machine. */
function libfaketime(): string {
  const found = readdirSync('/usr/lib')
    .map((machine) => join('/usr/lib', machine, 'faketime/libfaketimeMT.so.1'))
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('libfaketime is missing: run scripts/setup');
  return found;
}

/** A node whose wall clock follows `set`. */
class ClockNode extends IpopNode {
  readonly #file: string;

  static of(node: IpopNode): ClockNode {
    const file = world().lab.file(`${node.name}-clock`, '+0\n');
    const env = {
      LD_PRELOAD: libfaketime(),
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      DONT_FAKE_MONOTONIC: '1',
    };
    return new ClockNode(node, file, env);
  }

  private constructor(node: IpopNode, file: string, env: Readonly<Record<string, string>>) {
    super(node.world, node.site, {...node.options, env});
    this.#file = file;
  }

  /** Moves its clock, against the true one ("+26h", "-10y"). */
  set(offset: string): void {
    writeFileSync(this.#file, `${offset}\n`);
  }
}

function group(t: ExecutionContext, room: string): readonly [ClockNode, ClockNode] {
  const nodes = groupOf(world(), `${room}@conference.example.org`).map((node) => ClockNode.of(node));
  return endWith(t, nodes) as unknown as readonly [ClockNode, ClockNode];
}

/** What the log says more than it did: lines of at least level info. */
function news(node: IpopNode, mark: number): string[] {
  return node.proc
    .log()
    .slice(mark)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('debug'));
}

labTest(
  'clocks that jump by hours, both ways and apart, are not noticed by links, XMPP, pings or timers',
  async (t) => {
    const nodes = group(t, 'jumps');
    const [office, boat] = nodes;
    await startAll(nodes);
    const stream = await PingStream.start(office.site.hosts[0]!.ns, boat.site.hosts[0]!.address);
    await stream.answers(20, 10_000);
    const marks = nodes.map((node) => node.proc.log().length);
    const before = nodes.map((node) => node.usage().cpuMs);
    for (const [i, jump] of JUMPS.entries()) {
      office.set(jump);
      boat.set(JUMPS[(i + 3) % JUMPS.length]!);
      await stream.answers(15, 10_000);
    }
    for (const [i, node] of nodes.entries()) {
      t.deepEqual(news(node, marks[i]!), [], 'nothing happened');
      const network = await networkOf(node);
      t.is(network.xmpp.state, 'online');
      t.true(network.peers[0]!.sinceSec >= 0 && network.peers[0]!.sinceSec < 60, 'spans are not of the wall clock');
      t.is(timesUp(node), 1);
      const cpuMs = node.usage().cpuMs - before[i]!;
      t.true(cpuMs < BUSY_MS, `${cpuMs} ms of CPU in ${JUMPS.length} jumps`);
    }
    t.log(await stream.stop());
  },
);

labTest('a certificate is judged by the new clock at the next connection, and links outlive the refusal', async (t) => {
  const nodes = group(t, 'judged');
  const [office, boat] = nodes;
  await startAll(nodes);
  const ups = nodes.map(timesUp);
  office.set('-10y');
  boat.set('+10y');
  await world().xmpp.proc.kill();
  await world().xmpp.start();
  const [early, late] = await Promise.all([
    untilStatus(office, 'clock-wrong', ONLINE_MS, (_, status) => healthItem(status, 'clock-wrong') !== undefined),
    untilStatus(
      boat,
      'xmpp-certificate',
      ONLINE_MS,
      (_, status) => healthItem(status, 'xmpp-certificate') !== undefined,
    ),
  ]);
  t.log(healthItem(early.status, 'clock-wrong')?.text);
  t.log(healthItem(late.status, 'xmpp-certificate')?.text);
  t.regex(
    healthItem(early.status, 'clock-wrong')?.text ?? '',
    /not valid (yet|before).*waiting for this machine's clock/,
  );
  t.regex(healthItem(late.status, 'xmpp-certificate')?.text ?? '', /expired.*this machine's clock/);
  office.set('+0');
  await untilStatus(office, 'online', ONLINE_MS, ({xmpp}) => xmpp.state === 'online');
  t.deepEqual(nodes.map(timesUp), ups, 'no link was made anew');
  await until('both links up', 1_000, async () => {
    return (await Promise.all(nodes.map(networkOf))).every(({peers}) => peers[0]?.state === 'up');
  });
});
