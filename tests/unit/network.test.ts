// SPDX-License-Identifier: MIT
// One network, and the daemon around it, over a native half that the test plays.

import test from 'ava';
import {Daemon} from '../../src/daemon.ts';
import {NativeError} from '../../src/native/datapath.ts';
import type {Native} from '../../src/native/native.ts';
import {Network, type NetworkDeps} from '../../src/network.ts';
import type {SignedDescription} from '../../src/tincan/types.ts';
import type {NetworkConfig} from '../../src/uci/config.ts';

const CONFIG: NetworkConfig = {
  network: 'home',
  account: {jid: 'a@example.org', password: 'x', server: undefined, tls: 'auto', caFile: undefined, pin: undefined},
  room: {jid: 'home@rooms.example.org', owner: false, members: []},
  bridge: {name: 'br-lan', tap: 'ipop0', mtuBytes: 1500},
  stun: [],
  turn: [],
};

/** What a network is made of; `calls` are those to native, `gone` are ports that native does not know any more. */
function parts() {
  const calls: string[] = [];
  const log: string[] = [];
  const gone = new Set<number>();
  let ports = 0;
  const port = (name: string, id: number) => {
    calls.push(`${name} ${id}`);
    if (gone.has(id)) throw new NativeError(name, 2, `there is no port ${id}`);
  };
  const native: Partial<Native> = {
    openSwitch: () => 1,
    closeSwitch: (id) => {
      if (gone.has(id)) throw new NativeError('close', 2, `there is no switch ${id}`);
      gone.add(id);
    },
    openTap: () => ++ports,
    joinBridge: (id) => port('join', id),
    enablePort: (id) => port('enable', id),
    closePort: (id) => void calls.push(`close ${id}`),
    flushRules: () => 0,
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

test('a second signal to stop waits for the first and is no failure', async (t) => {
  const {native, deps} = parts();
  const daemon = new Daemon({
    native,
    network: deps,
    log: () => undefined,
    handleService: () => false,
    handleServiceGap: () => undefined,
    nowMs: () => 0,
    setTimer: () => undefined,
  });
  daemon.start([CONFIG]);
  await t.notThrowsAsync(Promise.all([daemon.stop(), daemon.stop()]));
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
