// SPDX-License-Identifier: MIT
import test from 'ava';
import {oneLine} from '../../src/base/log.ts';

test('what others say cannot forge a log line or command a terminal', (t) => {
  t.is(oneLine('a\r\nerror: b\u001b[2J\u009b1m\u2028c\u202ed'), 'a error: b [2J 1m c d');
});
