// SPDX-License-Identifier: MIT
// The one table of options: what /etc/config/ipop may hold. The reader, its messages and docs/CONFIG.md all come from it.

import * as value from './value.ts';
import type {ValueType} from './value.ts';

export interface OptionSpec<T> {
  readonly value: ValueType<unknown>;
  /** Written with `list`, once for each item. */
  readonly isList: boolean;
  /** Items a list may have. */
  readonly maxItems: number;
  readonly required: boolean;
  /** As one would write it; undefined: none, or made from other options (see help). */
  readonly fallback: string | undefined;
  /** Never shown in messages. */
  readonly secret: boolean;
  /** For docs/CONFIG.md. */
  readonly help: string;
  /** Only carries the type of what is read. */
  readonly type?: T;
}

/** What reading a section by its table gives. */
export type Values<S> = {readonly [K in keyof S]: S[K] extends OptionSpec<infer T> ? T : never};

export type OptionTable = Readonly<Record<string, OptionSpec<unknown>>>;

const plain = {isList: false, maxItems: 1, required: false, fallback: undefined, secret: false};

/** May be left out. */
function optional<T>(type: ValueType<T>, help: string): OptionSpec<T | undefined> {
  return {...plain, value: type, help};
}

/** Has this value when left out. */
function preset<T>(type: ValueType<T>, fallback: string, help: string): OptionSpec<T> {
  return {...plain, value: type, fallback, help};
}

function required<T>(type: ValueType<T>, help: string): OptionSpec<T> {
  return {...plain, value: type, required: true, help};
}

function list<T>(type: ValueType<T>, maxItems: number, help: string): OptionSpec<readonly T[]> {
  return {...plain, value: type, isList: true, maxItems, help};
}

function secret<T>(spec: OptionSpec<T>): OptionSpec<T> {
  return {...spec, secret: true};
}

/** A path of a unix socket, without its end mark. */
const MAX_SOCKET_PATH = 107;
const MAX_PATH = 255;

/** `config ipop 'main'`: the node. */
export const MAIN = {
  enabled: preset(value.boolean, '0', 'Whether ipop runs at all.'),
  name: optional(value.text(64), "This node's name as its peers see it. Default: the host's name."),
  state_dir: preset(
    value.path(MAX_PATH),
    '/etc/ipop',
    "Folder of this node's key and boot number. Whoever has the key is this node.",
  ),
  control: preset(value.path(MAX_SOCKET_PATH), '/var/run/ipop.sock', 'Unix socket that the command `ipop` talks to.'),
  log_level: preset(
    value.oneOf('debug', 'info', 'warning', 'error'),
    'info',
    'The least important lines that are logged.',
  ),
} satisfies OptionTable;

/** `config network '<name>'`: one Ethernet across sites. */
export const NETWORK = {
  enabled: preset(value.boolean, '1', 'Whether this network is joined.'),
  jid: required(value.jid, 'XMPP account this node logs in with.'),
  password: secret(required(value.text(1024), 'Password of the account.')),
  server: optional(
    value.server,
    'XMPP server to connect to. Default: what DNS says for the domain of `jid` (SRV), or that domain itself. Without a port 5223 (direct TLS) and 5222 (STARTTLS) are tried. The certificate must be for the domain of `jid` in any case.',
  ),
  tls: preset(
    value.oneOf('auto', 'direct', 'starttls'),
    'auto',
    '`direct`: TLS from the first byte (XEP-0368); `starttls`: by STARTTLS (RFC 6120); `auto`: as DNS or the port says, 5222 being for STARTTLS. Never without TLS.',
  ),
  ca_file: optional(
    value.path(MAX_PATH),
    "PEM file of the authorities that may have signed the server's certificate. Default: the system's.",
  ),
  pin: optional(
    value.certificatePin,
    "SHA-256 of the server's certificate: that one is accepted and no other, whoever signed it, whatever its name and dates. For a certificate signed by itself; a message names the one that was seen.",
  ),
  room: required(
    value.jid,
    'Chat room (XEP-0045) where the nodes of this network meet. Its members are the members of the network.',
  ),
  owner: preset(value.boolean, '0', 'Whether this node makes the room and keeps its member list.'),
  member: list(value.jid, 256, 'Accounts that are members of the room. Only the owner uses it.'),
  bridge: preset(
    value.bridgeName,
    'br-lan',
    'Bridge the tap is put into; `none`: into no bridge, as when the network configuration of the system does it.',
  ),
  tap: preset(value.interfaceName, 'ipop0', 'Name of the tap device. Each network needs one of its own.'),
  mtu: preset(value.integer(1280, 9000), '1500', 'MTU of the tap in bytes; that of the bridge is best.'),
  carriage: preset(
    value.oneOf('auto', 'srtp'),
    'auto',
    'What frames travel by: `auto`: the express carriage wherever the direct path takes it, and SRTP elsewhere; `srtp`: SRTP only.',
  ),
  up_kbit: preset(
    value.rate,
    '0',
    'What all links of this network may send, in kbit/s with the headers of UDP and IP. A little less than the line carries (85 to 95 %), so that frames wait here, where they take turns by flow, and not in a modem, where a download delays a call. 0: no limit.',
  ),
  down_kbit: preset(
    value.rate,
    '0',
    'The same for what they receive. Needs more room (80 to 90 % of the line), as senders must be slowed down before the line is full. 0: no limit.',
  ),
  dscp: preset(
    value.dscp,
    '0',
    'Mark of the datagrams that carry frames (DSCP, RFC 2474), for routers on the way that treat marked ones otherwise; on the Internet mostly ignored.',
  ),
  stun: list(value.stunServer, 4, 'STUN servers, asked for the address that peers see.'),
  turn: secret(list(value.turnServer, 4, 'TURN servers, which relay when no direct path works.')),
} satisfies OptionTable;

export interface SectionSpec {
  readonly type: string;
  /** undefined: any name. */
  readonly name: string | undefined;
  readonly options: OptionTable;
  readonly help: string;
}

/** All sections there are. */
export const SECTIONS: readonly SectionSpec[] = [
  {type: 'ipop', name: 'main', options: MAIN, help: 'This node. One section.'},
  {
    type: 'network',
    name: undefined,
    options: NETWORK,
    help: 'One network; its name is the name of the section (small letters, digits and `_`). Any number of sections.',
  },
];
