// SPDX-License-Identifier: MIT
// The states of a link (diagram: link.ts), each with only what is valid in it.

import type {Deadline, Millis} from '../base/time.ts';
import type {LinkInfo} from '../native/datapath.ts';
import type {LinkStateName} from '../status/types.ts';
import type {Attempt} from './attempt.ts';

export type State =
  /** dueAt: when it may offer; undefined: not wanted. */
  | {readonly name: 'idle'; readonly dueAt: Millis | undefined}
  | {readonly name: 'trying'; readonly attempt: Attempt}
  | {readonly name: 'up'; readonly attempt: Attempt; readonly settledAt: Millis | undefined}
  | {readonly name: 'backoff'; readonly until: Millis}
  | {readonly name: 'closed'};

/** As people see it. */
export function nameOf(state: State): LinkStateName {
  if (state.name !== 'trying') return state.name;
  return state.attempt.phase === 'gathering' ? 'gathering' : 'checking';
}

/** When a state ends by itself; `what` names the link. */
export function deadlineOf(state: State, what: string): Deadline | undefined {
  switch (state.name) {
    case 'trying':
      return state.attempt.nextTimeout(what);
    case 'up':
      return state.settledAt === undefined ? undefined : {at: state.settledAt, reason: `${what} settled`};
    case 'backoff':
      return {at: state.until, reason: `${what} back-off`};
    case 'idle':
    case 'closed':
      return undefined;
  }
}

/** Users see links come and go; a failed try says why; the steps between are for debugging. */
export function levelOf(from: LinkStateName, to: LinkStateName): 'debug' | 'info' {
  return to === 'up' || from === 'up' || to === 'backoff' ? 'info' : 'debug';
}

/** How an attempt ends: whether the peer is told, and whether XMPP is tested. */
export interface Ending {
  readonly tellPeer?: boolean;
  readonly probe?: boolean;
}

/** The peer ended it, and knows. */
export const BY_PEER: Ending = {tellPeer: false, probe: false};

/** Whether a path goes by a relay. */
export function isRelayed(info: LinkInfo): boolean {
  return info.localType === 'relay' || info.remoteType === 'relay';
}
