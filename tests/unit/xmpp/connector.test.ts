// SPDX-License-Identifier: MIT
// How a session finds its server, and what it makes of those that do not take it.

import test from 'ava';
import type {SrvRecord} from '../../../src/xmpp/servers.ts';
import {run, type Run} from './run.ts';

const BY_DNS = {server: undefined};
const srv = (priority: number, port: number, target: string): SrvRecord => ({priority, weight: 0, port, target});
const tried = (world: Run): string[] => world.targets.map(({host, port, tls}) => `${host}:${port} ${tls}`);

test('the servers that DNS names are tried in order until one takes us', async (t) => {
  const world = run(t, {}, BY_DNS);
  world.dns = (name) =>
    name.startsWith('_xmpps') ? [srv(2, 443, 'b.net')] : [srv(1, 5222, 'a.net'), srv(3, 1, 'c.net')];
  world.refuses = ({host}) => (host === 'a.net' ? ['refused', 'a refuses'] : undefined);
  world.session.start();
  await world.clock.advance(100);
  t.is(world.states.at(-1), 'online');
  t.deepEqual(world.asked, ['_xmpps-client._tcp.example.org', '_xmpp-client._tcp.example.org']);
  t.deepEqual(tried(world), ['a.net:5222 starttls', 'b.net:443 direct']);
  t.deepEqual([...new Set(world.targets.map(({name}) => name))], ['example.org'], 'the certificate is for the domain');
});

test('a server that is named is not looked for', async (t) => {
  const world = run(t, {}, {server: {host: 'h', port: undefined}, pin: 'ab', caFile: '/ca'});
  world.refuses = ({port}) => (port === 5223 ? ['refused', 'nobody there'] : undefined);
  world.session.start();
  await world.clock.advance(100);
  t.deepEqual(world.asked, []);
  t.deepEqual(tried(world), ['h:5223 direct', 'h:5222 starttls']);
  t.like(world.targets[1], {pin: 'ab', caFile: '/ca'});
  t.is(world.states.at(-1), 'online');
});

test('when none takes us the most telling failure counts, and all are told', async (t) => {
  const world = run(t, {}, BY_DNS);
  world.refuses = ({tls}) => (tls === 'direct' ? ['refused', 'nobody there'] : ['starttls-refused', 'no STARTTLS']);
  world.session.start();
  await world.clock.advance(100);
  t.is(world.states.at(-1), 'offline starttls-refused');
  t.true(world.log.includes('warning no STARTTLS; nobody there'), world.log.join('\n'));
});

test('name servers that do not answer do not keep us from the domain itself', async (t) => {
  const world = run(t, {}, BY_DNS);
  world.dns = () => new Error('no answer');
  world.session.start();
  await world.clock.advance(100);
  t.deepEqual(tried(world), ['example.org:5223 direct']);
  t.is(world.states.at(-1), 'online');
});

test('name servers that do not answer any more are made up for by what they said last', async (t) => {
  const world = run(t, {}, BY_DNS);
  world.dns = (name) => (name.startsWith('_xmpps') ? [srv(2, 443, 'b.net')] : []);
  world.session.start();
  await world.clock.advance(100);
  world.dns = () => new Error('no answer');
  world.handlers?.onClosed('eof', 'gone');
  await world.clock.advance(6_000);
  t.deepEqual(tried(world), ['b.net:443 direct', 'b.net:443 direct']);
  t.is(world.states.at(-1), 'online');
});

test('a domain that says it has no server is told, and not asked again for a minute', async (t) => {
  const world = run(t, {}, BY_DNS);
  world.dns = () => [srv(0, 0, '.')];
  world.session.start();
  await world.clock.advance(50_000);
  t.is(world.states.at(-1), 'offline no-server');
  t.deepEqual([world.asked.length, world.targets.length], [2, 0]);
  t.true(world.log.some((line) => line.includes("'example.org' says in DNS that it has no server")));
});

test('a server that says nothing is left for the next one after 8 s', async (t) => {
  const world = run(t, null, {server: {host: 'h', port: undefined}});
  world.session.start();
  await world.clock.advance(7_900);
  t.is(world.targets.length, 1);
  world.script = {};
  await world.clock.advance(200);
  t.deepEqual(tried(world), ['h:5223 direct', 'h:5222 starttls']);
  t.is(world.closed, 1);
  t.is(world.states.at(-1), 'online');
});

test('a stop in the midst of a look-up or of a try opens nothing afterwards', async (t) => {
  const world = run(t, null, BY_DNS);
  let answer: (() => void) | undefined;
  const lookup = world.deps.lookupSrv;
  world.deps.lookupSrv = async (name, limitMs) => {
    await new Promise<void>((resolve) => (answer = resolve));
    return lookup(name, limitMs);
  };
  world.session.start();
  await world.clock.advance(10);
  await world.session.stop();
  answer?.();
  await world.clock.advance(60_000);
  t.deepEqual([world.targets.length, world.states.at(-1)], [0, 'stopped']);
});

test('a clock that is behind the certificate is waited for, every 10 s', async (t) => {
  const world = run(t, {});
  world.refuses = () => ['tls-not-yet-valid', 'is this clock right?'];
  world.session.start();
  await world.clock.advance(35_000);
  t.is(world.targets.length, 4);
  t.is(world.states.at(-1), 'offline tls-not-yet-valid');
  world.refuses = () => undefined;
  await world.clock.advance(10_000);
  t.is(world.states.at(-1), 'online');
});
