// SPDX-License-Identifier: MIT
// The one answer to "how is it?": what `ipop status --json` prints, what the tables show, what tests read. Field names are stable.

/** Text of `ipop status --json`. */
export interface Status {
  readonly version: string;
  /** Since the daemon started. */
  readonly uptimeSec: number;
  readonly node: {
    /** 40 hex digits: the first 160 bits of the SHA-256 of its public key. */
    readonly id: string;
    readonly name: string;
  };
  readonly networks: readonly NetworkStatus[];
  /** Why what runs is not what the file said at the last reload, a sentence each; absent once a reload was good. */
  readonly configProblems?: readonly string[];
  /** Why the state folder could not be written, a sentence; absent while it can. */
  readonly stateProblem?: string;
  /** Problems, worst first; empty when all is well. */
  readonly health: readonly HealthItem[];
  readonly process: {
    readonly recordsQueued: number;
    readonly recordsDropped: number;
    readonly threads: number;
    /** File descriptors that can still be made; 8 is 8 or more. */
    readonly descriptorsFree: number;
    readonly descriptorLimit: number;
  };
}

export interface NetworkStatus {
  /** Name of its UCI section. */
  readonly network: string;
  readonly xmpp: {
    readonly state: XmppState;
    /** Bare JID of the account. */
    readonly jid: string;
    /** Address it is or was last connected to; absent before. */
    readonly server?: string;
    readonly room: string;
    /** In words, when it is not online. */
    readonly error?: ErrorStatus;
    /** Another node that has this node's identity: its bare JID (empty: not known), and when it was last noticed. */
    readonly twin?: {readonly jid: string; readonly agoSec: number};
    readonly retryInSec?: number;
  };
  readonly bridge: {
    readonly name: string;
    readonly tap: string;
    readonly mtuBytes: number;
    readonly state: 'joined' | 'no-bridge' | 'no-tap' | 'unbridged';
    readonly error?: ErrorStatus;
    /** Addresses learned on the LAN side. */
    readonly macs: number;
    readonly traffic: TrafficStatus;
  };
  /** Sorted by name, then id. */
  readonly peers: readonly PeerStatus[];
  readonly fdb: {readonly entries: number; readonly limit: number; readonly evicted: number; readonly moved: number};
  readonly upcalls: number;
}

export type XmppState = 'offline' | 'connecting' | 'authenticating' | 'joining' | 'waiting' | 'online' | 'stopped';
export type LinkStateName = 'idle' | 'gathering' | 'checking' | 'up' | 'backoff' | 'closed';

export interface PeerStatus {
  readonly id: string;
  /** Signed by the peer; empty until its first valid offer or answer. */
  readonly name: string;
  /** Bare JID. */
  readonly jid: string;
  /** In the room now. */
  readonly present: boolean;
  readonly state: LinkStateName;
  /** Only while up. */
  readonly path?: {
    readonly kind: 'direct' | 'relay';
    readonly local: string;
    readonly remote: string;
    /** srtp or express. */
    readonly carriage: string;
    /** Why it is that one, in words. */
    readonly carriageWhy?: string;
    /** With express. */
    readonly cipher?: string;
    /** Bytes of UDP payload that the path takes; with express. */
    readonly datagramBytes?: number;
    /** Loss of what was sent lately, in thousandths; absent when too little was. */
    readonly lossPermille?: number;
    /** All but TCP is held down, because so much is lost. */
    readonly throttled?: boolean;
  };
  /** While up, and another path is tried: why, in words. */
  readonly moving?: string;
  readonly traffic: TrafficStatus;
  readonly macs: number;
  /** Since the state was entered. */
  readonly sinceSec: number;
  /** Failed tries in a row. */
  readonly attempts: number;
  readonly error?: ErrorStatus;
  readonly retryInSec?: number;
}

/** rx: into this node's switch from there. */
export interface TrafficStatus {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  readonly drops: Readonly<Record<string, number>>;
}

export interface ErrorStatus {
  readonly code: string;
  readonly text: string;
  /** Since it happened. */
  readonly agoSec: number;
}

export interface HealthItem {
  /** Stable; docs/TROUBLESHOOTING.md has a section for each. */
  readonly code: string;
  readonly severity: 'warning' | 'error';
  readonly network: string;
  /** What is wrong, and the way out. */
  readonly text: string;
}

/** One line of `ipop fdb`. */
export interface FdbEntryStatus {
  readonly network: string;
  readonly vlan: number;
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  /** `lan`, or the peer's name. */
  readonly port: string;
  readonly ageSec: number;
}
