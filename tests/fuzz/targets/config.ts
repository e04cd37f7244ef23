// SPDX-License-Identifier: MIT
// /etc/config/ipop: either every problem, with its line and without secrets, or values that the rest of the program may trust.

import {diffConfig} from '../../../src/uci/diff.ts';
import {readConfig, type Config, type Problem} from '../../../src/uci/config.ts';
import {parseUci} from '../../../src/uci/parse.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';

const network = `config network 'home'
	option jid 'a@example.org'
	option password 'secret'
	option room 'r@conference.example.org'
`;

export const target: Target = {
  seeds: [
    "config ipop main\n\toption name 'x'\n",
    `config ipop 'main'\n\toption enabled '1'\n\n${network}`,
    `config ipop main\n\toption enabled on\n\toption name 'x'\n\toption state_dir '/a/b'\n\toption control '/c'\n\toption log_level debug\n${network}
	option server '[2001:db8::1]:5222'\n	option tls 'starttls'\n	option pin 'sha256:${'ab:'.repeat(31)}ab'\n	option ca_file '/etc/ca.pem'
	option owner '1'\n	list member 'b@example.org'\n	option bridge 'none'\n	option tap 'ipop0'\n	option mtu '1400'
	list stun 'stun:stun.example.org'\n	list turn 'turn:u%40:p@turn.example.org:3479'\n`,
    `config network 'a'\n\toption enabled 0\n\toption passwrd 'x'\n${network}${network.replace('home', 'b')}`,
  ],
  words: [
    'config network ',
    'config ipop ',
    '\toption ',
    '\tlist ',
    'member',
    'turn',
    '@example.org',
    'sha256:',
    '%40',
  ],
  check(data) {
    const text = Buffer.from(data).toString();
    const read = readConfig(text, 'file', {hostName: 'host'});
    if ('problems' in read) return checkProblems(read.problems, text);
    checkValues(read.ok);
    const {removed, added, changed, logLevel, name, enabled, needRestart} = diffConfig(read.ok, read.ok);
    equal([removed, added, changed, logLevel, name, enabled, needRestart], [[], [], [], false, false, false, []]);
  },
};

function checkProblems(problems: readonly Problem[], text: string): void {
  const lines = text.split('\n').length;
  holds(problems.length > 0, 'refused without a problem');
  const secrets = problems.some(({option}) => option !== undefined) ? secretsOf(text) : new Map<number, string>();
  for (const {line, text: sentence, option, value} of problems) {
    holds(line >= 1 && line <= lines, `line ${line} of ${lines}`);
    holds(sentence.startsWith(`file:${line}: `), sentence);
    holds(!['password', 'turn'].includes(option ?? '') || value === undefined, `shows a secret: ${sentence}`);
    const secret = secrets.get(line);
    holds(secret === undefined || !sentence.includes(secret), `shows the password: ${sentence}`);
  }
}

/** Passwords that no sentence holds by chance, by the line they stand in. */
function secretsOf(text: string): Map<number, string> {
  const options = parseUci(text, 'file').flatMap((section) => section.options);
  const secrets = options.filter(({name, values}) => name === 'password' && (values[0] ?? '').length > 8);
  return new Map(secrets.map(({line, values}) => [line, values[0] ?? '']));
}

function checkValues({networks, name, controlSocket, stateDir}: Config): void {
  // In a list too, where one line is one item.
  const clean = (value: string): boolean => !/[\x00-\x1f\x7f]/.test(value);
  holds(
    [name, controlSocket, stateDir].every((value) => value !== '' && clean(value)),
    'a control character',
  );
  equal(new Set(networks.map(({bridge}) => bridge.tap)).size, networks.length, 'two networks on one tap');
  equal(new Set(networks.map(({account}) => account.jid)).size, networks.length, 'two networks with one account');
  equal(new Set(networks.map(({room}) => room.jid)).size, networks.length, 'two networks in one room');
  for (const {network: id, account, room, bridge, stun, turn} of networks) {
    holds(/^[a-z0-9_]+$/.test(id), id);
    const {jid, password, server} = account;
    for (const value of [jid, password, room.jid, ...room.members, bridge.tap, ...stun, ...turn]) {
      holds(typeof value === 'string' && value !== '' && clean(value), `a value of network ${id}: ${value}`);
    }
    for (const one of [jid, room.jid, ...room.members]) equal(one.split('@').length, 2, one);
    holds(server?.port === undefined || (server.port >= 1 && server.port <= 65535), `port ${server?.port}`);
    holds(account.pin === undefined || /^[0-9a-f]{64}$/.test(account.pin), `${account.pin}`);
    holds(bridge.mtuBytes >= 1280 && bridge.mtuBytes <= 9000, `${bridge.mtuBytes}`);
    holds(/^[^\s/:]{1,15}$/.test(bridge.tap), bridge.tap);
    for (const one of stun) holds(/^stun:[^\s]+:\d+$/.test(one), one);
    for (const one of turn) holds(/^turn:[^\s:@/]+:[^\s:@/]+@[^\s]+:\d+$/.test(one), one);
  }
}
