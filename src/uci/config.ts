// SPDX-License-Identifier: MIT
// The typed configuration: what the rest of the program sees of /etc/config/ipop. Parsed once, never checked again.

import type {LogLevel} from '../base/log.ts';

export interface Config {
  readonly enabled: boolean;
  /** Shown to peers, signed. */
  readonly name: string;
  /** Folder of the identity key and the boot number. */
  readonly stateDir: string;
  /** Path of the local control socket. */
  readonly controlSocket: string;
  readonly logLevel: LogLevel;
  readonly networks: readonly NetworkConfig[];
}

export interface NetworkConfig {
  /** Name of the UCI section: [a-z0-9_]+ */
  readonly network: string;
  readonly account: {
    /** Bare JID. */
    readonly jid: string;
    readonly password: string;
    /** Host and port to connect to; default: the JID's domain, port 5223 (direct TLS, XEP-0368). */
    readonly host: string;
    readonly port: number;
    /** PEM file of the authorities to trust; undefined: the system's. */
    readonly caFile: string | undefined;
  };
  readonly room: {
    /** Bare JID of the MUC room. */
    readonly jid: string;
    /** Makes and configures the room and keeps its member list. */
    readonly owner: boolean;
    /** Bare JIDs that get membership; only the owner uses it. */
    readonly members: readonly string[];
  };
  readonly bridge: {
    /** undefined: the tap joins no bridge (the system's own network configuration may do so). */
    readonly name: string | undefined;
    readonly tap: string;
    readonly mtuBytes: number;
  };
  /** `stun:host:port` */
  readonly stun: readonly string[];
  /** `turn:user:password@host:port`, user and password percent-encoded. */
  readonly turn: readonly string[];
}
