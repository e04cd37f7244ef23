// SPDX-License-Identifier: MIT

import type {Element} from '@xmpp/xml';
import {IpopError, textOf} from '../base/errors.ts';

/** An iq's error as ours: its condition (RFC 6120, 8.3.3) is the code. Anything else that was thrown gets the code `internal`. */
export function stanzaErrorOf(thrown: unknown): IpopError {
  if (thrown instanceof IpopError) return thrown;
  const {condition, text} = (thrown ?? {}) as {condition?: unknown; text?: unknown};
  if (typeof condition !== 'string') return new IpopError('internal', textOf(thrown));
  const said = typeof text === 'string' && text ? ` (${text})` : '';
  return new IpopError(condition, `refused: ${condition}${said}`);
}

/** Condition of the `error` child of a stanza. */
export function conditionOf(stanza: Element): string {
  const error = stanza.getChild('error');
  const condition = error?.getChildElements().find((child) => child.getName() !== 'text');
  return condition?.getName() ?? 'undefined-condition';
}
