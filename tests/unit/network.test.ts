// SPDX-License-Identifier: MIT
// One network, and the daemon around it, over a native half that the test plays.

import test from 'ava';
import {Daemon, type DaemonDeps} from '../../src/daemon.ts';
import {NativeError} from '../../src/native/datapath.ts';
import type {Native} from '../../src/native/native.ts';
import {Network, type NetworkDeps} from '../../src/network.ts';
import type {SignedDescription} from '../../src/tincan/types.ts';
import type {Config, NetworkConfig} from '../../src/uci/config.ts';

const CONFIG: NetworkConfig = {
  network: 'home',
  account: {jid: 'a@example.org', password: 'x', server: undefined, tls: 'auto', caFile: undefined, pin: undefined},
  room: {jid: 'home@rooms.example.org', owner: false, members: []},
  bridge: {name: 'br-lan', tap: 'ipop0', mtuBytes: 1500},
  carriage: 'auto',
  shape: {upKbit: 0, downKbit: 0, dscp: 0},
  stun: [],
  turn: [],
};

/** What a network is made of; `calls` are those to native, `gone` are ports that native does not know any more. */
function parts() {
  const calls: string[] = [];
  const log: string[] = [];
  const gone = new Set<number>();
  const closed = new Set<number>();
  const counters = {recordsQueued: 0, recordsDropped: 0, threads: 1, descriptorsFree: 8, descriptorLimit: 1024};
  let ports = 0;
  let switches = 0;
  const port = (name: string, id: number) => {
    calls.push(`${name} ${id}`);
    if (gone.has(id)) throw new NativeError(name, 2, `there is no port ${id}`);
  };
  const native: Partial<Native> = {
    openSwitch: () => ++switches,
    closeSwitch: (id) => {
      if (closed.has(id)) throw new NativeError('close', 2, `there is no switch ${id}`);
      closed.add(id);
    },
    openTap: () => ++ports,
    joinBridge: (id) => port('join', id),
    enablePort: (id) => port('enable', id),
    closePort: (id) => void calls.push(`close ${id}`),
    flushRules: () => 0,
    processCounters: () => counters,
    portCounters: (id) => {
      port('counters', id);
      return {rxFrames: 0, rxBytes: 0, txFrames: 0, txBytes: 0, upcalls: 0, drops: {}};
    },
  };
  const nothing = () => new Uint8Array();
  const deps: NetworkDeps = {
    native: native as Native,
    self: {id: 'a'.repeat(40), name: 'office', publicKey: nothing(), boot: 1},
    crypto: {sign: nothing, verify: () => false, sha256: nothing, randomBytes: nothing, random: () => 0},
    xmpp: {
      lookupSrv: () => Promise.resolve([]),
      openStream: () => ({write: () => undefined, close: () => undefined}),
      hash: nothing,
      hmac: nothing,
      pbkdf2: async () => nothing(),
      randomBytes: nothing,
      nowMs: () => 0,
      after: () => () => undefined,
    },
    log: (level) => void log.push(level),
    nowMs: () => 0,
    onActivity: () => undefined,
  };
  return {native: native as Native, deps, calls, gone, log};
}

function network() {
  const {deps, calls, gone, log} = parts();
  const one = new Network(deps, CONFIG);
  one.start(0);
  calls.length = 0;
  return {one, calls, gone, log};
}

test('a tap that somebody deleted is closed before a new one is made, or its descriptors would stay', (t) => {
  const {one, calls} = network();
  one.handleEvent({type: 'port-gone', port: 1, text: 'deleted'}, 1);
  t.deepEqual(calls, ['close 1', 'enable 2', 'join 2']);
});

test('a tap whose end was among lost records is found out and made anew', (t) => {
  const {one, calls, gone} = network();
  one.handleEvent({type: 'gap', missed: 3}, 1);
  t.deepEqual(calls, ['counters 1', 'join 1']);
  gone.add(1);
  one.handleEvent({type: 'gap', missed: 3}, 2);
  t.deepEqual(calls.slice(2), ['counters 1', 'close 1', 'enable 2', 'join 2']);
  t.is(one.lan.port, 2);
});

/** A daemon whose file the test writes; `calls` as in `parts`. */
function daemonOf(...networks: readonly NetworkConfig[]) {
  const {native, deps, calls} = parts();
  const file: {now: Awaited<ReturnType<DaemonDeps['loadConfig']>>} = {now: {ok: mainOf(networks)}};
  const levels: string[] = [];
  const daemon = new Daemon(
    {
      native,
      network: deps,
      log: () => undefined,
      handleService: () => false,
      handleServiceGap: () => undefined,
      nowMs: () => 0,
      setTimer: () => undefined,
      loadConfig: () => file.now,
      setLogLevel: (level) => void levels.push(level),
      onDisabled: () => void levels.push('disabled'),
    },
    mainOf(networks),
  );
  daemon.start();
  calls.length = 0;
  return {daemon, file, calls, levels};
}

function mainOf(networks: readonly NetworkConfig[], changes: Partial<Config> = {}): Config {
  const main = {
    enabled: true,
    name: 'office',
    stateDir: '/etc/ipop',
    controlSocket: '/run/x',
    logLevel: 'info',
  } as const;
  return {...main, networks, ...changes};
}

test('a second signal to stop waits for the first and is no failure', async (t) => {
  const {daemon} = daemonOf(CONFIG);
  await t.notThrowsAsync(Promise.all([daemon.stop(), daemon.stop()]));
});

test('a reload without a change asks native for nothing', (t) => {
  const {daemon, calls} = daemonOf(CONFIG);
  t.deepEqual(daemon.reload(), {changes: []});
  t.deepEqual(calls, []);
});

test('a wrong configuration changes nothing, not even what is good in it, and is told until it is mended', (t) => {
  const {daemon, file, calls, levels} = daemonOf(CONFIG);
  file.now = {problems: Array.from({length: 60}, (_, i) => `ipop:${i}: is wrong`)};
  const told = daemon.reload();
  t.is('problems' in told && told.problems.length, 51);
  t.is('problems' in told && told.problems.at(-1), '10 more problems');
  t.deepEqual([calls, levels], [[], []]);
});

test('another bridge moves the tap and nothing else', (t) => {
  const {daemon, file, calls} = daemonOf(CONFIG);
  file.now = {ok: mainOf([{...CONFIG, bridge: {...CONFIG.bridge, name: 'br-x'}}])};
  daemon.reload();
  t.deepEqual(calls, ['close 1', 'enable 2', 'join 2']);
});

test('two networks that swap their taps both give them up before either takes one', (t) => {
  const other = {...CONFIG, network: 'other', bridge: {...CONFIG.bridge, tap: 'ipop1'}};
  const {daemon, file, calls} = daemonOf(CONFIG, other);
  file.now = {
    ok: mainOf([
      {...CONFIG, bridge: other.bridge},
      {...other, bridge: CONFIG.bridge},
    ]),
  };
  daemon.reload();
  t.deepEqual(calls, ['close 1', 'close 2', 'enable 3', 'join 3', 'enable 4', 'join 4']);
});

test('a network that takes the place of another begins when that has ended', async (t) => {
  const {daemon, file, calls} = daemonOf(CONFIG);
  file.now = {ok: mainOf([{...CONFIG, network: 'den'}])};
  t.deepEqual(daemon.reload(), {changes: ["network 'home': removed", "network 'den': added"]});
  t.deepEqual(calls, []);
  await new Promise(setImmediate);
  t.deepEqual(calls, ['enable 2', 'join 2']);
});

test('of many reloads at once the last one counts', async (t) => {
  const {daemon, file, calls, levels} = daemonOf(CONFIG);
  for (let i = 0; i < 1000; i++) {
    file.now = {ok: mainOf(i % 2 === 0 ? [] : [{...CONFIG, network: `n${i}`}], {logLevel: 'debug'})};
    daemon.reload();
  }
  await new Promise(setImmediate);
  t.deepEqual(calls, ['enable 2', 'join 2'], 'none of those in between was ever made');
  t.is(levels.at(-1), 'debug');
});

test('what only counts at a start is told at each reload until it is as it was', (t) => {
  const {daemon, file} = daemonOf(CONFIG);
  file.now = {ok: mainOf([CONFIG], {stateDir: '/elsewhere'})};
  const told = {changes: ['state_dir: changed, but counts only after a restart of ipopd']};
  t.deepEqual([daemon.reload(), daemon.reload()], [told, told]);
  file.now = {ok: mainOf([CONFIG])};
  t.deepEqual(daemon.reload(), {changes: []});
});

test('a file that disables ipop stops the daemon', (t) => {
  const {daemon, file, levels} = daemonOf(CONFIG);
  file.now = {ok: mainOf([CONFIG], {enabled: false})};
  t.deepEqual(daemon.reload(), {changes: ["ipop is disabled in section 'main': ipopd stops"]});
  t.deepEqual(levels, ['info', 'disabled']);
});

test('forged offers do not fill the log', (t) => {
  const {one, log} = network();
  const signed: SignedDescription = {
    role: 'offer',
    from: 'b'.repeat(40),
    to: 'a'.repeat(40),
    network: CONFIG.room.jid,
    boot: 1,
    generation: 1,
    nonce: '00'.repeat(16),
    description: {ufrag: 'abcd', pwd: 'p'.repeat(22), fingerprint: '', setup: 'actpass'},
    publicKey: '00'.repeat(32),
    name: 'x',
    signature: '00'.repeat(64),
  };
  one.links.handleMemberOnline({id: signed.from, jid: 'b@example.org/x'}, 0);
  for (let i = 0; i < 500; i++)
    one.links.handleSignal('b@example.org/x', {type: 'offer', sid: signed.nonce, signed}, 1);
  t.is(log.filter((level) => level === 'warning').length, 20);
  t.is(one.links.peers(1)[0]?.error?.code, 'key-mismatch');
});
