// SPDX-License-Identifier: MIT
// The control socket: any request line gets one line of JSON; any answer of a daemon gets the command line to an exit code, not an exception.

import {runCli} from '../../../src/cli/ipop.ts';
import {answerRequest, type ControlAnswer} from '../../../src/status/control.ts';
import type {FdbEntryStatus, Status} from '../../../src/status/types.ts';
import {equal, holds} from '../assert.ts';
import {Choices, type Target} from '../target.ts';

const fdb: readonly FdbEntryStatus[] = [{network: 'home', vlan: 0, mac: '02:00:00:00:00:01', port: 'lan', ageSec: 7}];
const status = {version: '1', uptimeSec: 1, networks: [], health: []} as unknown as Status;

const EXIT_CODES = [0, 1, 2, 64, 78];

export const target: Target = {
  seeds: [
    '\0{"command":"status"}',
    '\x01{"command":"reload"}',
    '\x02{"ok":false,"error":{"code":"x","text":"y"}}',
    `\x02${JSON.stringify({ok: true, fdb})}`,
    `\x02${JSON.stringify({ok: true, reload: ['a']})}`,
  ],
  words: [
    '"command":',
    '"status"',
    '"ok":true',
    '"fdb":[',
    '"error":',
    '"text":',
    'null',
    '__proto__',
    '\\u001b',
    '\\n',
  ],
  check(data) {
    const choices = new Choices(data);
    const kind = choices.upTo(2);
    const text = Buffer.from(choices.rest()).toString();
    if (kind < 2) request(text, kind === 1);
    else for (const command of ['fdb', 'reload']) call([command], text);
  },
};

function request(line: string, wrong: boolean): void {
  const asked: string[] = [];
  const note = <T>(name: string, value: T): T => (asked.push(name), value);
  const text = answerRequest(line, {
    status: () => note('status', status),
    fdb: () => note('fdb', fdb),
    reload: () => note('reload', wrong ? {problems: ['file:1: x\n']} : {changes: ['a\u2028']}),
  });
  holds(text.endsWith('\n') && text.indexOf('\n') === text.length - 1, 'one line');
  const answer = JSON.parse(text) as ControlAnswer;
  holds(asked.length <= 1, 'more than one thing was asked');
  equal(answer.ok, asked.length === 1 && !(wrong && asked[0] === 'reload'));
  if (!answer.ok) holds(answer.error.code !== 'internal' && answer.error.text !== '', answer.error.text);
}

function call(args: string[], answer: string): void {
  const printed: string[] = [];
  const code = runCli(args, {
    version: '1',
    call: () => answer,
    out: (text) => void printed.push(text),
    err: (line) => void printed.push(line),
  });
  holds(EXIT_CODES.includes(code), `exit code ${code}`);
  // A terminal obeys control characters.
  holds(!/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(printed.join('')), JSON.stringify(printed));
}
