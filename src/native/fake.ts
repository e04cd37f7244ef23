// SPDX-License-Identifier: MIT
// Native in memory, for tests and simulations: the same contract (tests/contract), a clock that is handed in, no threads.

import type {Deadline, Millis} from '../base/time.ts';
import {
  NativeError,
  OUT_FLOOD,
  OUT_RULES,
  type Datapath,
  type LinkDescription,
  type LinkInfo,
  type LinkPath,
  type LinkRole,
  type LinkShape,
  type NativeEvent,
  type PortCounters,
  type PortId,
  type RuleUse,
  type SwitchId,
} from './datapath.ts';
import type {DropName} from './fake-frame.ts';
import {FakePort} from './fake-port.ts';
import {FakeSwitch} from './fake-switch.ts';
import {FakeWire, infoOf, type WireEnd} from './fake-wire.ts';

const ENOENT = 2;
const EAGAIN = 11;
const EBUSY = 16;
const EINVAL = 22;
const ENOSPC = 28;
const ENOTCONN = 107;
const EALREADY = 114;
/** As native's record queue. */
const MAX_EVENTS = 4096;
const MAX_LINKS = 128;
const MAX_MESSAGE = 16 << 10;
const MAX_CANDIDATES = 64;

export interface FakeOptions {
  nowMs(): Millis;
  /** Shared by the fakes whose links shall meet; default: one of its own. */
  readonly wire?: FakeWire;
  /** Name of this fake on the wire, for `FakeWire.cut`. */
  readonly node?: string;
  /** Called when an event comes to a queue that was empty, as the real one's descriptor becomes readable. */
  onWake?(): void;
}

interface FakeLink {
  readonly port: FakePort;
  readonly role: LinkRole;
  readonly end: WireEnd;
  state: 'new' | 'connecting' | 'up' | 'lost';
  readonly early: string[];
}

export class FakeDatapath implements Datapath, LinkPath {
  readonly wire: FakeWire;
  readonly #options: FakeOptions;
  readonly #switches = new Map<SwitchId, FakeSwitch>();
  readonly #links = new Map<PortId, FakeLink>();
  #lastHandle = 0;
  #events: NativeEvent[] = [];
  #missed = 0;

  constructor(options: FakeOptions) {
    this.#options = options;
    this.wire = options.wire ?? new FakeWire({nowMs: () => options.nowMs()});
  }

  /** Events since the last call, in order. */
  drain(): NativeEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Drops frames that were parked too long; native has a thread for that. */
  handleTimeout(): void {
    for (const sw of this.#switches.values()) sw.expire();
  }

  nextTimeout(): Deadline | undefined {
    const all = [...this.#switches.values()].map((sw) => sw.nextTimeout()).filter((at) => at !== undefined);
    return all.length > 0 ? {at: Math.min(...all), reason: 'fake native: parked frames'} : undefined;
  }

  /** For tests: somebody deletes a tap's device. */
  deleteTap(port: PortId): void {
    const tap = this.#port('deleteTap', port);
    this.#switch('deleteTap', tap.sw).losePort(tap);
    this.#emit({type: 'port-gone', port, text: `the device ${tap.name ?? ''} was deleted`});
  }

  openSwitch(): SwitchId {
    const id = ++this.#lastHandle;
    const tell = (upcall: Parameters<ConstructorParameters<typeof FakeSwitch>[1]['tell']>[0]): boolean => {
      return this.#emit({type: 'upcall', sw: id, upcall});
    };
    this.#switches.set(id, new FakeSwitch(id, {nowMs: () => this.#options.nowMs(), tell}));
    return id;
  }

  closeSwitch(sw: SwitchId): void {
    for (const port of [...this.#switch('ipop_switch_close', sw).ports.values()]) this.#close(port);
    this.#switches.delete(sw);
  }

  openTap(sw: SwitchId, name: string, mtuBytes: number): PortId {
    const call = 'ipop_tap_open';
    if (!/^[^\s/:%]{1,15}$/.test(name) || name === '.' || name === '..')
      throw fail(call, EINVAL, `'${name}' is no name for a device`);
    if (mtuBytes < 68 || mtuBytes > 65521) throw fail(call, EINVAL, `an MTU of ${mtuBytes} bytes is out of range`);
    for (const other of this.#switches.values()) {
      for (const port of other.ports.values()) {
        if (port.name === name && !port.lost) throw fail(call, EBUSY, `the name ${name} is in use`);
      }
    }
    return this.#addPort(call, sw, false, name).id;
  }

  openMemory(sw: SwitchId, isLink: boolean): PortId {
    return this.#addPort('ipop_memory_open', sw, isLink).id;
  }

  /** Here it serves taps too: what the LAN sends. */
  writeMemory(port: PortId, frame: Uint8Array): void {
    const from = this.#port('ipop_memory_write', port);
    this.#switch('ipop_memory_write', from.sw).input(from, frame);
  }

  /** Here it serves taps too: what the LAN gets. */
  readMemory(port: PortId): Uint8Array | undefined {
    return this.#port('ipop_memory_read', port).waiting.shift();
  }

  enablePort(port: PortId, on: boolean): void {
    this.#port('ipop_port_enable', port).enabled = on;
  }

  standIn(port: PortId, of: PortId): void {
    const call = 'ipop_port_stand_in';
    const [standIn, other] = [this.#port(call, port), this.#port(call, of)];
    if (standIn === other || standIn.sw !== other.sw || standIn.isLink !== other.isLink)
      throw fail(call, EINVAL, `port ${port} cannot stand in for port ${of}`);
    this.#switch(call, standIn.sw).standIn(standIn, other);
  }

  closePort(port: PortId): void {
    if (this.#links.has(port)) throw fail('ipop_port_close', EINVAL, `port ${port} is a link: close it as one`);
    this.#close(this.#port('ipop_port_close', port));
  }

  portCounters(port: PortId): PortCounters {
    const {sw} = this.#port('ipop_port_counters', port);
    this.#switch('ipop_port_counters', sw).expire();
    return this.#port('ipop_port_counters', port).counters();
  }

  setRule(sw: SwitchId, mac: string, vlan: number, out: number): void {
    const call = 'ipop_rule_set';
    const found = this.#switch(call, sw);
    checkMac(call, mac);
    if (vlan < 0 || vlan > 4095 || out < OUT_FLOOD)
      throw fail(call, EINVAL, `cannot set a rule: vlan ${vlan}, out ${out}`);
    if (out > 0 && found.ports.get(out)?.lost !== false) throw fail(call, ENOENT, `the switch has no port ${out}`);
    if (!found.setRule(mac, vlan, out)) throw fail(call, ENOSPC, 'cannot set a rule: there are too many already');
  }

  deleteRule(sw: SwitchId, mac: string, vlan: number): boolean {
    checkMac('ipop_rule_delete', mac);
    return this.#switch('ipop_rule_delete', sw).deleteRule(mac, vlan);
  }

  flushRules(sw: SwitchId, port: PortId = 0): number {
    return this.#switch('ipop_rules_flush', sw).flushRules(port);
  }

  dumpRules(sw: SwitchId): RuleUse[] {
    return this.#switch('ipop_rules_dump', sw).dumpRules();
  }

  finishUpcall(sw: SwitchId, id: number, out: number): boolean {
    const found = this.#switch('ipop_upcall_finish', sw);
    if (out < OUT_RULES) throw fail('ipop_upcall_finish', EINVAL, `cannot finish an upcall: out ${out}`);
    return found.finishUpcall(id, out);
  }

  openLink(sw: SwitchId, role: LinkRole, _servers: readonly string[]): PortId {
    if (this.#links.size >= MAX_LINKS) throw fail('ipop_link_open', EAGAIN, `there are ${MAX_LINKS} links already`);
    const port = this.#addPort('ipop_link_open', sw, true);
    const end = this.wire.open(this.#options.node ?? '', role, this.#handlers(port));
    const link: FakeLink = {port, role, end, state: 'new', early: []};
    port.transmit = (frame) => this.#transmit(link, frame);
    this.#links.set(port.id, link);
    if (role === 'offer') this.#gather(link);
    return port.id;
  }

  setRemote(link: PortId, remote: LinkDescription): void {
    const found = this.#link('ipop_link_remote', link);
    if (found.state !== 'new') throw fail('ipop_link_remote', EALREADY, 'the link has its remote description already');
    if (found.role === 'answer') this.#gather(found);
    found.state = 'connecting';
    this.wire.setRemote(found.end, remote);
    for (const candidate of found.early.splice(0)) this.wire.addCandidate(found.end, candidate);
  }

  addCandidate(link: PortId, candidate: string): void {
    const found = this.#link('ipop_link_candidate', link);
    if (!candidate.startsWith('candidate:'))
      throw fail('ipop_link_candidate', EINVAL, `'${candidate}' is no candidate`);
    if (found.state !== 'new') this.wire.addCandidate(found.end, candidate);
    else if (found.early.length >= MAX_CANDIDATES)
      throw fail('ipop_link_candidate', ENOSPC, 'too many candidates wait');
    else found.early.push(candidate);
  }

  sendMessage(link: PortId, message: Uint8Array): void {
    const found = this.#link('ipop_link_send', link);
    if (message.length > MAX_MESSAGE)
      throw fail('ipop_link_send', EINVAL, `a message of ${message.length} bytes is too long`);
    if (found.state !== 'up') throw fail('ipop_link_send', ENOTCONN, 'the link is not open');
    this.wire.sendMessage(found.end, message);
  }

  /** The fake carries by SRTP only, as a link by a relay does. */
  startExpress(link: PortId): void {
    const found = this.#link('ipop_link_express', link);
    if (found.state !== 'up') throw fail('ipop_link_express', ENOTCONN, 'the link is not up');
  }

  /** The fake's links are as fast as they are. */
  shapeLinks(sw: SwitchId, {upKbit, downKbit, dscp}: LinkShape): void {
    this.#switch('ipop_switch_shape', sw);
    const isRate = (kbit: number) => kbit === 0 || (kbit >= 64 && kbit <= 10_000_000);
    if (!isRate(upKbit) || !isRate(downKbit) || dscp < 0 || dscp > 63)
      throw fail(
        'ipop_switch_shape',
        EINVAL,
        `up_kbit ${upKbit}, down_kbit ${downKbit} or dscp ${dscp} is out of range`,
      );
  }

  linkInfo(link: PortId): LinkInfo {
    return infoOf(this.#link('ipop_link_info', link).end);
  }

  closeLink(link: PortId): void {
    this.#close(this.#link('ipop_link_close', link).port);
  }

  #handlers(port: FakePort): ConstructorParameters<typeof WireEnd>[3] {
    const {id} = port;
    return {
      onUp: (info) => {
        this.#link('onUp', id).state = 'up';
        this.#emit({type: 'link-up', link: id, info});
      },
      onLost: (code, text) => {
        const link = this.#links.get(id);
        if (!link) return;
        link.state = 'lost';
        this.#switch('onLost', port.sw).losePort(port);
        this.#emit({type: 'link-lost', link: id, code, text});
      },
      onMessage: (message) => void this.#emit({type: 'link-message', link: id, message}),
      onFrame: (frame) => this.#switches.get(port.sw)?.input(port, frame),
    };
  }

  #gather({port, end}: FakeLink): void {
    this.#emit({type: 'link-local', link: port.id, local: end.local});
    this.#emit({type: 'link-candidate', link: port.id, candidate: end.candidate});
    this.#emit({type: 'link-gathered', link: port.id});
  }

  #transmit(link: FakeLink, frame: Uint8Array): DropName | undefined {
    if (link.state !== 'up') return 'link-closed';
    this.wire.sendFrame(link.end, frame);
    return undefined;
  }

  #addPort(call: string, sw: SwitchId, isLink: boolean, name?: string): FakePort {
    const found = this.#switch(call, sw);
    const port = new FakePort(++this.#lastHandle, sw, isLink, this.#options.nowMs(), name);
    found.ports.set(port.id, port);
    return port;
  }

  #close(port: FakePort): void {
    const sw = this.#switch('ipop_port_close', port.sw);
    sw.losePort(port);
    sw.ports.delete(port.id);
    const link = this.#links.get(port.id);
    this.#links.delete(port.id);
    if (link) this.wire.close(link.end);
  }

  /** False when the queue is full: the event is lost, and the next one that fits is told after a gap. */
  #emit(event: NativeEvent): boolean {
    if (this.#events.length >= MAX_EVENTS) {
      this.#missed++;
      return false;
    }
    const wasEmpty = this.#events.length === 0;
    if (this.#missed > 0) this.#events.push({type: 'gap', missed: this.#missed});
    this.#missed = 0;
    this.#events.push(event);
    if (wasEmpty) this.#options.onWake?.();
    return true;
  }

  #switch(call: string, sw: SwitchId): FakeSwitch {
    const found = this.#switches.get(sw);
    if (!found) throw fail(call, ENOENT, `there is no switch ${sw}`);
    return found;
  }

  #port(call: string, port: PortId): FakePort {
    for (const sw of this.#switches.values()) {
      const found = sw.ports.get(port);
      if (found) return found;
    }
    throw fail(call, ENOENT, `there is no port ${port}`);
  }

  #link(call: string, link: PortId): FakeLink {
    const found = this.#links.get(link);
    if (!found) throw fail(call, ENOENT, `there is no link ${link}`);
    return found;
  }
}

function checkMac(call: string, mac: string): void {
  if (!/^[0-9a-f]{12}$/.test(mac)) throw fail(call, EINVAL, `'${mac}' is no address of 12 hex digits`);
}

function fail(call: string, errno: number, text: string): NativeError {
  return new NativeError(call, errno, text);
}
