// SPDX-License-Identifier: MIT
// Two hands at one bridge: ipopd, which puts its tap in, and netifd, which was handed the tap. Played here is what netifd does to a device
// that it is handed, and when its bridge is made anew: clears the device's state (down, out of the bridge), puts it in, sets it up.

import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {runSync} from '../lab/exec.ts';
import {until} from '../lab/wait.ts';
import {DIST, obstacle, rootTest, temporaryFolder} from './kit.ts';
import {Started} from './started.ts';

const folder = temporaryFolder();
const netns = `ipop-package-${process.pid}`;
const inside = (...argv: readonly string[]): string => runSync(['ip', 'netns', 'exec', netns, ...argv]);
const ip = (line: string): string => runSync(['ip', '-n', netns, ...line.split(' ')]);

test.before(() => {
  if (obstacle !== undefined) return;
  runSync(['ip', 'netns', 'add', netns]);
  ip('link add br-lan type bridge');
  ip('link set br-lan up');
  writeFileSync(
    join(folder, 'config'),
    `config ipop 'main'
	option enabled '1'
	option state_dir '${folder}/state'
	option control '${folder}/sock'

config network 'home'
	option jid 'office@example.org'
	option password 'secret'
	option room 'home@conference.example.org'
`,
  );
});

test.after.always(() => {
  if (obstacle === undefined) runSync(['ip', 'netns', 'del', netns]);
});

/** The tap's bridge and whether it is up, as the kernel has them. */
function tap(): string {
  const text = ip('-o link show ipop0');
  return `${/master (\S+)/.exec(text)?.[1] ?? 'none'} ${/<[^>]*\bUP\b/.test(text) ? 'up' : 'down'}`;
}

/** Whether ipopd says it is in its bridge. */
function joined(): boolean {
  // Exit code 1: no link is up.
  const text = inside('sh', '-c', `${join(DIST, 'ipop')} --socket ${folder}/sock status || true`);
  return /bridge br-lan {2}/.test(text);
}

rootTest('a tap that netifd takes over again and again ends in its bridge, up, and ipopd knows', async (t) => {
  const daemon = new Started(['ip', 'netns', 'exec', netns, join(DIST, 'ipopd'), '--config', join(folder, 'config')]);
  t.teardown(() => daemon.kill());
  await daemon.said(/tap ipop0 is in bridge br-lan/);
  for (let round = 0; round < 30; round++) {
    for (const step of ['down', 'nomaster', 'master br-lan', 'up']) ip(`link set ipop0 ${step}`);
    t.is(tap(), 'br-lan up', `round ${round}`);
  }
  t.true(await until('ipopd to say that it is in the bridge', 5_000, () => joined()));

  ip('link del br-lan');
  t.true(await until('ipopd to say that its bridge is gone', 5_000, () => !joined()));
  ip('link add br-lan type bridge');
  for (const step of ['down', 'nomaster', 'master br-lan', 'up']) ip(`link set ipop0 ${step}`);
  ip('link set br-lan up');
  t.true(await until('ipopd to say that it is in the new bridge', 5_000, () => joined()));
  t.is(tap(), 'br-lan up');
  t.is(await daemon.end(), 0);
  t.notRegex(ip('-o link'), /ipop0/);
});
