// SPDX-License-Identifier: MIT

/**
 * debug: a branch off the happy path; info: a change the user sees; warning: something is wrong and ipop copes; error: it needs a person.
 * Nothing per frame. Private data (passwords, keys, SDP) never.
 */
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

/** Writes one line; `component` is its prefix ("xmpp", "link cabin"). */
export type Log = (level: LogLevel, component: string, text: string) => void;

/** Text for one line of a log: what peers and servers say may have line breaks, and controls that a terminal obeys. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
