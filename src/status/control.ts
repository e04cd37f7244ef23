// SPDX-License-Identifier: MIT
// The local control socket's protocol: one request line, one answer, both JSON.
//   {"command":"status"}  ->  {"ok":true,"status":{...}}
//   {"command":"fdb"}     ->  {"ok":true,"fdb":[...]}
//   {"command":"reload"}  ->  {"ok":true,"reload":["network 'home': added"]}   what changed, a sentence each
//                         ->  {"ok":false,"error":{"code":"config-wrong","text":"...","problems":["file:line: ..."]}}
//   anything else         ->  {"ok":false,"error":{"code":"...","text":"..."}}

import {textOf} from '../base/errors.ts';
import type {FdbEntryStatus, Status} from './types.ts';

/** What can be asked. */
export interface ControlView {
  status(): Status;
  fdb(): readonly FdbEntryStatus[];
  /** Reads the configuration anew: what changes, or what is wrong and changes nothing. */
  reload(): ReloadResult;
}

/** A sentence for each; at most 50 problems. */
export type ReloadResult = {readonly changes: readonly string[]} | {readonly problems: readonly string[]};

export type ControlCommand = 'status' | 'fdb' | 'reload';
export const CONFIG_WRONG = 'config-wrong';

export type ControlAnswer =
  | {
      readonly ok: true;
      readonly status?: Status;
      readonly fdb?: readonly FdbEntryStatus[];
      readonly reload?: readonly string[];
    }
  | {
      readonly ok: false;
      readonly error: {readonly code: string; readonly text: string; readonly problems?: readonly string[]};
    };

/** FDB lines in one answer: an answer has at most 1 MiB (ipop.h), a line about 120 bytes. */
const FDB_LINES = 8000;

/** Answers one request line; never throws. */
export function answerRequest(line: string, view: ControlView): string {
  return `${JSON.stringify(answer(line, view))}\n`;
}

/** A request line. */
export function writeRequest(command: ControlCommand): string {
  return JSON.stringify({command});
}

function answer(line: string, view: ControlView): ControlAnswer {
  let command: unknown;
  try {
    command = (JSON.parse(line) as {command?: unknown} | null)?.command;
  } catch {
    return refusal('malformed-request', 'The request is not JSON');
  }
  try {
    switch (command) {
      case 'status':
        return {ok: true, status: view.status()};
      case 'fdb':
        return {ok: true, fdb: view.fdb().slice(0, FDB_LINES)};
      case 'reload': {
        const result = view.reload();
        if ('changes' in result) return {ok: true, reload: result.changes};
        const {problems} = result;
        return {ok: false, error: {code: CONFIG_WRONG, text: 'The configuration is wrong; nothing changed', problems}};
      }
      default:
        return refusal('unknown-command', 'The daemon knows the commands status, fdb and reload');
    }
  } catch (error) {
    return refusal('internal', `Cannot answer: ${textOf(error)}`);
  }
}

function refusal(code: string, text: string): ControlAnswer {
  return {ok: false, error: {code, text}};
}
