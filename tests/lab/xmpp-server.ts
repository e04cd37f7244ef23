// SPDX-License-Identifier: MIT
// A real XMPP server on the server host: direct TLS (XEP-0368), two virtual hosts that differ in the SCRAM hash, a MUC service.

import type {Proc} from './proc.ts';

/** Its accounts log in by SCRAM-SHA-1 and by SCRAM-SHA-256. */
export const DOMAINS = {'SHA-1': 'example.org', 'SHA-256': 'example.net'} as const;
export const MUC_DOMAIN = 'conference.example.org';
/** The names its certificate must have. */
export const CERTIFICATE_NAMES: readonly string[] = [...Object.values(DOMAINS), MUC_DOMAIN];
/** Direct TLS. */
export const PORT = 5223;

/** Prosody, or ejabberd where IPOP_LAB_SERVER says so. */
export interface XmppServer {
  /** host:port. */
  readonly address: string;
  /** The running (or last) process. Throws when it was never started. */
  readonly proc: Proc;
  /** Makes an account (also while it runs) and returns its bare JID. */
  addAccount(user: string, password: string, hash?: keyof typeof DOMAINS): string;
  /** Starts it and waits until it listens. */
  start(): Promise<void>;
  /** From its next start on, all stanzas are in its log. */
  logStanzas(): void;
  /** Asks it to end and waits for that. */
  stop(): Promise<void>;
}
