// SPDX-License-Identifier: MIT
// The native half, typed: one method for each function of native/include/ipop.h, which documents units, bounds and errnos.

import {fromHex, fromUtf8, utf8} from '../base/bytes.ts';
import {writeTextMap} from '../base/text-map.ts';
import type {Host} from '../runtime/host.ts';
import {Calls} from './calls.ts';
import {decodeLinkInfo, decodePortCounters, decodeRules, decodeU64s, PORT_COUNTERS_SIZE, RULE_SIZE} from './codec.ts';
import {
  NativeError,
  type Datapath,
  type LinkDescription,
  type LinkInfo,
  type LinkPath,
  type LinkRole,
  type LinkShape,
  type PortCounters,
  type PortId,
  type RuleUse,
  type SwitchId,
} from './datapath.ts';

/** The version of ipop.h that this half was written for. */
export const ABI_VERSION = 1;

export type HashAlgorithm = 'sha1' | 'sha256';

export interface ProcessCounters {
  readonly recordsQueued: number;
  readonly recordsDropped: number;
  readonly threads: number;
  /** That can still be made; 8 is 8 or more. */
  readonly descriptorsFree: number;
  readonly descriptorLimit: number;
}

const EINVAL = 22;
const ALGORITHMS = {sha1: 1, sha256: 2} as const;
const DIGEST_SIZE = 32;
const MAX_FRAME = 65535;
const MAX_ANSWER = 1 << 20;
const MAX_FILE = 256 << 10;
const MAX_TEXT = 4096;
/** Rules read in one call: 14 KiB. */
const RULES_AT_ONCE = 512;

/** All methods throw NativeError when the call fails. */
export class Native implements Datapath, LinkPath {
  readonly #calls: Calls;

  constructor(native: Host['native']) {
    this.#calls = new Calls(native);
  }

  // ---- start and stop

  /** Checks the library's version and starts its threads. */
  start(): void {
    const version = this.#calls.call('ipop_abi_version');
    if (version !== ABI_VERSION) {
      throw new NativeError('ipop_abi_version', EINVAL, `the native library is version ${version}, not ${ABI_VERSION}`);
    }
    this.#calls.call('ipop_start');
  }

  /** Closes everything; taps are gone afterwards. At most 3 s. */
  stop(): void {
    this.#calls.call('ipop_stop');
  }

  processCounters(): ProcessCounters {
    const counters = decodeU64s(this.#calls.read('ipop_process_counters', 40));
    const [recordsQueued = 0, recordsDropped = 0, threads = 0, descriptorsFree = 0, descriptorLimit = 0] = counters;
    return {recordsQueued, recordsDropped, threads, descriptorsFree, descriptorLimit};
  }

  // ---- switch, ports, rules

  openSwitch(): SwitchId {
    return this.#calls.call('ipop_switch_open');
  }

  closeSwitch(sw: SwitchId): void {
    this.#calls.call('ipop_switch_close', sw);
  }

  openTap(sw: SwitchId, name: string, mtuBytes: number): PortId {
    return this.#calls.call('ipop_tap_open', sw, ...counted(utf8(name)), mtuBytes);
  }

  openMemory(sw: SwitchId, isLink: boolean): PortId {
    return this.#calls.call('ipop_memory_open', sw, isLink ? 1 : 0);
  }

  writeMemory(port: PortId, frame: Uint8Array): void {
    this.#calls.call('ipop_memory_write', port, ...counted(frame));
  }

  readMemory(port: PortId): Uint8Array | undefined {
    const frame = this.#calls.read('ipop_memory_read', MAX_FRAME, port);
    return frame.length > 0 ? frame.slice() : undefined;
  }

  enablePort(port: PortId, on: boolean): void {
    this.#calls.call('ipop_port_enable', port, on ? 1 : 0);
  }

  standIn(port: PortId, of: PortId): void {
    this.#calls.call('ipop_port_stand_in', port, of);
  }

  closePort(port: PortId): void {
    this.#calls.call('ipop_port_close', port);
  }

  portCounters(port: PortId): PortCounters {
    return decodePortCounters(this.#calls.read('ipop_port_counters', PORT_COUNTERS_SIZE, port));
  }

  setRule(sw: SwitchId, mac: string, vlan: number, out: number): void {
    this.#calls.call('ipop_rule_set', sw, macBytes('ipop_rule_set', mac), vlan, out);
  }

  deleteRule(sw: SwitchId, mac: string, vlan: number): boolean {
    return this.#calls.exists('ipop_rule_delete', sw, macBytes('ipop_rule_delete', mac), vlan);
  }

  flushRules(sw: SwitchId, port: PortId = 0): number {
    return this.#calls.call('ipop_rules_flush', sw, port);
  }

  dumpRules(sw: SwitchId): RuleUse[] {
    const buffer = new Uint8Array(RULES_AT_ONCE * RULE_SIZE);
    const rules: RuleUse[] = [];
    for (;;) {
      const count = this.#calls.call('ipop_rules_dump', sw, rules.length, ...counted(buffer));
      if (count === 0) return rules;
      rules.push(...decodeRules(buffer.subarray(0, count * RULE_SIZE)));
    }
  }

  finishUpcall(sw: SwitchId, id: number, out: number): boolean {
    return this.#calls.exists('ipop_upcall_finish', sw, id, out);
  }

  // ---- links

  openLink(sw: SwitchId, role: LinkRole, servers: readonly string[]): PortId {
    const config = writeTextMap({server: servers});
    return this.#calls.call('ipop_link_open', sw, role === 'offer' ? 0 : 1, ...counted(config));
  }

  setRemote(link: PortId, {ufrag, pwd, fingerprint, setup}: LinkDescription): void {
    this.#calls.call('ipop_link_remote', link, ...counted(writeTextMap({ufrag, pwd, fingerprint, setup})));
  }

  addCandidate(link: PortId, candidate: string): void {
    this.#calls.call('ipop_link_candidate', link, ...counted(utf8(candidate)));
  }

  sendMessage(link: PortId, message: Uint8Array): void {
    this.#calls.call('ipop_link_send', link, ...counted(message));
  }

  startExpress(link: PortId, local: string, peer: string, generation: number): void {
    this.#calls.call('ipop_link_express', link, ...counted(writeTextMap({local, peer, generation})));
  }

  shapeLinks(sw: SwitchId, {upKbit, downKbit, dscp}: LinkShape): void {
    const config = writeTextMap({up_kbit: upKbit, down_kbit: downKbit, dscp});
    this.#calls.call('ipop_switch_shape', sw, ...counted(config));
  }

  linkInfo(link: PortId): LinkInfo {
    return decodeLinkInfo(this.#calls.read('ipop_link_info', MAX_TEXT, link));
  }

  closeLink(link: PortId): void {
    this.#calls.call('ipop_link_close', link);
  }

  // ---- streams

  /** @param config text map: host, port, name, ca, pin, tls, alpn, timeout_ms */
  openStream(config: Uint8Array): number {
    return this.#calls.call('ipop_stream_open', ...counted(config));
  }

  writeStream(stream: number, data: Uint8Array): void {
    this.#calls.call('ipop_stream_write', stream, ...counted(data));
  }

  closeStream(stream: number): void {
    this.#calls.call('ipop_stream_close', stream);
  }

  /** @param config text map: name, timeout_ms, server; the answer comes as event `srv` with the returned request */
  lookupSrv(config: Uint8Array): number {
    return this.#calls.call('ipop_srv_lookup', ...counted(config));
  }

  // ---- local control socket

  listenControl(path: string): void {
    this.#calls.call('ipop_ctl_listen', ...counted(utf8(path)));
  }

  replyControl(connection: number, answer: string): void {
    this.#calls.call('ipop_ctl_reply', connection, ...counted(utf8(answer)));
  }

  /** Asks a running daemon and waits for its answer, up to 5 s: only for the command line. */
  callControl(path: string, request: string): string {
    const args = [...counted(utf8(path)), ...counted(utf8(request))];
    return fromUtf8(this.#calls.read('ipop_ctl_call', MAX_ANSWER, ...args));
  }

  // ---- identity, hashes, random

  random(length: number): Uint8Array {
    const buffer = new Uint8Array(length);
    this.#calls.call('ipop_random', ...counted(buffer));
    return buffer;
  }

  hash(algorithm: HashAlgorithm, data: Uint8Array): Uint8Array {
    return this.#calls.read('ipop_hash', DIGEST_SIZE, ALGORITHMS[algorithm], ...counted(data));
  }

  hmac(algorithm: HashAlgorithm, key: Uint8Array, data: Uint8Array): Uint8Array {
    return this.#calls.read('ipop_hmac', DIGEST_SIZE, ALGORITHMS[algorithm], ...counted(key), ...counted(data));
  }

  /** Starts a derivation; the key comes as event `pbkdf2` with the returned request. */
  pbkdf2(algorithm: HashAlgorithm, password: Uint8Array, salt: Uint8Array, rounds: number): number {
    return this.#calls.call('ipop_pbkdf2', ALGORITHMS[algorithm], ...counted(password), ...counted(salt), rounds);
  }

  /** Loads this node's key, or makes it once. Returns the 32-byte public key. */
  openIdentity(path: string): Uint8Array {
    const publicKey = new Uint8Array(32);
    this.#calls.call('ipop_identity_open', ...counted(utf8(path)), ...counted(publicKey));
    return publicKey;
  }

  /** Ed25519 by the opened identity, 64 bytes. */
  sign(data: Uint8Array): Uint8Array {
    const signature = new Uint8Array(64);
    this.#calls.call('ipop_sign', ...counted(data), ...counted(signature));
    return signature;
  }

  /** Whether the Ed25519 signature is good; false too when key or signature have the wrong length. */
  verify(publicKey: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
    if (publicKey.length !== 32 || signature.length !== 64) return false;
    return this.#calls.call('ipop_verify', publicKey, ...counted(data), signature) === 1;
  }

  // ---- files, interfaces

  /** A whole file of at most 256 KiB. */
  readFile(path: string): Uint8Array {
    return this.#calls.read('ipop_file_read', MAX_FILE, ...counted(utf8(path)));
  }

  /** Writes a file whole or not at all, mode 0600. */
  writeFile(path: string, data: Uint8Array): void {
    this.#calls.call('ipop_file_write', ...counted(utf8(path)), ...counted(data));
  }

  hostName(): string {
    return fromUtf8(this.#calls.read('ipop_host_name', MAX_TEXT));
  }

  joinBridge(port: PortId, bridge: string): void {
    this.#calls.call('ipop_bridge_join', port, ...counted(utf8(bridge)));
  }

  /** Name of the bridge the tap is in; undefined: none. */
  bridgeOf(port: PortId): string | undefined {
    return fromUtf8(this.#calls.read('ipop_bridge_of', MAX_TEXT, port)) || undefined;
  }

  /** Whether a link over this address would run inside another of our links. */
  addressOverlay(address: string): boolean {
    return this.#calls.call('ipop_address_overlay', ...counted(utf8(address))) === 1;
  }
}

/** A buffer and its length, as C takes them. */
function counted(bytes: Uint8Array): [Uint8Array, number] {
  return [bytes, bytes.length];
}

function macBytes(call: string, mac: string): Uint8Array {
  const bytes = mac.length === 12 ? fromHex(mac) : undefined;
  if (bytes === undefined) throw new NativeError(call, EINVAL, `'${mac}' is no address of 12 hex digits`);
  return bytes;
}
