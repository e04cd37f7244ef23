// SPDX-License-Identifier: MIT
// Types of option values: each says what is allowed, and turns text into a value or refuses it.

export interface ValueType<T> {
  /** For people, after "must be": "a port from 1 to 65535". */
  readonly allowed: string;
  /** undefined: not allowed. */
  parse(text: string): T | undefined;
}

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** As lib/functions.sh of OpenWrt takes them. */
export const boolean: ValueType<boolean> = {
  allowed: '1 or 0 (also on, true, yes, enabled; off, false, no, disabled)',
  parse(text) {
    if (['1', 'on', 'true', 'yes', 'enabled'].includes(text)) return true;
    return ['0', 'off', 'false', 'no', 'disabled'].includes(text) ? false : undefined;
  },
};

/** Text without line breaks or other control characters. */
export function text(maxLength: number): ValueType<string> {
  return {
    allowed: `text of at most ${maxLength} characters, without line breaks`,

    parse: (value) => (value !== '' && value.length <= maxLength && !/[\x00-\x1f\x7f]/.test(value) ? value : undefined),
  };
}

export function integer(min: number, max: number): ValueType<number> {
  return {
    allowed: `a whole number from ${min} to ${max}`,
    parse(value) {
      const number = /^\d{1,9}$/.test(value) ? Number(value) : undefined;
      return number !== undefined && number >= min && number <= max ? number : undefined;
    },
  };
}

/** kbit/s, or 0 for no limit. */
export const rate: ValueType<number> = {
  allowed: 'a whole number from 64 to 10000000, or 0',
  parse(value) {
    const number = integer(0, 10_000_000).parse(value);
    return number !== undefined && (number === 0 || number >= 64) ? number : undefined;
  },
};

/** Names of code points: class selectors (RFC 2474), assured and expedited forwarding (RFC 2597, 3246), voice (RFC 5865), less than best effort (RFC 8622). */
const DSCP_NAMES: ReadonlyMap<string, number> = new Map([
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => [`cs${n}`, n * 8] as const),
  ...[1, 2, 3, 4].flatMap((n) => [1, 2, 3].map((drop) => [`af${n}${drop}`, n * 8 + drop * 2] as const)),
  ['ef', 46],
  ['va', 44],
  ['le', 1],
]);

/** A differentiated services code point; its value is the number. */
export const dscp: ValueType<number> = {
  allowed: 'a whole number from 0 to 63, or one of cs0 to cs7, af11 to af43, ef, va, le',
  parse: (value) => DSCP_NAMES.get(value.toLowerCase()) ?? integer(0, 63).parse(value),
};

export function oneOf<const T extends string>(...values: readonly T[]): ValueType<T> {
  return {allowed: `one of ${values.join(', ')}`, parse: (value) => values.find((one) => one === value)};
}

/** A bare JID (RFC 7622). Letters become lower case, as servers compare them. */
export const jid: ValueType<string> = {
  allowed: 'a JID without resource, as name@example.org',
  parse(value) {
    const [, local = '', domain = ''] = /^([^@/\s"&':<>\p{Cc}\p{Cs}]{1,255})@([^@/\s]+)$/u.exec(value) ?? [];
    return local && isHost(domain) ? `${local}@${domain}`.toLowerCase() : undefined;
  },
};

/** A host with or without a port: `example.org`, `192.0.2.1:5223`, `[2001:db8::1]:5223`. */
export const server: ValueType<{readonly host: string; readonly port: number | undefined}> = {
  allowed: 'host or host:port, an IPv6 address in square brackets',
  // No port is 0, so it can stand for none.
  parse(value) {
    const found = parseHostPort(value, 0);
    return found && {host: found.host, port: found.port || undefined};
  },
};

/** The SHA-256 of a certificate; its value is 64 small hex digits. */
export const certificatePin: ValueType<string> = {
  allowed: 'sha256: and 64 hex digits, with or without colons between the bytes',
  parse(value) {
    const [, digits] = /^sha256:((?:[0-9a-fA-F]{2}:?){31}[0-9a-fA-F]{2})$/.exec(value) ?? [];
    return digits?.replaceAll(':', '').toLowerCase();
  },
};

/** An absolute path of at most `maxLength` bytes of ASCII. */
export function path(maxLength: number): ValueType<string> {
  return {
    allowed: `an absolute path of at most ${maxLength} characters, without a final slash`,
    parse: (value) => (/^(\/[\x20-\x2e\x30-\x7e]+)+$/.test(value) && value.length <= maxLength ? value : undefined),
  };
}

/** A name the kernel takes for a network device. */
export const interfaceName: ValueType<string> = {
  allowed: 'a name of an interface: at most 15 characters, without blanks, / and :',
  parse: (value) =>
    /^[\x21-\x2e\x30-\x39\x3b-\x7e]{1,15}$/.test(value) && !/^\.{1,2}$/.test(value) ? value : undefined,
};

/** A bridge, or the word none: UCI cannot hold an empty value. */
export const bridgeName: ValueType<string> = {
  allowed: `${interfaceName.allowed}; or none`,
  parse: (value) => interfaceName.parse(value),
};

/** `stun:host:port`; scheme and port may be left out. */
export const stunServer: ValueType<string> = {
  allowed: 'stun:host:port or host:port (port 3478 when left out)',
  parse(value) {
    const server = parseHostPort(value.replace(/^stun:/, ''), STUN_PORT);
    return server && `stun:${writeHostPort(server)}`;
  },
};

/** `turn:user:password@host:port`, user and password percent-encoded; the port may be left out. */
export const turnServer: ValueType<string> = {
  allowed:
    'turn:user:password@host:port (port 3478 when left out), with : @ / and % in user and password written as %3A %40 %2F %25',
  parse(value) {
    const [, user, password, rest = ''] =
      /^turn:((?:[^:@/%\s\p{Cc}]|%[0-9a-fA-F]{2})+):((?:[^:@/%\s\p{Cc}]|%[0-9a-fA-F]{2})+)@(.+)$/u.exec(value) ?? [];
    const server = parseHostPort(rest, STUN_PORT);
    return server && `turn:${user}:${password}@${writeHostPort(server)}`;
  },
};

/** RFC 8489 and RFC 8656. */
const STUN_PORT = 3478;

function parseHostPort(value: string, defaultPort: number): HostPort | undefined {
  const [, address, name, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(value) ?? [];
  const host = address ?? name ?? '';
  const port = digits === undefined ? defaultPort : Number(digits);
  const good = address === undefined ? isHost(host) : address.includes(':');
  return good && (port >= 1 || digits === undefined) && port <= 65535 ? {host, port} : undefined;
}

function writeHostPort({host, port}: HostPort): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** A DNS name or an IPv4 address. International names are taken as they are. */
function isHost(name: string): boolean {
  return (
    name.length <= 253 &&
    name.split('.').every((label) => /^[\p{L}\p{N}_]([\p{L}\p{M}\p{N}_-]{0,61}[\p{L}\p{M}\p{N}_])?$/u.test(label))
  );
}
