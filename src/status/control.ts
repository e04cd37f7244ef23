// SPDX-License-Identifier: MIT
// The local control socket's protocol: one request line, one answer, both JSON.
//   {"command":"status"}  ->  {"ok":true,"status":{...}}
//   {"command":"fdb"}     ->  {"ok":true,"fdb":[...]}
//   anything else         ->  {"ok":false,"error":{"code":"...","text":"..."}}

import {textOf} from '../base/errors.ts';
import type {FdbEntryStatus, Status} from './types.ts';

/** What can be asked. */
export interface ControlView {
  status(): Status;
  fdb(): readonly FdbEntryStatus[];
}

export type ControlCommand = 'status' | 'fdb';

export type ControlAnswer =
  | {readonly ok: true; readonly status?: Status; readonly fdb?: readonly FdbEntryStatus[]}
  | {readonly ok: false; readonly error: {readonly code: string; readonly text: string}};

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
      default:
        return refusal('unknown-command', 'The daemon knows the commands status and fdb');
    }
  } catch (error) {
    return refusal('internal', `Cannot answer: ${textOf(error)}`);
  }
}

function refusal(code: string, text: string): ControlAnswer {
  return {ok: false, error: {code, text}};
}
