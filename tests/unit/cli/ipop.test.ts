// SPDX-License-Identifier: MIT
import test from 'ava';
import {type CliDeps, runCli} from '../../../src/cli/ipop.ts';
import {bytesText, durationText, ordinal, printable, table} from '../../../src/cli/table.ts';
import {answerRequest, type ReloadResult} from '../../../src/status/control.ts';
import {buildStatus} from '../../../src/status/snapshot.ts';
import type {FdbEntryStatus, Status} from '../../../src/status/types.ts';
import {healthyParts, peerPart, withPeers} from '../status/parts.ts';

const BOAT = peerPart('boat', 3, {
  state: 'backoff',
  attempts: 3,
  retryInSec: 4,
  sinceSec: 1,
  error: {code: 'checking-timeout', text: 'No path to the peer worked within 10 s', agoSec: 1},
});

test('status is a header, aligned peers and problems', (t) => {
  const relay = {kind: 'relay', local: '203.0.113.9:50000', remote: '203.0.113.9:50002', carriage: 'srtp'} as const;
  const parts = withPeers([peerPart('cabin', 1), BOAT, peerPart('parents', 2, {path: relay, sinceSec: 754})]);
  const run = cli(['status'], buildStatus(parts));
  t.is(
    run.out,
    [
      'ipop 0.1.0  network home  node office (00000000)  up 3 h  bridge br-lan  tap ipop0 mtu 1500  xmpp online (office@example.org)',
      'PEER               STATE           PATH                        CARRIAGE   RX       TX       MACS   SINCE',
      'cabin 11111111     up              direct 198.51.100.7:41022   srtp       1.2 GB   310 MB   14     2 h 55 m',
      'boat 33333333      backoff (3rd)   -                           -          -        -        -      retry in 4 s: No path to the peer worked within 10 s',
      'parents 22222222   up              relay 203.0.113.9:50002     srtp       1.2 GB   310 MB   14     12 m',
      'kept from crossing: 12 DHCP',
      '! peer-down   boat (33333333) is in the room but not linked (backoff) after 3 tries: No path to the peer worked within 10 s; next try in 4 s',
      '! relay-in-use   parents (22222222): no direct path worked (usually a NAT that takes a new port for each destination), traffic passes relay 203.0.113.9:50000 - 203.0.113.9:50002: open UDP at one end for a direct one',
      '',
    ].join('\n'),
  );
  t.is(run.code, 2);
});

test('a link that moves says so, and why', (t) => {
  const moving = 'the link goes by a relay, a direct path is wanted';
  const {out} = cli(['status'], buildStatus(withPeers([peerPart('cabin', 1, {moving})])));
  t.regex(out, /cabin 11111111 +up, moving +direct/);
  t.regex(out, /^cabin is moving to a new path: the link goes by a relay, a direct path is wanted$/m);
});

test('status --json is the daemon’s status', (t) => {
  const status = buildStatus(healthyParts());
  const run = cli(['status', '--json'], status);
  t.deepEqual(JSON.parse(run.out), JSON.parse(JSON.stringify(status)));
  t.is(run.code, 0);
});

test('a peer’s name cannot steer the terminal', (t) => {
  const run = cli(['status'], buildStatus(withPeers([peerPart(`\u001b[2J\u202eevil\n${'x'.repeat(500)}`, 1)])));
  t.notRegex(run.out, /[\u001b\u202e]/);
  t.true(run.out.split('\n').every((line) => line.length < 200));
});

test('fdb lists addresses', (t) => {
  const fdb = [
    {network: 'home', vlan: 0, mac: '02:00:00:00:00:01', port: 'lan', ageSec: 3},
    {network: 'home', vlan: 20, mac: '02:00:00:00:00:02', port: 'cabin', ageSec: 75},
  ];
  t.is(
    cli(['fdb'], undefined, fdb).out,
    [
      'NETWORK   VLAN   MAC                 PORT    AGE',
      'home      -      02:00:00:00:00:01   lan     3 s',
      'home      20     02:00:00:00:00:02   cabin   1 m',
      '',
    ].join('\n'),
  );
  t.deepEqual(JSON.parse(cli(['fdb', '--json'], undefined, fdb).out), fdb);
  t.is(cli(['fdb'], undefined, []).out, 'no addresses learned yet\n');
});

for (const [args, says] of [
  [['sttaus'], "ipop: unknown command 'sttaus'; try ipop help"],
  [['status', '--jsno'], "ipop: unknown option '--jsno'; try ipop help"],
  [['status', 'now'], "ipop: unexpected argument 'now'; try ipop help"],
  [['--socket'], 'ipop: --socket needs a path; try ipop help'],
  [[], 'ipop: a command is missing; try ipop help'],
] as const) {
  test(`wrong use is one sentence and exit code 64: ipop ${args.join(' ')}`, (t) => {
    t.deepEqual(cli([...args]), {code: 64, out: '', err: says, socket: ''});
  });
}

test('reload tells what changed, or that nothing did', (t) => {
  t.deepEqual(cli(['reload'], undefined, undefined, {changes: ["network 'home': added", 'log_level: debug']}), {
    code: 0,
    out: "network 'home': added\nlog_level: debug\n",
    err: '',
    socket: '/var/run/ipop.sock',
  });
  t.is(cli(['reload']).out, 'nothing changed\n');
});

test('reload tells what is wrong with exit code 78, also to programs', (t) => {
  const wrong = {problems: ['/etc/config/ipop:3: section ipop, option x is not known']};
  const said = cli(['reload'], undefined, undefined, wrong);
  t.deepEqual([said.code, said.out], [78, '']);
  t.is(said.err, `${wrong.problems[0]}ipop: The configuration is wrong; nothing changed`);
  const json = cli(['reload', '--json'], undefined, undefined, wrong);
  t.is(json.code, 78);
  t.deepEqual((JSON.parse(json.out) as {error: unknown}).error, {
    code: 'config-wrong',
    text: 'The configuration is wrong; nothing changed',
    ...wrong,
  });
});

test('help and version need no daemon', (t) => {
  t.regex(cli(['help']).out, /ipop status/);
  t.is(cli(['--help']).code, 0);
  t.is(cli(['--version']).out, 'ipop 0.1.0\n');
});

for (const [errno, says] of [
  [2, /is not running \(no answer at \/tmp\/x\.sock\); start ipopd/],
  [111, /is not running/],
  [13, /run ipop as root/],
  [110, /did not answer in time/],
  [5, /cannot ask the daemon.*: broken/],
] as const) {
  test(`errno ${errno} of the socket is one clear sentence and exit code 1`, (t) => {
    const lines: string[] = [];
    const call = () => {
      throw Object.assign(new Error('broken'), {errno});
    };
    const deps: CliDeps = {version: '0.1.0', call, out: () => t.fail(), err: (line) => lines.push(line)};
    t.is(runCli(['status', '--socket', '/tmp/x.sock'], deps), 1);
    t.is(lines.length, 1);
    t.regex(lines[0] as string, says);
  });
}

test('the socket can be chosen', (t) => {
  t.is(cli(['status', '--socket', '/tmp/x'], buildStatus(healthyParts())).socket, '/tmp/x');
  t.is(cli(['status'], buildStatus(healthyParts())).socket, '/var/run/ipop.sock');
});

test('an answer that is none is said so', (t) => {
  for (const text of ['', '{', '[]', 'null', '{"ok":true}']) {
    const lines: string[] = [];
    const deps: CliDeps = {version: '0.1.0', call: () => text, out: () => t.fail(), err: (line) => lines.push(line)};
    t.is(runCli(['status'], deps), 1, text);
    t.regex(lines.join(), /^ipop: the daemon/);
  }
});

test('units and ordinals read well at their edges', (t) => {
  t.deepEqual([0, 999, 1000, 9949, 9950, 999_499, 999_500, 1.2e9, 9e15].map(bytesText), [
    '0 B',
    '999 B',
    '1.0 kB',
    '9.9 kB',
    '10 kB',
    '999 kB',
    '1.0 MB',
    '1.2 GB',
    '9.0 PB',
  ]);
  t.deepEqual([0, 59, 60, 3599, 3600, 10_500, 86_399, 86_400, 270_000].map(durationText), [
    '0 s',
    '59 s',
    '1 m',
    '59 m',
    '1 h',
    '2 h 55 m',
    '23 h 59 m',
    '1 d',
    '3 d 3 h',
  ]);
  t.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal), [
    '1st',
    '2nd',
    '3rd',
    '4th',
    '11th',
    '12th',
    '13th',
    '21st',
    '112th',
  ]);
});

test('cells are cut by whole characters', (t) => {
  t.is(printable('🏠'.repeat(10), 5), '🏠🏠🏠🏠…');
  t.is(
    table([
      ['a', 'b'],
      ['ccc', ''],
    ]),
    'a     b\nccc\n',
  );
});

/** Runs the command line against a daemon with this status. */
test('an answer of another form is said to be one', (t) => {
  const answers = {
    fdb: ['{"ok":true,"fdb":1}', '{"ok":true,"fdb":[{}]}', '{"ok":true,"fdb":[null]}'],
    status: ['{"ok":true,"status":{}}'],
  };
  for (const [command, texts] of Object.entries(answers)) {
    for (const text of texts) {
      let err = '';
      const code = runCli([command], {
        version: '0.1.0',
        call: () => text,
        out: () => undefined,
        err: (line) => void (err += line),
      });
      t.deepEqual([code, /cannot be read/.test(err)], [1, true], text);
    }
  }
});

function cli(
  args: string[],
  status?: Status,
  fdb?: FdbEntryStatus[],
  reload: ReloadResult = {changes: []},
): {code: number; out: string; err: string; socket: string} {
  const run = {code: 0, out: '', err: '', socket: ''};
  run.code = runCli(args, {
    version: '0.1.0',
    call(socket, request) {
      run.socket = socket;
      return answerRequest(request, {
        status: () => status as Status,
        fdb: () => fdb as FdbEntryStatus[],
        reload: () => reload,
      });
    },
    out: (text) => void (run.out += text),
    err: (line) => void (run.err += line),
  });
  return run;
}
