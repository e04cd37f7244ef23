// SPDX-License-Identifier: MIT
import {readFileSync} from 'node:fs';
import test from 'ava';
import {answerRequest} from '../../../src/status/control.ts';
import {exitCodeOf, HEALTH_CODES} from '../../../src/status/health.ts';
import {buildStatus, type NetworkParts} from '../../../src/status/snapshot.ts';
import type {ErrorStatus, NetworkStatus} from '../../../src/status/types.ts';
import {healthyParts, peerPart, withPeers} from './parts.ts';

const error = (code: string): ErrorStatus => ({code, text: `Because of ${code}`, agoSec: 1});
const xmpp = (changes: Partial<NetworkStatus['xmpp']>): Partial<NetworkParts> => ({
  xmpp: {state: 'offline', jid: 'office@example.org', room: 'home@rooms.example.org', ...changes},
});
const bridge = (state: NetworkStatus['bridge']['state']): Partial<NetworkParts> => ({
  bridge: {name: 'br-lan', tap: 'ipop0', mtuBytes: 1500, state, error: error('E')},
});

test('a healthy node has no health items and exit code 0', (t) => {
  const status = buildStatus(healthyParts());
  t.deepEqual(status.health, []);
  t.is(exitCodeOf(status), 0);
});

for (const [code, changes, exit] of [
  ['xmpp-certificate', xmpp({error: error('tls-unknown-ca')}), 2],
  ['xmpp-certificate', xmpp({error: error('ca-file')}), 2],
  ['xmpp-auth', xmpp({error: error('not-authorized')}), 2],
  ['xmpp-offline', xmpp({error: error('refused'), retryInSec: 3}), 2],
  ['xmpp-offline', xmpp({state: 'connecting'}), 2],
  ['room-waiting', xmpp({state: 'waiting', error: error('registration-required')}), 2],
  ['identity-twice', xmpp({state: 'online', twin: {jid: 'copy@example.org', agoSec: 3}}), 2],
  ['identity-twice', xmpp({state: 'waiting', error: error('nick-conflict'), twin: {jid: '', agoSec: 3}}), 2],
  ['identity-twice', xmpp({error: error('conflict'), twin: {jid: 'office@example.org', agoSec: 3}}), 2],
  ['no-tap', bridge('no-tap'), 2],
  ['no-bridge', bridge('no-bridge'), 2],
  ['signature-refused', {peers: [peerPart('cabin', 1, {error: error('bad-signature')})]}, 2],
  ['peer-down', {peers: [peerPart('cabin', 1), peerPart('boat', 2, {state: 'backoff'})]}, 2],
  ['peer-down', {peers: [peerPart('boat', 2, {state: 'checking'})]}, 1],
  ['unsupported-version', {peers: [peerPart('boat', 2, {state: 'backoff', error: error('unsupported-version')})]}, 1],
  ['no-peers', {peers: []}, 1],
  ['no-peers', {peers: [peerPart('boat', 2, {state: 'idle', present: false})]}, 1],
  [
    'relay-in-use',
    {peers: [peerPart('cabin', 1, {path: {kind: 'relay', local: 'a', remote: 'b', carriage: 'srtp'}})]},
    0,
  ],
  [
    'link-loss',
    {
      peers: [
        peerPart('cabin', 1, {
          path: {kind: 'direct', local: 'a', remote: 'b', carriage: 'express', lossPermille: 143, throttled: true},
        }),
      ],
    },
    0,
  ],
] as const) {
  test(`${code} is shown alone, with exit code ${exit} (${faultOf(changes)})`, (t) => {
    const status = buildStatus(healthyParts(changes as Partial<NetworkParts>));
    t.deepEqual(
      status.health.map((item) => item.code),
      [code],
    );
    t.is(status.health[0]?.severity, HEALTH_CODES[code]);
    t.is(exitCodeOf(status), exit);
  });
}

test('a configuration that could not be applied is told first, with how many problems more', (t) => {
  const status = buildStatus({...healthyParts(), configProblems: ['ipop:3: is wrong', 'ipop:4: too']});
  t.deepEqual(status.health, [
    {
      code: 'config-wrong',
      severity: 'error',
      network: '',
      text: 'ipop:3: is wrong (and 1 more): what runs is not what the file says; correct it, then ipop reload',
    },
  ]);
  t.is(exitCodeOf(status), 2);
});

test('XMPP that is rejected is not called offline, and says where to look', (t) => {
  const [item] = buildStatus(healthyParts(xmpp({error: error('not-authorized'), retryInSec: 60}))).health;
  t.is(
    item?.text,
    'Because of not-authorized: check options jid and password of account office@example.org; next try in 60 s',
  );
});

test('lost records are a warning of the whole process', (t) => {
  const status = buildStatus({
    ...healthyParts(),
    process: {recordsQueued: 0, recordsDropped: 7, threads: 9, descriptorsFree: 8, descriptorLimit: 1024},
  });
  t.deepEqual(
    status.health.map(({code, network}) => [code, network]),
    [['records-dropped', '']],
  );
  t.is(exitCodeOf(status), 0);
});

test('a start number that could not be stored is a warning of the whole process, with the way out', (t) => {
  const status = buildStatus({...healthyParts(), stateProblem: "cannot write '/x/boot': No space left on device"});
  t.deepEqual(
    status.health.map(({code, network}) => [code, network]),
    [['state-not-stored', '']],
  );
  t.regex(status.health[0]?.text ?? '', /^cannot write '\/x\/boot': No space left on device: free space there/);
  t.is(exitCodeOf(status), 0);
});

test('descriptors that run out are an error of the whole process, with the limit and the way out', (t) => {
  const parts = healthyParts();
  const [item, ...others] = buildStatus({...parts, process: {...parts.process, descriptorsFree: 0}}).health;
  t.deepEqual([item?.code, item?.severity, others.length], ['few-descriptors', 'error', 0]);
  t.regex(item?.text ?? '', /^no file descriptor of 1024 is left: .*raise the limit/);
  const [few] = buildStatus({...parts, process: {...parts.process, descriptorsFree: 7}}).health;
  t.regex(few?.text ?? '', /^7 of 1024 file descriptors are left: /);
});

test('a peer that left but is still linked is no problem', (t) => {
  t.deepEqual(buildStatus(withPeers([peerPart('cabin', 1, {present: false})])).health, []);
});

test('the worst comes first', (t) => {
  const peers = [
    peerPart('cabin', 1, {path: {kind: 'relay', local: 'a', remote: 'b', carriage: 'srtp'}}),
    peerPart('boat', 2, {state: 'idle'}),
  ];
  const status = buildStatus(healthyParts({...xmpp({}), peers}));
  t.deepEqual(
    status.health.map((item) => item.code),
    ['xmpp-offline', 'peer-down', 'relay-in-use'],
  );
});

test('docs/TROUBLESHOOTING.md has one section for each code, and none for others', (t) => {
  const text = readFileSync(new URL('../../../docs/TROUBLESHOOTING.md', import.meta.url), 'utf8');
  const sections = [...text.matchAll(/^## `(.+)`$/gm)].map((match) => match[1]);
  t.deepEqual(sections, Object.keys(HEALTH_CODES));
});

test('ports become traffic, addresses and upcalls, and do not show', (t) => {
  const [network] = buildStatus(withPeers([peerPart('cabin', 1), peerPart('boat', 2, {state: 'backoff'})])).networks;
  t.is(network?.upcalls, 10);
  t.is(network?.bridge.macs, 3);
  t.deepEqual(
    network?.peers.map((peer) => [peer.macs, peer.traffic.rxBytes, 'port' in peer]),
    [
      [14, 1_200_000_000, false],
      [0, 0, false],
    ],
  );
  t.false('port' in (network?.bridge ?? {}));
});

test('a path is shown as it is now, and only while up', (t) => {
  const now = {kind: 'relay', local: 'c', remote: 'd', carriage: 'srtp'} as const;
  const peers = [peerPart('cabin', 1), peerPart('boat', 2, {state: 'checking', path: now, port: 12})];
  const [network] = buildStatus(healthyParts({peers, pathOf: () => now})).networks;
  t.deepEqual(
    network?.peers.map((peer) => peer.path),
    [now, undefined],
  );
});

test('a port that has just gone counts nothing', (t) => {
  const [network] = buildStatus(healthyParts({countersOf: () => undefined})).networks;
  t.is(network?.upcalls, 0);
  t.is(network?.peers[0]?.traffic.rxBytes, 0);
});

test('requests that are no requests are refused with a sentence', (t) => {
  const view = {status: () => buildStatus(healthyParts()), fdb: () => [], reload: () => ({changes: []})};
  const codeOf = (line: string) => JSON.parse(answerRequest(line, view)).error?.code;
  t.is(codeOf('status'), 'malformed-request');
  t.is(codeOf('null'), 'unknown-command');
  t.is(codeOf('{"command":"reboot"}'), 'unknown-command');
  t.is(codeOf('{"command":"status"}'), undefined);
  t.true(answerRequest('', view).endsWith('}\n'));
});

test('a view that fails is an answer too', (t) => {
  const view = {
    status: () => {
      throw new Error('counters');
    },
    fdb: () => [],
    reload: () => ({changes: []}),
  };
  t.deepEqual(JSON.parse(answerRequest('{"command":"status"}', view)), {
    ok: false,
    error: {code: 'internal', text: 'Cannot answer: counters'},
  });
});

/** What was spoiled, in short. */
function faultOf(changes: object): string {
  const {xmpp, bridge, peers} = changes as Partial<NetworkParts>;
  if (xmpp) return `${xmpp.state}, ${xmpp.error?.code ?? 'no error'}`;
  if (bridge) return bridge.state;
  return `peers: ${peers?.map((peer) => `${peer.state} ${peer.path?.kind ?? ''}`.trim()).join(', ') || 'none'}`;
}
