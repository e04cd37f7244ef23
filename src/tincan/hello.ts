// SPDX-License-Identifier: MIT
// Messages of a link's control channel: docs/PROTOCOL.md, section 4.1.

import {fromUtf8, utf8} from '../base/bytes.ts';
import type {NodeId} from './types.ts';

export type ControlMessage =
  | {
      readonly type: 'hello';
      readonly version: number;
      readonly id: NodeId;
      readonly generation: number;
      /** What frames may go by besides SRTP, which every node has. */
      readonly carriages?: readonly string[];
      /** It makes a new link beside one that is up, and says `ready` on each. */
      readonly moves?: boolean;
    }
  /** The sender takes frames on this link. */
  | {readonly type: 'ready'}
  | {readonly type: 'bye'; readonly reason: string}
  /** A type of a later version: to be ignored. */
  | {readonly type: 'unknown'};

/** Longest message looked at. */
const MESSAGE_LENGTH = 1024;
const NODE_ID = /^[0-9a-f]{40}$/;
const REASON = /^[^\p{Cc}\p{Cf}\p{Cs}]{0,64}$/u;

/** Bytes of a message. */
export function writeMessage(message: ControlMessage): Uint8Array {
  return utf8(JSON.stringify(message));
}

/** Parses a message; undefined when it is malformed. */
export function parseMessage(bytes: Uint8Array): ControlMessage | undefined {
  if (bytes.length > MESSAGE_LENGTH) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes));
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const {type, version, id, generation, reason, carriages, moves} = value as Record<string, unknown>;
  if (typeof type !== 'string') return undefined;
  if (type === 'bye') return typeof reason === 'string' && REASON.test(reason) ? {type, reason} : undefined;
  if (type === 'ready') return {type};
  if (type !== 'hello') return {type: 'unknown'};
  if (typeof id !== 'string' || !NODE_ID.test(id)) return undefined;
  if (!Number.isSafeInteger(version) || !Number.isSafeInteger(generation)) return undefined;
  const offers = {carriages: strings(carriages), ...(moves === true ? {moves} : {})};
  return {type, version: version as number, id, generation: generation as number, ...offers};
}

/** Those of a list; anything else is none, as a later version may say more. */
function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}
