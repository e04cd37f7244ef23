// SPDX-License-Identifier: MIT
// Messages of a link's control channel: undefined or of a known form, never an exception; written and read back the same.

import {parseMessage, writeMessage} from '../../../src/tincan/hello.ts';
import {equal, holds} from '../assert.ts';
import type {Target} from '../target.ts';

const id = 'a'.repeat(40);

export const target: Target = {
  seeds: [
    `{"type":"hello","version":1,"id":"${id}","generation":3}`,
    `{"type":"hello","version":1,"id":"${id}","generation":3,"carriages":["express",1]}`,
    '{"type":"bye","reason":"restart"}',
    '{"type":"later","x":[1,{"y":null}]}',
    '[]',
  ],
  words: [
    '"type":',
    '"hello"',
    '"bye"',
    '"version":',
    '"generation":',
    '"reason":',
    '"carriages":[',
    '"__proto__":',
    '1e999',
    '-1',
    '\\u0000',
    '\\ud800',
    id,
  ],
  check(data) {
    const message = parseMessage(data);
    if (!message) return;
    holds(data.length <= 1024, 'too long');
    if (message.type === 'hello') {
      equal(Object.keys(message), ['type', 'version', 'id', 'generation', 'carriages']);
      holds(message.carriages?.every((one) => typeof one === 'string') === true, 'a carriage that is no text');
      holds(/^[0-9a-f]{40}$/.test(message.id), message.id);
      holds(Number.isSafeInteger(message.version) && Number.isSafeInteger(message.generation), 'no whole numbers');
    } else if (message.type === 'bye') holds(/^[^\p{Cc}\p{Cf}]{0,64}$/u.test(message.reason), message.reason);
    // JSON has no -0, which writing makes 0.
    const written = writeMessage(message);
    // Bytes that were no UTF-8 are three each by now.
    if (written.length <= 1024) equal(JSON.stringify(parseMessage(written)), JSON.stringify(message));
  },
};
