// SPDX-License-Identifier: MIT
// The life of the .deb in a small Debian: installed, started by its unit's ExecStart, upgraded, removed, purged. The tests follow each other.

import {readFileSync} from 'node:fs';
import {basename, join} from 'node:path';
import test from 'ava';
import {runOk} from '../lab/exec.ts';
import {Debian} from './debian.ts';
import {makePackage, obstacle, rootTest, temporaryFolder, TREE, VERSION} from './kit.ts';
import {Started} from './started.ts';

const CONFIG = 'etc/config/ipop';
const GOOD = `config ipop 'main'
	option enabled '1'
	option name 'office'

config network 'home'
	option jid 'office@example.org'
	option password 'secret'
	option room 'home@conference.example.org'
`;
const UNIT = readFileSync(join(TREE, 'packaging/debian/ipop.service'), 'utf8');
const EXEC_START = /^ExecStart=(.*)$/m.exec(UNIT)?.[1]?.split(' ') ?? [];
/** What the unit takes away from the program. */
const CONFINED = ['setpriv', '--bounding-set=-all,+net_admin', '--no-new-privs'];

const folder = temporaryFolder();
let deb = '';
let debian: Debian;

test.before(async () => {
  deb = await makePackage('deb', folder);
  if (obstacle === undefined) debian = await Debian.create(join(folder, 'root'), deb);
});

/** The same package with another version and another text in its conffile. */
async function newer(): Promise<string> {
  const out = join(folder, 'newer.deb');
  const script = `dpkg-deb -R "$1" "$2"
    sed -i 's/^Version: .*/Version: ${VERSION}-2/' "$2/DEBIAN/control"
    echo '# a new line of help' >> "$2/etc/config/ipop"
    dpkg-deb -Zgzip --root-owner-group -b "$2" "$3"`;
  await runOk(['bash', '-ec', script, 'newer', deb, join(folder, 'unpacked'), out]);
  return out;
}

test.serial('the .deb is the same bytes when it is made again at another time', async (t) => {
  const again = await makePackage('deb', join(folder, 'again'));
  t.is(basename(deb), basename(again));
  t.true(readFileSync(deb).equals(readFileSync(again)));
});

rootTest('the .deb installs beside what it says it needs and nothing else, is enabled and started', async (t) => {
  const calls = await debian.dpkg('-i', debian.bring(deb, 'ipop.deb'));
  t.log(calls);
  t.true(debian.exists('etc/systemd/system/multi-user.target.wants/ipop.service'));
  t.true(calls.some((call) => /^systemctl .*\bstart ipop\.service$/.test(call)));
  t.is((await debian.run('dpkg', '--verify', 'ipop')).stdout, '');
  t.is((await debian.run('stat', '-c', '%a %U', `/${CONFIG}`, '/etc/ipop')).stdout, '600 root\n700 root\n');
  for (const name of ['ipop', 'ipopd']) t.is((await debian.run(name, '--version')).stdout, `${name} ${VERSION}\n`);
});

rootTest('what it ships does nothing, which it says, and ends well', async (t) => {
  const {code, stderr} = await debian.run(...EXEC_START);
  t.is(code, 0);
  t.regex(stderr, /^ipop is disabled: set option enabled '1'/);
});

rootTest('a wrong configuration ends it with the code after which systemd does not start it again', async (t) => {
  debian.write(CONFIG, GOOD.replace("'office'", "'office'\n\toption log_level 'loud'"));
  const {code, stderr} = await debian.run(...EXEC_START);
  t.is(code, 78);
  t.true(/^RestartPreventExitStatus=(.*)$/m.exec(UNIT)?.[1]?.split(' ').includes(String(code)));
  t.regex(stderr, /\/etc\/config\/ipop:4: .*log_level 'loud'/);
});

rootTest(
  'with a configuration ExecStart runs it with no more rights than the unit gives, until it is told to end',
  async (t) => {
    debian.write(CONFIG, GOOD);
    const daemon = new Started(debian.argv(...CONFINED, ...EXEC_START));
    t.teardown(() => daemon.kill());
    await daemon.said(/node office \([0-9a-f]{8}\)/);
    const status = await debian.run('ipop', 'status');
    t.regex(status.stdout, /tap ipop0 mtu 1500/);
    t.is((await debian.run('stat', '-c', '%a', '/etc/ipop/identity.key')).stdout, '600\n');
    t.is(await daemon.end(), 0);
  },
);

rootTest('an upgrade keeps what the administrator wrote and the key, and starts the new program', async (t) => {
  const key = debian.read('etc/ipop/identity.key');
  const calls = await debian.dpkg('--force-confdef', '--force-confold', '-i', debian.bring(await newer(), 'newer.deb'));
  t.log(calls);
  t.is(
    (await debian.run('dpkg-query', '-W', '-f', '${Version} ${Status}', 'ipop')).stdout,
    `${VERSION}-2 install ok installed`,
  );
  t.is(debian.read(CONFIG), GOOD);
  t.regex(debian.read(`${CONFIG}.dpkg-dist`), /a new line of help/);
  t.is(debian.read('etc/ipop/identity.key'), key);
  t.true(calls.some((call) => /^systemctl .*\brestart ipop\.service$/.test(call)));
  t.false(
    calls.some((call) => /\bstop ipop\.service$/.test(call)),
    'the LAN is cut for the moment of the restart only',
  );
});

rootTest('what an administrator disabled stays disabled over an upgrade', async (t) => {
  const link = 'etc/systemd/system/multi-user.target.wants/ipop.service';
  t.true(debian.exists(link));
  await debian.run('rm', `/${link}`);
  await debian.dpkg('--force-confdef', '--force-confold', '-i', '/newer.deb');
  t.false(debian.exists(link));
});

rootTest('a removal stops it and leaves configuration and key', async (t) => {
  const calls = await debian.dpkg('-r', 'ipop');
  t.log(calls);
  t.true(calls.some((call) => /^systemctl .*\bstop ipop\.service$/.test(call)));
  for (const path of ['usr/sbin/ipopd', 'usr/bin/ipop', 'lib/systemd/system/ipop.service'])
    t.false(debian.exists(path), path);
  t.is(debian.read(CONFIG), GOOD);
  t.true(debian.exists('etc/ipop/identity.key'));
});

rootTest('a purge leaves nothing', async (t) => {
  await debian.dpkg('-P', 'ipop');
  const found = await debian.run(
    'find',
    '/etc',
    '/usr',
    '/var',
    '-xdev',
    '-name',
    '*ipop*',
    '-not',
    '-path',
    '/var/log/*',
  );
  t.is(found.stdout, '');
});
