// SPDX-License-Identifier: MIT
import test from 'ava';
import fc from 'fast-check';
import {namedServers, orderServers, srvNames, type Server, type SrvRecord} from '../../../src/xmpp/servers.ts';

const text = ({host, port, tls}: Server): string => `${host}:${port} ${tls}`;
const srv = (priority: number, weight: number, port: number, target: string): SrvRecord => ({
  priority,
  weight,
  port,
  target,
});
const NONE: SrvRecord = srv(0, 0, 0, '.');

/** Both services' records, ordered with always the same random number. */
function order(direct: SrvRecord[], starttls: SrvRecord[], random = 0.5): string[] {
  const answers = [
    {tls: 'direct', records: direct},
    {tls: 'starttls', records: starttls},
  ] as const;
  return orderServers('example.org', 'auto', answers, () => random).map(text);
}

test('both services are asked for, or the one that is wanted', (t) => {
  const names = (mode: 'auto' | 'direct' | 'starttls'): string[] => srvNames('a.b', mode).map(({name}) => name);
  t.deepEqual(names('auto'), ['_xmpps-client._tcp.a.b', '_xmpp-client._tcp.a.b']);
  t.deepEqual(names('direct'), ['_xmpps-client._tcp.a.b']);
  t.deepEqual(names('starttls'), ['_xmpp-client._tcp.a.b']);
});

test('a named server is tried at its port, or at both usual ones', (t) => {
  const named = (port: number | undefined, mode: 'auto' | 'direct' | 'starttls'): string[] =>
    namedServers({host: 'h', port}, mode).map(text);
  t.deepEqual(named(undefined, 'auto'), ['h:5223 direct', 'h:5222 starttls']);
  t.deepEqual(named(undefined, 'direct'), ['h:5223 direct']);
  t.deepEqual(named(undefined, 'starttls'), ['h:5222 starttls']);
  t.deepEqual(named(5222, 'auto'), ['h:5222 starttls']);
  t.deepEqual(named(443, 'auto'), ['h:443 direct']);
  t.deepEqual(named(5222, 'direct'), ['h:5222 direct']);
  t.deepEqual(named(443, 'starttls'), ['h:443 starttls']);
});

test('without records the domain itself is tried', (t) => {
  t.deepEqual(order([], []), ['example.org:5223 direct', 'example.org:5222 starttls']);
  t.deepEqual(orderServers('d', 'starttls', [], () => 0).map(text), ['d:5222 starttls']);
});

test('lower priorities come first, both services mixed', (t) => {
  t.deepEqual(order([srv(10, 0, 443, 'c'), srv(30, 0, 443, 'e')], [srv(20, 0, 5222, 'd'), srv(5, 0, 5222, 'b')]), [
    'b:5222 starttls',
    'c:443 direct',
    'd:5222 starttls',
    'e:443 direct',
  ]);
});

test('a service that is said not to be there is not tried', (t) => {
  t.deepEqual(order([NONE], [srv(5, 0, 5222, 'b')]), ['b:5222 starttls']);
  t.deepEqual(order([NONE], []), ['example.org:5222 starttls']);
  t.deepEqual(order([], [NONE]), ['example.org:5223 direct']);
  t.deepEqual(order([NONE], [NONE]), []);
});

test('with equal priorities a server is drawn first as often as its weight says', (t) => {
  const records = [srv(0, 10, 1, 'ten'), srv(0, 0, 1, 'zero'), srv(0, 30, 1, 'thirty')];
  const firsts = new Map<string, number>();
  const draws = 4_100;
  for (let i = 0; i < draws; i++) {
    const [first] = orderServers('d', 'auto', [{tls: 'direct', records}], () => (i + 0.5) / draws);
    firsts.set(first?.host ?? '', (firsts.get(first?.host ?? '') ?? 0) + 1);
  }
  // Whole numbers 0..40 are drawn (RFC 2782): one for zero, ten for ten, thirty for thirty.
  t.deepEqual([firsts.get('zero'), firsts.get('ten'), firsts.get('thirty')], [100, 1_000, 3_000]);
});

test('any records give each server at most once, at most eight, in order of priority', (t) => {
  const port = fc.integer({min: 1, max: 65535});
  const record = fc.record({priority: fc.nat(3), weight: fc.nat(65535), port, target: fc.constantFrom('a', 'b', '.')});
  const records = fc.array(record, {maxLength: 32});
  const random = fc.double({min: 0, max: 1, noNaN: true});
  fc.assert(
    fc.property(records, records, random, (direct, starttls, drawn) => {
      const answers = [
        {tls: 'direct', records: direct},
        {tls: 'starttls', records: starttls},
      ] as const;
      const servers = orderServers('example.org', 'auto', answers, () => drawn);
      const all = [...direct, ...starttls].filter(({target}) => target !== '.');
      t.true(servers.length <= 8);
      if (all.length === 0) return;
      t.is(servers.length, Math.min(8, all.length));
      const least = Math.min(...all.map(({priority}) => priority));
      const [first] = servers;
      t.true(all.some((one) => one.priority === least && one.target === first?.host && one.port === first.port));
      for (const server of servers)
        t.true(all.some(({target, port}) => target === server.host && port === server.port));
    }),
  );
});
