// SPDX-License-Identifier: MIT
import test from 'ava';
import {fromUtf8} from '../../../src/base/bytes.ts';
import {Services} from '../../../src/native/services.ts';

test('after lost records streams are closed, keys that may never come are given up, and nothing is kept', async (t) => {
  const events: string[] = [];
  const services = new Services({
    openStream: () => 3,
    writeStream: () => undefined,
    closeStream: (stream) => void events.push(`close ${stream}`),
    pbkdf2: () => 4,
    lookupSrv: () => 5,
  });
  const target = {
    host: 'x',
    port: 1,
    name: 'x',
    caFile: undefined,
    pin: undefined,
    tls: 'direct',
    timeoutMs: 1,
  } as const;
  services.openStream(target, {
    onOpen: () => t.fail(),
    onData: () => t.fail(),
    onClosed: (code) => void events.push(`closed ${code}`),
  });
  const key = services.pbkdf2('SHA-1', new Uint8Array(), new Uint8Array(), 1);
  const servers = services.lookupSrv('x', 1);
  services.handleGap();
  t.deepEqual(events, ['close 3', 'closed overflow']);
  await t.throwsAsync(key, {message: 'the record with the key was lost'});
  await t.throwsAsync(servers, {message: 'the record with the answer of DNS was lost'});
  // Late ones are passed over.
  t.true(services.handleEvent({type: 'pbkdf2', request: 4, key: new Uint8Array()}));
  t.true(services.handleEvent({type: 'stream-data', stream: 3, data: new Uint8Array()}));
});

test('streams are opened by the words of ipop.h, with ALPN only where TLS is direct', (t) => {
  const configs: string[] = [];
  const services = new Services({
    openStream: (config) => configs.push(fromUtf8(config)),
    writeStream: () => undefined,
    closeStream: () => undefined,
    lookupSrv: (config) => configs.push(fromUtf8(config)),
    pbkdf2: () => 4,
  });
  const handlers = {onOpen: () => undefined, onData: () => undefined, onClosed: () => undefined};
  const target = {host: 'h', port: 1, name: 'n', caFile: undefined, pin: undefined, timeoutMs: 7};
  services.openStream({...target, tls: 'direct'}, handlers);
  services.openStream({...target, pin: 'ab', caFile: '/ca', tls: 'starttls'}, handlers);
  void services.lookupSrv('_xmpp-client._tcp.example.org', 3000);
  t.deepEqual(configs, [
    'host=h\nport=1\nname=n\ntls=direct\nalpn=xmpp-client\ntimeout_ms=7\n',
    'host=h\nport=1\nname=n\nca=/ca\npin=ab\ntls=starttls\ntimeout_ms=7\n',
    'name=_xmpp-client._tcp.example.org\ntimeout_ms=3000\n',
  ]);
});

test('the answer of DNS goes to the one who asked', async (t) => {
  let request = 0;
  const calls = {openStream: () => 1, writeStream: () => undefined, closeStream: () => undefined, pbkdf2: () => 1};
  const services = new Services({...calls, lookupSrv: () => ++request});
  const [good, bad] = [services.lookupSrv('a', 1), services.lookupSrv('b', 1)];
  const records = [{priority: 1, weight: 2, port: 3, target: 't'}];
  t.true(services.handleEvent({type: 'srv', request: 2, records: [], error: {code: 'dns', text: 'no answer'}}));
  t.true(services.handleEvent({type: 'srv', request: 1, records, error: undefined}));
  t.true(services.handleEvent({type: 'srv', request: 9, records, error: undefined}));
  t.deepEqual(await good, records);
  await t.throwsAsync(bad, {code: 'dns', message: 'no answer'});
});
