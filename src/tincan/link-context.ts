// SPDX-License-Identifier: MIT
// What all links of one network share.

import {hex} from '../base/bytes.ts';
import type {LogLevel} from '../base/log.ts';
import type {LinkDescription, LinkInfo, PortId} from '../native/datapath.ts';
import type {AttemptStart} from './attempt.ts';
import {type Sha256, type Sign, signDescription, type Verify} from './identity.ts';
import type {ServerLists} from './servers.ts';
import type {LinkEffect, NodeId, SignedDescription} from './types.ts';

export interface LinkManagerDeps {
  readonly self: {
    readonly id: NodeId;
    /** `option name`; signed, cut to what peers accept. */
    readonly name: string;
    /** 32 bytes. */
    readonly publicKey: Uint8Array;
    /** Higher after each start. */
    readonly boot: number;
  };
  /** The room's bare JID. */
  readonly network: string;
  readonly servers: ServerLists;
  /** `option carriage`. */
  readonly carriage: 'auto' | 'srtp';
  readonly sign: Sign;
  readonly verify: Verify;
  readonly sha256: Sha256;
  randomBytes(length: number): Uint8Array;
  /** In [0, 1); only for jitter. */
  random(): number;
  /** Whether a path by this address would run inside another link (ipop_address_overlay). */
  isOverlay(address: string): boolean;
  /** What native says of a link now; undefined: it has just gone. */
  infoOf(port: PortId): LinkInfo | undefined;
  log(level: LogLevel, text: string): void;
}

export interface LinkContext extends LinkManagerDeps {
  emit(effect: LinkEffect): void;
  /** Whether one more answer may be in progress. */
  mayAnswer(): boolean;
}

/** 16 random bytes, hex. */
export function newNonce(context: Pick<LinkManagerDeps, 'randomBytes'>): string {
  return hex(context.randomBytes(16));
}

/** Our description of an attempt, signed. */
export function signOwn(
  context: LinkManagerDeps,
  to: NodeId,
  start: AttemptStart,
  description: LinkDescription,
): SignedDescription {
  const {self, network, sign} = context;
  const {role, generation, sid} = start;
  const unsigned = {
    role,
    from: self.id,
    to,
    network,
    boot: self.boot,
    generation,
    nonce: sid,
    description,
    publicKey: hex(self.publicKey),
    name: signableName(self.name),
  };
  return signDescription(unsigned, sign);
}

/** What jingle.ts accepts as a name: at most 64 UTF-16 units, nothing that a terminal obeys. */
function signableName(name: string): string {
  return name
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '')
    .slice(0, 64)
    .replace(/\p{Cs}$/u, '');
}
