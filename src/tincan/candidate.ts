// SPDX-License-Identifier: MIT
// ICE candidates: parsing (RFC 8839 section 5.1) and the policy which of them may be used.

/** The parts of a candidate line that policy looks at. */
export interface Candidate {
  readonly transport: string;
  /** As written: an IP address, or a name. */
  readonly address: string;
  readonly port: number;
  readonly type: string;
  /** Where the candidate's packets leave (host), or its base; for srflx, prflx and relay. */
  readonly relatedAddress: string | undefined;
}

/** Longest line taken; real ones have about 120 characters. */
export const CANDIDATE_LENGTH = 512;

const LINE =
  /^candidate:[A-Za-z0-9+/]{1,32} (?:[1-9]\d{0,4}) ([A-Za-z][A-Za-z0-9-]{0,15}) \d{1,10} ([A-Za-z0-9.:-]{1,255}) (\d{1,5}) typ (host|srflx|prflx|relay)((?: [!-~]{1,255} [!-~]{1,255})*)$/;

/** Parses one line without `a=`; undefined when it is none. */
export function parseCandidate(line: string): Candidate | undefined {
  const match = line.length <= CANDIDATE_LENGTH ? LINE.exec(line) : null;
  const [, transport, address, port, type, extensions] = match ?? [];
  if (!transport || !address || !port || !type || Number(port) > 65535) return undefined;
  const words = (extensions ?? '').split(' ');
  const related = words.indexOf('raddr');
  return {
    transport: transport.toLowerCase(),
    address,
    port: Number(port),
    type,
    relatedAddress: related > 0 && related % 2 === 1 ? words[related + 1] : undefined,
  };
}

/**
 * Why a candidate must not be used, or undefined when it may. `isOverlay` tells whether an address is ours on, or is reached through, one of
 * our taps or their bridges: such a path would run inside another link. It is asked about local and remote candidates alike.
 */
export function refuseCandidate(line: string, isOverlay: (address: string) => boolean): string | undefined {
  const candidate = parseCandidate(line);
  if (!candidate) return 'malformed';
  if (candidate.transport !== 'udp') return 'not UDP';
  if (candidate.port === 0) return 'port 0';
  const unusable = unusableAddress(candidate.address);
  if (unusable) return unusable;
  if (isOverlay(candidate.address)) return 'inside the overlay';
  const {type, relatedAddress} = candidate;
  // A reflexive candidate is reached through its base: a base on a tap means STUN went through another link.
  if (type === 'srflx' && relatedAddress && !unusableAddress(relatedAddress) && isOverlay(relatedAddress)) {
    return 'base inside the overlay';
  }
  return undefined;
}

/** Why no peer can be at this address; undefined for unicast IPv4 and IPv6. */
function unusableAddress(address: string): string | undefined {
  const bytes = address.includes(':') ? ipv6(address) : ipv4(address);
  // Names: mDNS ones need a resolver on the peer's LAN, others would let a peer make us query its name servers.
  if (!bytes) return 'a name, not an address';
  const first = bytes[0] as number;
  if (bytes.every((byte) => byte === 0)) return 'any address';
  if (bytes.length === 4) {
    if (first === 127) return 'loopback';
    if (first === 0 || first >= 224) return 'not unicast';
    if (first === 169 && bytes[1] === 254) return 'link-local';
    return undefined;
  }
  if (bytes.slice(0, 15).every((byte) => byte === 0) && bytes[15] === 1) return 'loopback';
  if (first === 0xff) return 'not unicast';
  // Means nothing without its interface.
  if (first === 0xfe && ((bytes[1] as number) & 0xc0) === 0x80) return 'link-local';
  if (bytes.slice(0, 10).every((byte) => byte === 0)) return 'IPv4 inside IPv6';
  return undefined;
}

function ipv4(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.map(Number);
}

/** RFC 4291 section 2.2, all three forms; no zone. */
function ipv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const sides = halves.map((half) => (half === '' ? [] : half.split(':')));
  const bytes: number[][] = [];
  for (const [index, side] of sides.entries()) {
    const out: number[] = [];
    for (const [at, group] of side.entries()) {
      const v4 = index === sides.length - 1 && at === side.length - 1 && group.includes('.') ? ipv4(group) : undefined;
      if (v4) out.push(...v4);
      else if (/^[0-9a-fA-F]{1,4}$/.test(group))
        out.push(Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255);
      else return undefined;
    }
    bytes.push(out);
  }
  const [head = [], tail] = bytes;
  const missing = 16 - head.length - (tail?.length ?? 0);
  if (tail ? missing < 2 : missing !== 0) return undefined;
  return [...head, ...new Array<number>(missing).fill(0), ...(tail ?? [])];
}
