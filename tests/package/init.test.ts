// SPDX-License-Identifier: MIT
// The OpenWrt init script under BusyBox's shell, with the real ipopd: what it tells procd, netifd and the log.

import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {NETWORK} from '../../src/uci/schema.ts';
import {makePackage, obstacle, rootTest, temporaryFolder, TREE} from './kit.ts';
import {Router} from './router.ts';

const CONFIG = 'etc/config/ipop';
const ACTIVE = 'var/run/ipop/active';
const SHIPPED = readFileSync(join(TREE, 'openwrt/files/etc/config/ipop'), 'utf8');
const GOOD = `# my comment
config ipop 'main'
	option enabled '1'

config network 'home'
	option jid 'office@example.org'   # this router
	option password 'top-secret'
	option room 'home@conference.example.org'
`;
const WRONG = GOOD.replace('config network', "	option log_level 'loud'\n\nconfig network");

const folder = temporaryFolder();
let router: Router;

test.before(async () => {
  if (obstacle === undefined) router = await Router.create(join(folder, 'root'), await makePackage('ipk', folder));
});

test.beforeEach(() => {
  if (obstacle !== undefined) return;
  router.reset();
  router.write(CONFIG, GOOD);
});

/** Compares with golden/NAME; UPDATE_GOLDEN=1 writes it anew. */
function golden(t: ExecutionContext, name: string, calls: string): void {
  const file = join(TREE, 'tests/package/golden', name);
  if (process.env['UPDATE_GOLDEN'] !== undefined) writeFileSync(file, calls);
  t.is(calls, readFileSync(file, 'utf8'));
}

rootTest('a fresh install starts nothing, says why, and waits for its configuration to change', async (t) => {
  router.write(CONFIG, SHIPPED);
  const {calls, effect} = await router.procd('boot');
  golden(t, 'fresh-install', calls);
  t.is(effect, 'none');
  t.false(router.exists(ACTIVE));
});

rootTest('an enabled service runs ipopd with what uci exports, readable by root alone', async (t) => {
  const {calls, effect} = await router.procd('start');
  golden(t, 'start', calls);
  t.is(effect, 'started');
  t.is(router.read(ACTIVE), await router.sh('uci export ipop'));
  t.notRegex(router.read(ACTIVE), /comment|this router/);
  t.deepEqual([router.mode('var/run/ipop'), router.mode(ACTIVE)], ['700', '600']);
  t.notRegex(calls, /top-secret/, 'no password in arguments or log');
});

rootTest('a start while it runs, as after an upgrade that changed nothing, leaves the daemon alone', async (t) => {
  await router.procd('start');
  t.is((await router.procd('start')).effect, 'untouched');
});

rootTest('a reload renews the copy, then signals the daemon, which stays', async (t) => {
  await router.procd('start');
  router.write(CONFIG, GOOD.replace('home@', 'cabin@'));
  const {calls, effect} = await router.procd('reload');
  golden(t, 'reload', calls);
  t.is(effect, 'signalled');
  t.regex(router.read(ACTIVE), /cabin@conference/);
});

rootTest('a reload of comments only hands the daemon the same copy', async (t) => {
  await router.procd('start');
  const before = router.read(ACTIVE);
  router.write(CONFIG, `${GOOD}# another comment\n`);
  t.is((await router.procd('reload')).effect, 'signalled');
  t.is(router.read(ACTIVE), before);
});

rootTest('a reload that enables it starts the daemon and sends it no signal, which would kill it', async (t) => {
  router.write(CONFIG, SHIPPED);
  await router.procd('boot');
  router.write(CONFIG, GOOD);
  t.is((await router.procd('reload')).effect, 'started');
});

rootTest(
  'a wrong configuration starts no daemon, is said with its line, and is tried again when it changes',
  async (t) => {
    router.write(CONFIG, WRONG);
    const {calls, effect} = await router.procd('boot');
    golden(t, 'wrong', calls);
    t.is(effect, 'none');
    t.regex(calls, /\/etc\/config\/ipop:5: .*log_level 'loud'/);
    t.regex(calls, /^procd_add_reload_trigger 'ipop'$/m);
    t.false(router.exists(ACTIVE));
    router.write(CONFIG, GOOD);
    t.is((await router.procd('reload')).effect, 'started');
  },
);

rootTest('a configuration that becomes wrong while the daemon runs is said, and the daemon goes on', async (t) => {
  await router.procd('start');
  router.write(CONFIG, WRONG);
  const {calls, effect} = await router.procd('reload');
  golden(t, 'wrong-while-running', calls);
  t.is(effect, 'signalled');
  t.regex(router.read(ACTIVE), /home@conference/, 'the last good one');
  router.write(CONFIG, GOOD.replace('home@', 'cabin@'));
  t.is((await router.procd('reload')).effect, 'signalled');
  t.regex(router.read(ACTIVE), /cabin@conference/);
});

rootTest('after a stop a wrong configuration does not start with an older one', async (t) => {
  await router.procd('start');
  router.write(CONFIG, WRONG);
  t.is((await router.procd('restart')).effect, 'none');
});

rootTest('a file that uci cannot read is told with the line of the open quote', async (t) => {
  router.write(CONFIG, GOOD.replace("conference.example.org'", 'conference.example.org'));
  const {calls, effect} = await router.procd('start');
  t.is(effect, 'none');
  t.regex(calls, /logger .*'daemon\.err' '.*\/etc\/config\/ipop:8: .*quote/);
  t.notRegex(calls, /top-secret/);
});

rootTest(
  'disabling stops the daemon and forgets the copy of the configuration, also when the rest is wrong',
  async (t) => {
    await router.procd('start');
    router.write(CONFIG, WRONG.replace("enabled '1'", "enabled '0'"));
    t.is((await router.procd('reload')).effect, 'stopped');
    t.false(router.exists('var/run/ipop'));
  },
);

rootTest('a stop leaves no copy of the passwords behind', async (t) => {
  await router.procd('start');
  const {calls, effect} = await router.procd('stop');
  golden(t, 'stop', calls);
  t.is(effect, 'stopped');
  t.false(router.exists('var/run/ipop'));
});

rootTest('a new program is started in place of the old one although nothing but `start` is called', async (t) => {
  await router.procd('start');
  await router.sh('cp -p /usr/sbin/ipopd /tmp/ipopd && echo >> /usr/sbin/ipopd');
  t.teardown(() => router.sh('mv /tmp/ipopd /usr/sbin/ipopd'));
  t.is((await router.procd('start')).effect, 'restarted');
});

rootTest('what procd is told to run accepts its arguments', async (t) => {
  const {calls} = await router.procd('start');
  router.write(ACTIVE, WRONG);
  const {code, stderr} = await router.command(calls);
  t.is(code, 78, stderr);
  t.regex(stderr, /\/var\/run\/ipop\/active:5: .*log_level 'loud'/);
});

const LAN = `{ "interface": [
	{ "interface": "loopback", "up": true, "device": "lo" },
	{ "interface": "lan", "up": true, "device": "br-lan" },
	{ "interface": "lan6", "up": true, "device": "br-lan" },
	{ "interface": "guest", "up": false, "device": "br-guest" }
] }
`;
const TWO = `${GOOD}	option bridge 'br-guest'
	option tap 'ipop1'

config network 'second'
	option jid 'office2@example.org'
	option password 'secret'
	option room 'second@conference.example.org'

config network 'third'
	option jid 'office3@example.org'
	option password 'secret'
	option room 'third@conference.example.org'
	option tap 'ipop2'
	option bridge 'none'
`;

/** Taps that are there, and netifd's interfaces. */
function devices(...taps: readonly string[]): void {
  router.write('netifd/dump', LAN);
  for (const tap of taps) router.write(`sys/class/net/${tap}`, '');
}

rootTest('each tap is handed to the interface of netifd that has its bridge', async (t) => {
  router.write(CONFIG, TWO);
  devices('ipop0', 'ipop1', 'ipop2');
  golden(t, 'join', await router.init('join'));
});

rootTest('a tap that is not there yet is handed to nobody', async (t) => {
  devices('lo');
  t.is(await router.init('join'), '');
});

rootTest('an interface that takes no device is passed over for the next one on the same bridge', async (t) => {
  devices('ipop0');
  router.write('netifd/refuses', 'lan');
  t.deepEqual((await router.init('join')).match(/interface\.\w+/g), ['interface.lan', 'interface.lan6']);
});

rootTest('a bridge that is none of netifd is said, and left to ipopd', async (t) => {
  router.write(CONFIG, `${GOOD}	option bridge 'br-own'\n`);
  devices('ipop0');
  golden(t, 'join-foreign', await router.init('join'));
});

rootTest('hotplug hands over a tap when it appears, and takes no notice of other devices', async (t) => {
  devices('ipop0', 'ipop1', 'ipop2', 'eth7');
  router.write(CONFIG, TWO);
  const hotplug = async (action: string, device: string): Promise<string> => {
    router.write('calls', '');
    await router.sh('. /etc/hotplug.d/net/50-ipop; true', {ACTION: action, INTERFACE: device});
    return router.read('calls');
  };
  t.is(await hotplug('add', 'eth7'), '');
  t.is(await hotplug('remove', 'ipop0'), '');
  t.is(
    await hotplug('add', 'ipop0'),
    `ubus 'call' 'network.interface.lan' 'add_device' '{"name":"ipop0","link-ext":false}'\n`,
  );
});

test('the init script has the same defaults as the schema', (t) => {
  const script = readFileSync(join(TREE, 'openwrt/files/etc/init.d/ipop'), 'utf8');
  for (const [, name = '', fallback = ''] of script.matchAll(/config_get\w* \w+ "\$1" (\w+) (\S+)/g)) {
    t.is(NETWORK[name as keyof typeof NETWORK].fallback, fallback, name);
  }
  t.is(script.match(/config_get\w* \w+ "\$1"/g)?.length, 3);
});
