// SPDX-License-Identifier: MIT
import test from 'ava';
import {type Config, readConfig} from '../../../src/uci/config.ts';
import {describeDiff, diffConfig} from '../../../src/uci/diff.ts';

const MAIN = `config ipop 'main'
	option enabled '1'
	option name 'office'
`;
const HOME = `config network 'home'
	option jid 'a@example.org'
	option password 'secret'
	option room 'home@rooms.example.org'
	option owner '1'
	list member 'b@example.org'
	list stun 'stun.example.org'
`;
const CABIN = HOME.replace('a@', 'c@').replaceAll('home', 'cabin').concat("\toption tap 'ipop1'\n");

function read(text: string): Config {
  const result = readConfig(text, 'ipop', {hostName: 'host'});
  if ('problems' in result) throw new Error(result.problems.map((problem) => problem.text).join('\n'));
  return result.ok;
}

/** The lines that a reload from one text to the other says. */
function said(was: string, is: string): string[] {
  return describeDiff(diffConfig(read(was), read(is)), read(is));
}

test('the same configuration, however it is written, is no change', (t) => {
  t.deepEqual(said(MAIN + HOME, `# a comment\n${MAIN}\n\n${HOME.replaceAll("'", '"')}`), []);
  t.deepEqual(said(MAIN + HOME + CABIN, MAIN + CABIN + HOME), [], 'networks have no order');
  const {removed, added, changed} = diffConfig(read(MAIN + HOME), read(MAIN + HOME));
  t.deepEqual([removed, added, changed], [[], [], []]);
});

for (const [what, from, to, parts] of [
  ['password', "'secret'", "'other'", ['account']],
  ['server', '\toption password', "\toption server 'x.example.org'\n\toption password", ['account']],
  ['account', 'a@', 'z@', ['account']],
  ['owner', "owner '1'", "owner '0'", ['account']],
  ['room', 'home@', 'den@', ['room']],
  ['member', 'b@', 'z@', ['members']],
  ['stun', 'stun.example.org', 'stun.example.net', ['servers']],
  ['up_kbit', '\toption password', "\toption up_kbit '1000'\n\toption password", ['shape']],
  ['dscp', '\toption password', "\toption dscp 'cs1'\n\toption password", ['shape']],
  ['bridge', '\toption password', "\toption bridge 'br-x'\n\toption password", ['bridge']],
  ['tap', '\toption password', "\toption tap 'ipop7'\n\toption password", ['bridge']],
  ['mtu', '\toption password', "\toption mtu '1400'\n\toption password", ['bridge']],
] as const) {
  test(`another ${what} changes ${parts.join()} and nothing else`, (t) => {
    const diff = diffConfig(read(MAIN + HOME + CABIN), read(MAIN + HOME.replace(from, to) + CABIN));
    t.deepEqual(
      diff.changed.map(({is, parts}) => [is.network, [...parts]]),
      [['home', [...parts]]],
    );
    t.deepEqual([diff.removed, diff.added, diff.logLevel, diff.name, diff.needRestart], [[], [], false, false, []]);
  });
}

test('networks come and go by the name of their section, also by `enabled`', (t) => {
  t.deepEqual(said(MAIN + HOME, MAIN + HOME + CABIN), ["network 'cabin': added"]);
  t.deepEqual(said(MAIN + HOME + CABIN, MAIN + HOME), ["network 'cabin': removed"]);
  t.deepEqual(said(MAIN + HOME, MAIN + HOME.replace("network 'home'", "network 'den'")), [
    "network 'home': removed",
    "network 'den': added",
  ]);
  t.deepEqual(said(MAIN + HOME + CABIN, `${MAIN + HOME + CABIN}\toption enabled '0'\n`), ["network 'cabin': removed"]);
});

test('log level and name count at once, folder of the state and control socket only after a restart', (t) => {
  const is = MAIN.replace('office', 'den').concat(
    "\toption log_level 'debug'\n\toption state_dir '/x'\n\toption control '/y'\n",
  );
  t.deepEqual(said(MAIN + HOME, is + HOME), [
    'log_level: debug',
    'name: den; peers learn it with the next link',
    'state_dir: changed, but counts only after a restart of ipopd',
    'control: changed, but counts only after a restart of ipopd',
  ]);
});

test('members are counted, and who is no longer listed is told to be one still', (t) => {
  const more = HOME.replace(
    "\tlist member 'b@example.org'",
    "\tlist member 'y@example.org'\n\tlist member 'z@example.org'",
  );
  t.deepEqual(said(MAIN + HOME, MAIN + more), [
    "network 'home': member: 2 added; 1 no longer listed, but still members on the server",
  ]);
});

test('a disabled ipop stops, whatever else changed', (t) => {
  t.deepEqual(said(MAIN + HOME, MAIN.replace("'1'", "'0'") + CABIN), [
    "ipop is disabled in section 'main': ipopd stops",
  ]);
});

test('passwords are in no line', (t) => {
  const turn = "\tlist turn 'turn:user:hidden@turn.example.org'\n";
  const lines = said(MAIN + HOME, MAIN + HOME.replace("'secret'", "'top-secret'") + turn);
  t.is(lines.length, 2);
  t.notRegex(lines.join(), /secret|hidden/);
});
