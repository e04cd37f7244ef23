// SPDX-License-Identifier: MIT
import {readFileSync} from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import {readConfig, type Config, type Problem} from '../../../src/uci/config.ts';
import {SECTIONS} from '../../../src/uci/schema.ts';

const HEAD = "config ipop 'main'\n\toption enabled '1'\n";
const HOME =
  "config network 'home'\n\toption jid 'office@example.org'\n\toption password 'secret'\n\toption room 'home@conference.example.org'\n";

function good(text: string): Config {
  const result = readConfig(text, 'f', {hostName: 'router'});
  if ('problems' in result) throw new Error(result.problems.map((problem) => problem.text).join('\n'));
  return result.ok;
}

function problems(text: string): readonly Problem[] {
  const result = readConfig(text, 'f', {hostName: 'router'});
  return 'problems' in result ? result.problems : [];
}

const texts = (text: string): string[] => problems(text).map((problem) => problem.text);

test('the least there must be gives a network with all defaults', (t) => {
  t.deepEqual(good(HEAD + HOME), {
    enabled: true,
    name: 'router',
    stateDir: '/etc/ipop',
    controlSocket: '/var/run/ipop.sock',
    logLevel: 'info',
    networks: [
      {
        network: 'home',
        account: {
          jid: 'office@example.org',
          password: 'secret',
          server: undefined,
          tls: 'auto',
          caFile: undefined,
          pin: undefined,
        },
        room: {jid: 'home@conference.example.org', owner: false, members: []},
        bridge: {name: 'br-lan', tap: 'ipop0', mtuBytes: 1500},
        carriage: 'auto',
        shape: {upKbit: 0, downKbit: 0, dscp: 0},
        stun: [],
        turn: [],
      },
    ],
  });
});

test('all options are taken as written, servers with their default ports', (t) => {
  const {networks, ...main} = good(
    `${HEAD}option name 'Büro'\noption state_dir /srv/ipop\noption control /tmp/c\noption log_level debug\n${HOME}` +
      `option server 'xmpp.example.net'\noption tls starttls\noption pin 'sha256:${'AB:'.repeat(31)}aB'\noption ca_file '/etc/ca.pem'\noption owner yes\nlist member 'Cabin@Example.org'\nlist member 'boat@example.org'\n` +
      `option bridge 'none'\noption tap lan7\noption mtu 9000\noption up_kbit 900\noption down_kbit '14000'\noption dscp AF11\nlist stun 'stun.example.org'\nlist stun 'stun:192.0.2.1:99'\nlist turn 'turn:u%40x:p@[2001:db8::1]'\n`,
  );
  t.deepEqual(main, {enabled: true, name: 'Büro', stateDir: '/srv/ipop', controlSocket: '/tmp/c', logLevel: 'debug'});
  const [network] = networks;
  t.like(network?.account, {
    server: {host: 'xmpp.example.net', port: undefined},
    tls: 'starttls',
    caFile: '/etc/ca.pem',
    pin: 'ab'.repeat(32),
  });
  t.deepEqual(network?.room.members, ['cabin@example.org', 'boat@example.org']);
  t.true(network?.room.owner);
  t.deepEqual(network?.bridge, {name: undefined, tap: 'lan7', mtuBytes: 9000});
  t.deepEqual(network?.shape, {upKbit: 900, downKbit: 14000, dscp: 10});
  t.deepEqual(network?.stun, ['stun:stun.example.org:3478', 'stun:192.0.2.1:99']);
  t.deepEqual(network?.turn, ['turn:u%40x:p@[2001:db8::1]:3478']);
});

test('an empty file is a node that is not enabled', (t) => {
  t.like(good(''), {enabled: false, networks: []});
});

test('the sample file that is installed is good, not enabled, and good too with its comments made options', (t) => {
  const sample = readFileSync(new URL('../../../openwrt/files/etc/config/ipop', import.meta.url), 'utf8');
  t.like(good(sample), {enabled: false, networks: []});
  const full = good(sample.replace(/^#(?=\s*(option|list|config))/gm, '').replace("enabled '0'", "enabled '1'"));
  t.like(full, {enabled: true, name: 'office'});
  t.is(full.networks.length, 1);
});

test('every problem is told at once, in the order of lines, with place, value and what is allowed', (t) => {
  t.deepEqual(
    texts(
      `${HEAD}config network 'home'\n\toption jid 'office'\n\toption mtu '99'\n\toption passwrd 'x'\n\toption tap 'much-too-long-name'\n`,
    ),
    [
      "f:3: section network 'home', option password is missing; it must be text of at most 1024 characters, without line breaks",
      "f:3: section network 'home', option room is missing; it must be a JID without resource, as name@example.org",
      "f:4: section network 'home', option jid 'office' is not allowed; it must be a JID without resource, as name@example.org",
      "f:5: section network 'home', option mtu '99' is not allowed; it must be a whole number from 1280 to 9000",
      "f:6: section network 'home', option passwrd is not known; did you mean password?",
      "f:7: section network 'home', option tap 'much-too-long-name' is not allowed; it must be a name of an interface: at most 15 characters, without blanks, / and :",
    ],
  );
});

test('a problem has its parts for programs', (t) => {
  t.like(problems(`${HEAD}${HOME}option mtu 99\n`)[0], {
    file: 'f',
    line: 7,
    section: "network 'home'",
    option: 'mtu',
    value: '99',
  });
});

test('a file that cannot be read as UCI is one problem with its line', (t) => {
  t.deepEqual(texts(`${HEAD}config network a-b`), [
    "f:3: 'a-b' is no name for a section: only letters, digits and _ may be in it",
  ]);
});

test('secrets are not repeated in problems', (t) => {
  const all = problems(`${HEAD}${HOME}option password 'hunter2\n'\nlist turn 'turn:user:hunter2'\n`);
  t.is(all.length, 2);
  t.false(JSON.stringify(all).includes('hunter2'));
});

test('unknown and misnamed sections are told, with a guess where there is one', (t) => {
  t.deepEqual(texts('config netwrok x\n'), ["f:1: section netwrok 'x' is no type of section; did you mean network?"]);
  t.deepEqual(texts('config wireless x\n'), [
    "f:1: section wireless 'x' is no type of section; there are ipop, network",
  ]);
  t.deepEqual(texts('config ipop other\n'), ["f:1: section ipop 'other' must be named 'main': config ipop 'main'"]);
  t.regex(texts('config network\n')[0] ?? '', /^f:1: section network needs a name/);
  t.regex(texts('config network Home\n')[0] ?? '', /^f:1: section network 'Home' needs a name of small letters/);
});

test('enabled without a network says so', (t) => {
  t.deepEqual(texts(HEAD), ["f:1: ipop is enabled, but no network is: add a section config network '<name>'"]);
  t.deepEqual(texts(`${HEAD}${HOME}option enabled 0\n`), [
    "f:1: ipop is enabled, but no network is: add a section config network '<name>'",
  ]);
});

test('what is not enabled may be incomplete, but not wrong', (t) => {
  t.deepEqual(good("config network 'home'\n").networks, []);
  const begun = (name: string): string =>
    `config network '${name}'\n\toption jid '${name}@example.org'\n\toption tap '${name}'\n`;
  t.deepEqual(good(begun('a') + begun('b')).networks, [], 'two that have no room yet do not share it');
  t.deepEqual(good(`${HEAD}${HOME}config network 'b'\n\toption enabled '0'\n`).networks.length, 1);
  t.is(texts(`${HEAD}${HOME}config network 'b'\n\toption enabled '0'\n\toption mtu 1\n`).length, 1);
});

test('two networks need a tap, an account and a room each', (t) => {
  t.deepEqual(texts(HEAD + HOME + HOME.replace('home', 'work')), [
    "f:7: section network 'work', option tap 'ipop0' is the tap of network 'home' too",
    "f:7: section network 'work', option jid 'office@example.org' is the account of network 'home' too",
    "f:7: section network 'work', option room 'home@conference.example.org' is the room of network 'home' too",
  ]);
});

test('a list where one value is meant is refused, an option where a list is meant is a list of one', (t) => {
  t.deepEqual(texts(`${HEAD}${HOME}list mtu 1500\nlist mtu 1400\n`), [
    "f:7: section network 'home', option mtu has 2 values; one is allowed",
  ]);
  t.deepEqual(good(`${HEAD}${HOME}option stun s.example.org\n`).networks[0]?.stun, ['stun:s.example.org:3478']);
  const many = Array.from({length: 5}, (_, i) => `list stun s${i}.example.org\n`).join('');
  t.deepEqual(texts(HEAD + HOME + many), [
    "f:7: section network 'home', option stun has 5 items; at most 4 are allowed",
  ]);
});

test('hosts, ports, addresses and names are checked', (t) => {
  const reads = (option: string, value: string): boolean =>
    texts(`${HEAD}${HOME}option ${option} '${value}'\n`).length === 0;
  for (const value of ['a', 'a.b:1', 'a:65535', '192.0.2.1', '[::1]', '[2001:db8::1]:5223'])
    t.true(reads('server', value), value);
  for (const value of ['a:0', 'a:65536', 'a:', ':5', '::1', '[a]', 'a b', 'a..b', '-a', 'a/b', '[::1'])
    t.false(reads('server', value), value);
  for (const value of [`sha256:${'0a'.repeat(32)}`, `sha256:${'0A:'.repeat(31)}ff`]) t.true(reads('pin', value), value);
  for (const value of [
    '0a'.repeat(32),
    'sha256:0a',
    `sha256:${'0a'.repeat(33)}`,
    `sha1:${'0a'.repeat(32)}`,
    `sha256:${'0g'.repeat(32)}`,
  ])
    t.false(reads('pin', value), value);
  for (const value of ['turn:u:p@h', 'turn:u%3A:p%25@h:1']) t.true(reads('turn', value), value);
  for (const value of ['turn:u@h', 'turn:u:p:q@h', 'turn:u:p%4@h', 'u:p@h', 'turn::p@h', 'turn:u:\x1b@h'])
    t.false(reads('turn', value), value);
  for (const value of ['a@b/c', '@b', 'a@', 'a b@c', 'a@b@c', 'b', '\x01a@b', 'a\x7f@b'])
    t.false(reads('jid', value), value);
  for (const value of ['etc', '/a/', '/', '//a', '/a\tb']) t.false(reads('ca_file', value), value);
  for (const value of ['.', '..', 'a/b', 'a:b', 'a b', 'sixteen-letters-']) t.false(reads('tap', value), value);
  for (const value of ['1279', '9001', '1e3', '+1500', '0x600']) t.false(reads('mtu', value), value);
  for (const value of ['maybe', 'TRUE', '2']) t.false(reads('owner', value), value);
});

test('every default is itself allowed, and every option says what it is for', (t) => {
  for (const {options} of SECTIONS) {
    for (const [name, {fallback, value, help, required}] of Object.entries(options)) {
      if (fallback !== undefined) t.not(value.parse(fallback), undefined, name);
      t.regex(name, /^[a-z][a-z0-9_]*$/);
      t.false(required && fallback !== undefined);
      t.regex(help, /\.$/);
    }
  }
});

test('any values at all give a configuration or problems, never an exception', (t) => {
  const names = SECTIONS.flatMap(({options}) => Object.keys(options));
  const line = fc.tuple(fc.constantFrom('option', 'list'), fc.constantFrom(...names), fc.string({unit: 'binary'}));
  fc.assert(
    fc.property(fc.array(line, {maxLength: 12}), (lines) => {
      const body = lines.map(([kind, name, value]) => `${kind} ${name} '${value.replaceAll("'", '')}'\n`).join('');
      const result = readConfig(`${HEAD}${HOME}${body}`, 'f', {hostName: ''});
      t.true('ok' in result || result.problems.length > 0);
    }),
  );
});
