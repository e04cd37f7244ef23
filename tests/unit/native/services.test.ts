// SPDX-License-Identifier: MIT
import test from 'ava';
import {Services} from '../../../src/native/services.ts';

test('after lost records streams are closed, keys that may never come are given up, and nothing is kept', async (t) => {
  const events: string[] = [];
  const services = new Services({
    openStream: () => 3,
    writeStream: () => undefined,
    closeStream: (stream) => void events.push(`close ${stream}`),
    pbkdf2: () => 4,
  });
  const target = {host: 'x', port: 1, name: 'x', caFile: undefined, timeoutMs: 1};
  services.openStream(target, {
    onOpen: () => t.fail(),
    onData: () => t.fail(),
    onClosed: (code) => void events.push(`closed ${code}`),
  });
  const key = services.pbkdf2('SHA-1', new Uint8Array(), new Uint8Array(), 1);
  services.handleGap();
  t.deepEqual(events, ['close 3', 'closed overflow']);
  await t.throwsAsync(key, {message: 'the record with the key was lost'});
  // Late ones are passed over.
  t.true(services.handleEvent({type: 'pbkdf2', request: 4, key: new Uint8Array()}));
  t.true(services.handleEvent({type: 'stream-data', stream: 3, data: new Uint8Array()}));
});
