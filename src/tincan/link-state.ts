// SPDX-License-Identifier: MIT
// The states of a link (diagram: link.ts), each with only what is valid in it.

import {type Deadline, earliest, type Millis} from '../base/time.ts';
import type {LinkInfo} from '../native/datapath.ts';
import type {LinkStateName} from '../status/types.ts';
import type {Attempt} from './attempt.ts';

export type State =
  /** dueAt: when it may offer; undefined: not wanted. */
  | {readonly name: 'idle'; readonly dueAt: Millis | undefined}
  | {readonly name: 'gathering'; readonly attempt: Attempt; readonly deadline: Millis}
  | {
      readonly name: 'checking';
      readonly attempt: Attempt;
      readonly deadline: Millis;
      readonly resendAt: Millis | undefined;
    }
  | {readonly name: 'up'; readonly attempt: Attempt; readonly info: LinkInfo; readonly settledAt: Millis | undefined}
  | {readonly name: 'backoff'; readonly until: Millis}
  | {readonly name: 'closed'};

/** When a state ends by itself; `what` names the link. */
export function deadlineOf(state: State, what: string): Deadline | undefined {
  const deadline = (at: Millis | undefined, why: string) =>
    at === undefined ? undefined : {at, reason: `${what} ${why}`};
  switch (state.name) {
    case 'gathering':
      return deadline(state.deadline, 'gathering limit');
    case 'checking':
      return earliest(deadline(state.deadline, 'checking limit'), deadline(state.resendAt, 'description again'));
    case 'up':
      return deadline(state.settledAt, 'settled');
    case 'backoff':
      return deadline(state.until, 'back-off');
    case 'idle':
    case 'closed':
      return undefined;
  }
}

/** Users see links come and go; a failed try says why; the steps between are for debugging. */
export function levelOf(from: LinkStateName, to: LinkStateName): 'debug' | 'info' {
  return to === 'up' || from === 'up' || to === 'backoff' ? 'info' : 'debug';
}
