// SPDX-License-Identifier: MIT
// Errors of the server and of peers as ours.

import type {Element} from '@xmpp/xml';
import {IpopError, textOf} from '../base/errors.ts';

/** An iq's error as ours: its condition (RFC 6120, 8.3.3) is the code. Anything else that was thrown gets the code `internal`. */
export function stanzaErrorOf(thrown: unknown): IpopError {
  if (thrown instanceof IpopError) return thrown;
  const {condition, text} = (thrown ?? {}) as {condition?: unknown; text?: unknown};
  if (typeof condition !== 'string') return new IpopError('internal', textOf(thrown));
  return new IpopError(condition, `refused: ${condition}${said(typeof text === 'string' ? text : '')}`);
}

/** Condition of the `error` child of a stanza. */
export function conditionOf(stanza: Element): string {
  const error = stanza.getChild('error');
  const condition = error?.getChildElements().find((child) => child.getName() !== 'text');
  return condition?.getName() ?? 'undefined-condition';
}

const MAX_QUOTE = 200;

/** Words of another party for the end of a sentence: one line, bounded, in brackets; empty when there are none. */
export function said(text: string | null | undefined): string {
  const words = (text ?? '').replace(/[\u0000-\u001f\u007f]+/g, ' ').trim();
  return words ? ` (${words.slice(0, MAX_QUOTE)})` : '';
}
