// SPDX-License-Identifier: MIT
// Inputs and effects of the switch's core. The core learns and decides; native caches its decisions as rules.

import type {PortId} from '../native/datapath.ts';

/** An address of the LAN: 12 lower-case hex digits (numbers are slow and open to attack as Map keys in quickjs-ng). */
export type Mac = string;

/** lan: the tap; link: a peer. Frames from a link never go to another link (split horizon of a full mesh). */
export type PortKind = 'lan' | 'link';

/** What the switch wants done, in order. */
export type SwitchEffect =
  | {readonly type: 'set-rule'; readonly vlan: number; readonly mac: Mac; readonly out: number}
  | {readonly type: 'delete-rule'; readonly vlan: number; readonly mac: Mac}
  | {readonly type: 'flush-rules'; readonly port: PortId}
  | {readonly type: 'finish-upcall'; readonly id: number; readonly out: number}
  /** Read native's rules and give them to handleRules. */
  | {readonly type: 'dump-rules'};
