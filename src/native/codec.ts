// SPDX-License-Identifier: MIT
// Records and tables of native (native/include/ipop.h) as typed values. Every length is checked here and nowhere after.

import {fromUtf8, hex} from '../base/bytes.ts';
import {parseTextMap} from '../base/text-map.ts';
import type {SrvRecord} from '../xmpp/servers.ts';
import {
  DROP_NAMES,
  NativeError,
  type LinkDescription,
  type LinkInfo,
  type Miss,
  type NativeEvent,
  type PortCounters,
  type RuleUse,
} from './datapath.ts';

/** Bytes before each record's payload. */
export const RECORD_HEADER = 16;
/** Bytes of one rule in `ipop_rules_dump`. */
export const RULE_SIZE = 28;
/** Bytes of `ipop_port_counters`. */
export const PORT_COUNTERS_SIZE = 8 * (5 + DROP_NAMES.length);

const EBADMSG = 74;
const NEVER = 0xffffffff;
const MISSES: readonly (Miss | undefined)[] = [undefined, 'source', 'moved', 'destination'];
const UPCALL_HEAD = 16;

/** A record with the number that shows gaps. */
export interface DecodedRecord {
  readonly sequence: number;
  /** undefined: a type this version does not know. */
  readonly event: NativeEvent | undefined;
}

/** Decodes one record, header included. Throws NativeError (EBADMSG) when it is cut short or contradicts itself. */
export function decodeRecord(record: Uint8Array): DecodedRecord {
  if (record.length < RECORD_HEADER) throw bad(`record of ${record.length} bytes is shorter than its header`);
  const view = viewOf(record);
  const type = view.getUint16(0, true);
  const length = view.getUint32(4, true);
  if (length !== record.length - RECORD_HEADER) {
    throw bad(`record of type ${type} says ${length} bytes and has ${record.length - RECORD_HEADER}`);
  }
  const payload = record.subarray(RECORD_HEADER);
  return {sequence: view.getUint32(8, true), event: decodeEvent(type, view.getInt32(12, true), payload)};
}

/** Cuts what `ipop_poll` wrote into records. Throws NativeError (EBADMSG) when the last one is not whole. */
export function splitRecords(bytes: Uint8Array): Uint8Array[] {
  const records: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const rest = bytes.length - at;
    const length = rest < RECORD_HEADER ? RECORD_HEADER : RECORD_HEADER + viewOf(bytes).getUint32(at + 4, true);
    if (length > rest) throw bad(`record of ${length} bytes is cut at ${rest}`);
    records.push(bytes.slice(at, at + length));
    at += length;
  }
  return records;
}

/** Follows the sequence numbers of records, and tells of those that are missing. */
export class RecordReader {
  #expected = 0;
  #ignored = 0;
  #malformed = 0;

  /** Records of a type unknown to this version. */
  get ignored(): number {
    return this.#ignored;
  }

  /** Records that could not be decoded. */
  get malformed(): number {
    return this.#malformed;
  }

  /**
   * What one record says, after a `gap` when records before it were lost. A record that cannot be decoded is counted and is itself a
   * gap: what it said is not known.
   */
  read(record: Uint8Array): NativeEvent[] {
    let decoded: DecodedRecord;
    try {
      decoded = decodeRecord(record);
    } catch {
      this.#malformed++;
      this.#expected = (this.#expected + 1) >>> 0;
      return [{type: 'gap', missed: 1}];
    }
    const {sequence, event} = decoded;
    const missed = (sequence - this.#expected) >>> 0;
    this.#expected = (sequence + 1) >>> 0;
    if (event === undefined) this.#ignored++;
    return [...(missed > 0 ? [{type: 'gap', missed} as const] : []), ...(event ? [event] : [])];
  }
}

/** Rules of `ipop_rules_dump`. */
export function decodeRules(bytes: Uint8Array): RuleUse[] {
  if (bytes.length % RULE_SIZE !== 0) throw bad(`${bytes.length} bytes are no whole number of rules`);
  const view = viewOf(bytes);
  const rules: RuleUse[] = [];
  for (let at = 0; at < bytes.length; at += RULE_SIZE) {
    rules.push({
      mac: hex(bytes.subarray(at, at + 6)),
      vlan: view.getUint16(at + 6, true),
      out: view.getInt32(at + 8, true),
      sourceIdleMs: idle(view.getUint32(at + 12, true)),
      destinationIdleMs: idle(view.getUint32(at + 16, true)),
      hits: u64(view, at + 20),
    });
  }
  return rules;
}

/** Counters of `ipop_port_counters`. */
export function decodePortCounters(bytes: Uint8Array): PortCounters {
  if (bytes.length !== PORT_COUNTERS_SIZE)
    throw bad(`${bytes.length} bytes of port counters, not ${PORT_COUNTERS_SIZE}`);
  const [rxFrames = 0, rxBytes = 0, txFrames = 0, txBytes = 0, upcalls = 0, ...counts] = decodeU64s(bytes);
  const drops: Record<string, number> = {};
  DROP_NAMES.forEach((name, i) => {
    const count = counts[i] ?? 0;
    if (count > 0) drops[name] = count;
  });
  return {rxFrames, rxBytes, txFrames, txBytes, upcalls, drops};
}

/** A run of u64s; exact up to 2^53. */
export function decodeU64s(bytes: Uint8Array): number[] {
  if (bytes.length % 8 !== 0) throw bad(`${bytes.length} bytes are no whole number of counters`);
  const view = viewOf(bytes);
  return Array.from({length: bytes.length / 8}, (_, i) => u64(view, 8 * i));
}

/** Text map of `ipop_link_info`. */
export function decodeLinkInfo(bytes: Uint8Array): LinkInfo {
  const map = parseTextMap(bytes);
  const count = (key: string): number => {
    const value = Number(map[key] ?? '0');
    return Number.isFinite(value) ? value : 0;
  };
  return {
    state: map['state'] ?? '',
    local: map['local'] ?? '',
    remote: map['remote'] ?? '',
    localType: map['local_type'] ?? '',
    remoteType: map['remote_type'] ?? '',
    carriage: map['carriage'] ?? '',
    carriageWhy: map['carriage_why'] ?? '',
    cipher: map['cipher'] ?? '',
    datagramBytes: count('datagram_bytes'),
    rtpSent: count('rtp_sent'),
    rtpReceived: count('rtp_received'),
    ssrcChanges: count('ssrc_changes'),
    silentMs: count('silent_ms'),
    localGone: map['local_gone'] === '1',
    lossPermille: (map['loss_permille'] ?? '') === '' ? undefined : count('loss_permille'),
    throttled: count('throttled') === 1,
  };
}

function decodeEvent(type: number, handle: number, payload: Uint8Array): NativeEvent | undefined {
  switch (type) {
    case 1:
      return decodeUpcall(handle, payload);
    case 2:
      return {type: 'port-gone', port: handle, text: fromUtf8(payload)};
    case 3:
      return {type: 'link-local', link: handle, local: decodeDescription(payload)};
    case 4:
      return {type: 'link-candidate', link: handle, candidate: fromUtf8(payload)};
    case 5:
      return {type: 'link-gathered', link: handle};
    case 6:
      return {type: 'link-up', link: handle, info: decodeLinkInfo(payload)};
    case 7:
      return {type: 'link-lost', link: handle, ...decodeEnd(payload)};
    case 8:
      return {type: 'link-message', link: handle, message: payload.slice()};
    case 9:
      return {type: 'stream-open', stream: handle, info: parseTextMap(payload)};
    case 10:
      return {type: 'stream-data', stream: handle, data: payload.slice()};
    case 11:
      return {type: 'stream-closed', stream: handle, ...decodeEnd(payload)};
    case 12:
      return {type: 'ctl-request', connection: handle, request: fromUtf8(payload)};
    case 13:
      return {type: 'pbkdf2', request: handle, key: payload.slice()};
    case 14:
      return {type: 'interfaces'};
    case 15:
      return {type: 'srv', request: handle, ...decodeSrv(payload)};
    case 16:
      return {type: 'link-moved', link: handle, ...decodeEnd(payload)};
    default:
      return undefined;
  }
}

function decodeUpcall(sw: number, payload: Uint8Array): NativeEvent {
  if (payload.length < UPCALL_HEAD) throw bad(`upcall of ${payload.length} bytes`);
  const view = viewOf(payload);
  const miss = MISSES[view.getUint8(12)];
  const headLength = view.getUint16(14, true);
  if (miss === undefined) throw bad(`upcall with unknown miss ${view.getUint8(12)}`);
  if (headLength !== payload.length - UPCALL_HEAD) {
    throw bad(`upcall says ${headLength} bytes of frame and has ${payload.length - UPCALL_HEAD}`);
  }
  return {
    type: 'upcall',
    sw,
    upcall: {
      id: view.getUint32(0, true),
      port: view.getInt32(4, true),
      vlan: view.getUint16(8, true),
      frameLength: view.getUint16(10, true),
      miss,
      head: payload.slice(UPCALL_HEAD),
    },
  };
}

function decodeDescription(payload: Uint8Array): LinkDescription {
  const {ufrag, pwd, fingerprint, setup} = parseTextMap(payload);
  if (!ufrag || !pwd || !fingerprint) throw bad('link description without ufrag, pwd or fingerprint');
  if (setup !== 'actpass' && setup !== 'active' && setup !== 'passive')
    throw bad(`link description with setup '${setup}'`);
  return {ufrag, pwd, fingerprint, setup};
}

function decodeEnd(payload: Uint8Array): {code: string; text: string} {
  const {code, text} = parseTextMap(payload);
  return {code: code ?? 'internal', text: text ?? ''};
}

/** A record that is none is as good as absent. */
function decodeSrv(payload: Uint8Array): {records: SrvRecord[]; error: {code: string; text: string} | undefined} {
  const records: SrvRecord[] = [];
  for (const [, ...fields] of fromUtf8(payload).matchAll(/^record=(\d{1,5}) (\d{1,5}) (\d{1,5}) (\S+)$/gm)) {
    const [priority = 0, weight = 0, port = 0] = fields.slice(0, 3).map(Number);
    const target = fields[3] ?? '.';
    if (port > 0 || target === '.') records.push({priority, weight, port, target});
  }
  return {records, error: parseTextMap(payload)['code'] === undefined ? undefined : decodeEnd(payload)};
}

function idle(ms: number): number | undefined {
  return ms === NEVER ? undefined : ms;
}

function u64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bad(text: string): NativeError {
  return new NativeError('ipop_poll', EBADMSG, text);
}
