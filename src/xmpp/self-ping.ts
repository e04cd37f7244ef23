// SPDX-License-Identifier: MIT
// Are we still in the room? A room's service may forget us without a word (XEP-0410), above all one on another server.

import xml from '@xmpp/xml';
import {IpopError} from '../base/errors.ts';
import type {Request} from './muc-config.ts';

const PERIOD_MS = 120_000;
/** The room's answer to one who is not in it; other errors (a room without pings, an unreachable server) tell nothing. */
const NOT_JOINED = 'not-acceptable';

/** Pings our own place in the room from time to time; `onForgotten` once. Returns how to end it. */
export function watchPlace(
  request: Request,
  after: (delayMs: number, callback: () => void) => () => void,
  place: string,
  onForgotten: () => void,
): () => void {
  let ended = false;
  let cancel = (): void => undefined;
  const ping = async (): Promise<void> => {
    try {
      await request(xml('iq', {type: 'get', to: place}, xml('ping', {xmlns: 'urn:xmpp:ping'})));
    } catch (error) {
      if (!ended && error instanceof IpopError && error.code === NOT_JOINED) return onForgotten();
    }
    if (!ended) arm();
  };
  const arm = (): void => {
    cancel = after(PERIOD_MS, () => void ping());
  };
  arm();
  return () => {
    ended = true;
    cancel();
  };
}
