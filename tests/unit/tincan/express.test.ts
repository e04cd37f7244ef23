// SPDX-License-Identifier: MIT
import test from 'ava';
import {parseMessage} from '../../../src/tincan/hello.ts';
import {Desk, high, INFO, low} from './desk.ts';

test('express begins on a link that is up when both hellos name it', (t) => {
  for (const [carriage, carriages, begins] of [
    ['auto', ['other', 'express'], true],
    ['auto', undefined, false],
    ['auto', 'express', false],
    ['srtp', ['express'], false],
  ] as const) {
    const desk = new Desk(low, high);
    desk.manager.configure({name: 'den', servers: {stun: [], turn: []}, carriage});
    desk.checking(7, 0);
    desk.manager.handleUp(7, INFO, 10);
    const [hello] = desk.take();
    const said = hello?.type === 'send-message' ? parseMessage(hello.message) : undefined;
    t.deepEqual(said?.type === 'hello' ? said.carriages : undefined, carriage === 'auto' ? ['express'] : []);
    desk.manager.handleMessage(7, desk.hello({carriages}), 11);
    const express = {type: 'express', port: 7, peer: high.id, generation: desk.sent.generation};
    t.deepEqual(desk.take().slice(1), begins ? [express] : []);
  }
});
