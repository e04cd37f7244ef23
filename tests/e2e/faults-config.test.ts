// SPDX-License-Identifier: MIT
// Faults of what a person writes: every problem of the configuration is told at once, with its place and what is allowed; exit code 78.
//
//   h1 -- [ office ] masquerade -- [ internet ] -- server host (Prosody, coturn)

import {chmodSync, mkdirSync, readFileSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {run, type RunResult} from '../lab/exec.ts';
import {IPOPD, IpopNode} from '../lab/ipopd.ts';
import {until} from '../lab/wait.ts';
import {labTest, TWO_SITES, worldOf} from './kit.ts';

const EXIT_CONFIG = 78;
const world = worldOf(import.meta.filename, TWO_SITES.slice(0, 1));

/** What ipopd says about a configuration, and its exit code. It has to end by itself. */
async function tell(text: string, ...args: readonly string[]): Promise<RunResult & {file: string}> {
  const file = world().lab.file('wrong-config', text);
  return {
    ...(await world()
      .site('office')
      .router.run([IPOPD, '--config', file, ...args], {timeoutMs: 5_000})),
    file,
  };
}

function lines(t: ExecutionContext, {stderr, code}: RunResult): string[] {
  t.is(code, EXIT_CONFIG);
  return stderr.trimEnd().split('\n');
}

const MAIN = `config ipop 'main'
	option enabled '1'
`;

labTest('every problem of a configuration is told at once, with line, option, value and what is allowed', async (t) => {
  const said = await tell(`config ipop 'main'
	option enabled 'perhaps'
	option log_level 'loud'
	option nmae 'office'

config network 'home'
	option jid 'office.example.org'
	option password 'top-secret'
	option room 'home@conference.example.org'
	option mtu '100'
	option server 'xmpp.example.org:99999'
	list stun 'stun:stun.example.org:0'
	list turn 'turn:user:hidden-word@'
`);
  const got = lines(t, said).map((line) => line.replace(`${said.file}:`, ''));
  t.log(...got);
  const wanted = [
    /^error: 2: .*enabled 'perhaps'.*[01]/,
    /^error: 3: .*log_level 'loud'.*debug, info, warning/,
    /^error: 4: .*nmae.*name/,
    /^error: 7: .*jid 'office\.example\.org'/,
    /^error: 10: .*mtu '100'.*1280.*9000/,
    /^error: 11: .*server 'xmpp\.example\.org:99999'/,
    /^error: 12: .*stun 'stun:stun\.example\.org:0'.*stun:/,
    /^error: 13: .*turn/,
  ];
  t.is(got.length, wanted.length, said.stderr);
  wanted.forEach((pattern, i) => t.regex(got[i] ?? '', pattern));
  t.notRegex(said.stderr, /top-secret|hidden-word/, 'passwords are never shown');
});

labTest('a missing account is told with the section that lacks it', async (t) => {
  const got = lines(t, await tell(`${MAIN}\nconfig network 'home'\n\toption room 'home@conference.example.org'\n`));
  t.log(...got);
  t.true(got.some((line) => /:4: .*home.*jid.*(missing|required|needs)/.test(line)));
  t.true(got.some((line) => /:4: .*home.*password.*(missing|required|needs)/.test(line)));
});

labTest('a quote that is never closed is told with its line', async (t) => {
  const [line = ''] = lines(t, await tell(`${MAIN}\toption name 'office\n`));
  t.log(line);
  t.regex(line, /:3: .*quote/);
});

labTest('a configuration without a network says how to add one', async (t) => {
  const [line = ''] = lines(t, await tell(MAIN));
  t.regex(line, /no network is: add a section config network '<name>'/);
});

labTest('a configuration file that is not there is named', async (t) => {
  const {code, stderr} = await run([IPOPD, '--config', '/nowhere/ipop'], {timeoutMs: 5_000});
  t.is(code, EXIT_CONFIG);
  t.regex(stderr, /^error: cannot read the configuration: .*\/nowhere\/ipop.*\n$/);
});

labTest('ipopd --check finds the same problems, and says so when there are none', async (t) => {
  const {file, stderr, code} = await tell(`${MAIN}\toption log_level 'loud'\n`, '--check');
  t.is(code, EXIT_CONFIG);
  t.regex(stderr, /wrong-config:3: .*log_level 'loud'/);
  const good = await tell(`config ipop 'main'\n\toption enabled '0'\n`, '--check');
  t.deepEqual([good.code, good.stdout], [0, `${file}: good\n`]);
});

labTest('a key that others may read is refused with the remedy, and used once that is followed', async (t) => {
  const account = {jid: world().xmpp.addAccount('office', 'secret'), password: 'secret'};
  const node = new IpopNode(world(), world().site('office'), {
    ...account,
    room: 'key@conference.example.org',
    owner: true,
  });
  node.start();
  await node.proc.waitLog(/node office \([0-9a-f]{8}\)/, 5_000);
  await node.stop();
  const key = join(node.stateDir, 'identity.key');
  t.is(statSync(key).mode & 0o777, 0o600);
  const before = readFileSync(key);
  chmodSync(key, 0o640);
  const mark = node.proc.log().length;
  node.start();
  t.is(await node.proc.waitEnd(5_000), 'exit 1');
  const said = node.proc.log().slice(mark);
  t.log(said.trim());
  t.regex(said, /cannot use this node's key/);
  const remedy = /chmod 0?600 \S+/.exec(said)?.[0] ?? '';
  t.is(remedy.split(' ')[2], key);
  await world().site('office').router.runOk(remedy.split(' '));
  node.start();
  await node.proc.waitLog(/(node office \([0-9a-f]{8}\)[^]*){2}/, 5_000);
  t.deepEqual(readFileSync(key), before);
  await node.stop();
});

labTest('a key that is no key is refused and left as it is', async (t) => {
  const folder = world().lab.folder('broken-state');
  mkdirSync(folder, {recursive: true});
  const key = join(folder, 'identity.key');
  writeFileSync(key, 'not a key', {mode: 0o600});
  const {code, stderr} = await tell(`config ipop 'main'
	option enabled '1'
	option state_dir '${folder}'
	option control '${folder}/ipop.sock'

config network 'home'
	option jid 'office@example.org'
	option password 'secret'
	option room 'home@conference.example.org'
`);
  t.log(stderr.trim());
  t.is(code, 1);
  t.regex(stderr, /cannot use this node's key: .*identity\.key/);
  t.is(readFileSync(key, 'utf8'), 'not a key');
});

labTest('a second daemon with the same control socket says that one runs already', async (t) => {
  const account = {jid: world().xmpp.addAccount('office', 'secret'), password: 'secret'};
  const node = new IpopNode(world(), world().site('office'), {
    ...account,
    room: 'twice@conference.example.org',
    owner: true,
  });
  node.start();
  await until('the first one to answer', 5_000, async () => (await node.status()) !== undefined);
  const second = await world().site('office').router.run([IPOPD, '--config', node.configFile], {timeoutMs: 5_000});
  t.log(second.stderr.trim());
  t.is(second.code, 1);
  t.regex(second.stderr, /ipop\.sock.*(in use|already)/i);
  t.is((await node.status())?.node.name, 'office', 'the first one goes on');
  await node.stop();
});
