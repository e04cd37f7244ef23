// SPDX-License-Identifier: MIT
// What every Datapath does: the real library and the fake run this one suite.

import type {ExecutionContext, TestFn} from 'ava';
import {
  NativeError,
  OUT_DROP,
  OUT_FLOOD,
  OUT_RULES,
  type Datapath,
  type NativeEvent,
  type PortId,
  type SwitchId,
  type Upcall,
} from '../../src/native/datapath.ts';
import {BROADCAST, bytes, ethernet, icmp6, ipv6, plain, udp4, udp6} from './frames.ts';

/** A datapath on the test bench. */
export interface Bench {
  readonly path: Datapath;
  /** Events since the last call. */
  events(): NativeEvent[];
  /** Waits for a condition, at most 10 s of the datapath's own time; false when it did not come. */
  until(condition: () => boolean): Promise<boolean>;
}

const A = '02000000000a';
const B = '02000000000b';
const C = '02000000000c';
const ENOENT = 2;
const EINVAL = 22;
const ENOSPC = 28;

/** A switch with two LAN ports and two links, all enabled. */
class Site {
  readonly path: Datapath;
  readonly sw: SwitchId;
  readonly lan: PortId;
  readonly lan2: PortId;
  readonly link: PortId;
  readonly link2: PortId;
  readonly bench: Bench;

  constructor(bench: Bench) {
    this.bench = bench;
    this.path = bench.path;
    this.sw = this.path.openSwitch();
    const open = (isLink: boolean): PortId => {
      const port = this.path.openMemory(this.sw, isLink);
      this.path.enablePort(port, true);
      return port;
    };
    [this.lan, this.lan2, this.link, this.link2] = [open(false), open(false), open(true), open(true)];
  }

  /** Upcalls of this switch since the last call. */
  upcalls(): Upcall[] {
    return this.bench
      .events()
      .flatMap((event) => (event.type === 'upcall' && event.sw === this.sw ? [event.upcall] : []));
  }

  /** The one upcall there is. */
  upcall(t: ExecutionContext): Upcall {
    const all = this.upcalls();
    t.is(all.length, 1, 'one upcall');
    return all[0] as Upcall;
  }

  bind(mac: string, port: PortId, vlan = 0): void {
    this.path.setRule(this.sw, mac, vlan, port);
  }

  write(port: PortId, frame: Uint8Array): void {
    this.path.writeMemory(port, frame);
  }

  read(port: PortId): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let frame = this.path.readMemory(port); frame; frame = this.path.readMemory(port)) frames.push(frame);
    return frames;
  }

  /** How many frames came out of each port: lan, lan2, link, link2. */
  out(): number[] {
    return [this.lan, this.lan2, this.link, this.link2].map((port) => this.read(port).length);
  }

  drops(port: PortId): Readonly<Record<string, number>> {
    return this.path.portCounters(port).drops;
  }
}

type Case = (t: ExecutionContext, site: Site) => void | Promise<void>;

/** Registers the suite. */
export function datapathContract(test: TestFn, name: string, openBench: () => Bench): void {
  for (const [title, run] of Object.entries(CASES)) {
    test.serial(`${name}: ${title}`, async (t) => {
      const site = new Site(openBench());
      try {
        await run(t, site);
      } finally {
        site.path.closeSwitch(site.sw);
      }
    });
  }
}

function hasErrno(t: ExecutionContext, run: () => unknown, errno: number): void {
  const error = t.throws(run, {instanceOf: NativeError});
  t.is(error?.errno, errno);
  t.true((error?.message.length ?? 0) > 0);
}

const CASES: Readonly<Record<string, Case>> = {
  'a frame of an unknown source is parked, and one upcall tells its head'(t, site) {
    const frame = plain(B, A);
    site.write(site.lan, frame);
    const upcall = site.upcall(t);
    t.like(upcall, {port: site.lan, vlan: 0, miss: 'source', frameLength: frame.length});
    t.true(upcall.id > 0);
    t.deepEqual([...upcall.head], [...frame]);
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.path.portCounters(site.lan).upcalls, 1);
  },

  'an upcall carries at most 128 bytes of a long frame'(t, site) {
    site.write(site.lan, ethernet(B, A, '88b5', new Uint8Array(1400)));
    const upcall = site.upcall(t);
    t.is(upcall.head.length, 128);
    t.is(upcall.frameLength, 1414);
  },

  'learning: source miss, destination miss, then frames go by rules alone'(t, site) {
    site.write(site.lan, plain(B, A, 1));
    const source = site.upcall(t);
    site.bind(A, site.lan);
    t.true(site.path.finishUpcall(site.sw, source.id, OUT_RULES));
    const destination = site.upcall(t);
    t.like(destination, {miss: 'destination', port: site.lan});
    site.path.setRule(site.sw, B, 0, OUT_FLOOD);
    t.true(site.path.finishUpcall(site.sw, destination.id, OUT_FLOOD));
    t.deepEqual(site.out(), [0, 1, 1, 1]);
    site.write(site.lan, plain(B, A, 2));
    t.deepEqual(site.upcalls(), []);
    t.deepEqual(site.out(), [0, 1, 1, 1]);
    site.write(site.link, plain(A, B));
    const answer = site.upcall(t);
    t.is(answer.miss, 'source');
    site.bind(B, site.link);
    t.true(site.path.finishUpcall(site.sw, answer.id, OUT_RULES));
    t.deepEqual(site.out(), [1, 0, 0, 0]);
    site.write(site.lan, plain(B, A, 3));
    t.deepEqual(site.out(), [0, 0, 1, 0]);
    t.deepEqual(site.upcalls(), []);
  },

  'a source with a rule for another port is a moved miss'(t, site) {
    site.bind(A, site.lan);
    site.write(site.link, plain(B, A));
    t.like(site.upcall(t), {miss: 'moved', port: site.link});
  },

  'a rule that floods or drops binds no source'(t, site) {
    for (const out of [OUT_FLOOD, OUT_DROP]) {
      site.path.setRule(site.sw, A, 0, out);
      site.write(site.lan, plain(B, A));
      const upcall = site.upcall(t);
      t.is(upcall.miss, 'source');
      site.path.finishUpcall(site.sw, upcall.id, OUT_DROP);
    }
  },

  'frames parked behind one another leave in the order they came, and only one upcall is made'(t, site) {
    for (let fill = 1; fill <= 5; fill++) site.write(site.lan, plain(B, A, fill));
    const source = site.upcall(t);
    site.bind(A, site.lan);
    site.path.finishUpcall(site.sw, source.id, OUT_RULES);
    const destination = site.upcall(t);
    site.path.finishUpcall(site.sw, destination.id, site.link);
    t.deepEqual(
      site.read(site.link).map((frame) => frame[14]),
      [1, 2, 3, 4, 5],
    );
  },

  'at most 32 frames are parked behind one upcall'(t, site) {
    for (let n = 0; n < 40; n++) site.write(site.lan, plain(B, A));
    const {id} = site.upcall(t);
    t.is(site.drops(site.lan)['upcall-full'], 8);
    site.path.finishUpcall(site.sw, id, site.link);
    t.deepEqual(site.out(), [0, 0, 32, 0]);
  },

  'at most 256 upcalls wait at a time'(t, site) {
    for (let n = 0; n < 300; n++) site.write(site.lan, plain(B, (0x020000010000 + n).toString(16).padStart(12, '0')));
    t.is(site.upcalls().length, 256);
    t.is(site.drops(site.lan)['upcall-full'], 44);
  },

  'a port that asks too much is limited, and another port is still heard'(t, site) {
    const asked = 500;
    for (let n = 0; n < asked; n++) {
      site.write(site.lan, plain(B, (0x020000020000 + n).toString(16).padStart(12, '0')));
      for (const {id} of site.upcalls()) site.path.finishUpcall(site.sw, id, OUT_DROP);
    }
    const {upcalls, drops} = site.path.portCounters(site.lan);
    const limited = drops['upcall-limited'] ?? 0;
    t.is(upcalls + limited, asked);
    t.true(upcalls >= 400, `a burst of 400, not ${upcalls}`);
    t.true(limited > 0);
    site.write(site.link, plain(B, C));
    t.is(site.upcall(t).port, site.link);
  },

  'a second miss of the same kind is dropped by policy'(t, site) {
    site.write(site.lan, plain(B, A));
    site.path.finishUpcall(site.sw, site.upcall(t).id, OUT_RULES);
    t.deepEqual(site.upcalls(), []);
    t.is(site.drops(site.lan)['policy'], 1);
  },

  'an upcall can be ended only once'(t, site) {
    site.write(site.lan, plain(B, A));
    const {id} = site.upcall(t);
    t.true(site.path.finishUpcall(site.sw, id, OUT_DROP));
    t.false(site.path.finishUpcall(site.sw, id, OUT_DROP));
    t.is(site.drops(site.lan)['policy'], 1);
  },

  async 'a frame that nobody decides on is dropped after 2 s, and its upcall is gone'(t, site) {
    site.write(site.lan, plain(B, A));
    const {id} = site.upcall(t);
    t.is(site.drops(site.lan)['upcall-timeout'], undefined);
    t.true(await site.bench.until(() => site.drops(site.lan)['upcall-timeout'] === 1));
    t.false(site.path.finishUpcall(site.sw, id, OUT_FLOOD));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
  },

  'flooding from the LAN reaches all other ports, from a link only the LAN'(t, site) {
    site.bind(A, site.lan);
    site.bind(C, site.link);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    site.write(site.lan, plain(BROADCAST, A));
    t.deepEqual(site.out(), [0, 1, 1, 1]);
    site.write(site.link, plain(BROADCAST, C));
    t.deepEqual(site.out(), [1, 1, 0, 0]);
  },

  'a flood that no other port takes is counted'(t, site) {
    for (const port of [site.lan, site.lan2, site.link2]) site.path.enablePort(port, false);
    site.bind(A, site.link);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    site.write(site.link, plain(BROADCAST, A));
    t.is(site.drops(site.link)['no-port'], 1);
  },

  'from a link to an address behind another link nothing passes'(t, site) {
    site.bind(A, site.link);
    site.bind(B, site.link2);
    site.write(site.link, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.link)['split-horizon'], 1);
  },

  'a decision for another link does not pass the split horizon either'(t, site) {
    site.write(site.link, plain(B, A));
    site.path.finishUpcall(site.sw, site.upcall(t).id, site.link2);
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.link)['split-horizon'], 1);
  },

  'to an address behind the port it came from nothing passes'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.lan);
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.lan)['same-port'], 1);
  },

  'a rule that drops is counted as policy'(t, site) {
    site.bind(A, site.lan);
    site.path.setRule(site.sw, B, 0, OUT_DROP);
    site.write(site.lan, plain(B, A));
    t.is(site.drops(site.lan)['policy'], 1);
  },

  'a flow stops when the rules of its port are flushed, until it is decided again'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 1, 0]);
    t.is(site.path.flushRules(site.sw, site.link), 1);
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    const upcall = site.upcall(t);
    t.is(upcall.miss, 'destination');
    site.bind(B, site.link2);
    site.path.finishUpcall(site.sw, upcall.id, OUT_RULES);
    t.deepEqual(site.out(), [0, 0, 0, 1]);
  },

  'flushing without a port takes all rules'(t, site) {
    site.bind(A, site.lan);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    t.is(site.path.flushRules(site.sw), 2);
    t.deepEqual(site.path.dumpRules(site.sw), []);
  },

  'rules are told with their use'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link, 5);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    site.write(site.lan, plain(BROADCAST, A));
    const rules = site.path.dumpRules(site.sw).sort((a, b) => (a.mac < b.mac ? -1 : 1));
    t.deepEqual(
      rules.map(({mac, vlan, out, hits}) => [mac, vlan, out, hits]),
      [
        [A, 0, site.lan, 1],
        [B, 5, site.link, 0],
        [BROADCAST, 0, OUT_FLOOD, 1],
      ],
    );
    const [a, b, all] = rules;
    t.true((a?.sourceIdleMs ?? Infinity) < 5000);
    t.is(a?.destinationIdleMs, undefined);
    t.is(b?.sourceIdleMs, undefined);
    t.is(all?.sourceIdleMs, undefined);
    t.true((all?.destinationIdleMs ?? Infinity) < 5000);
  },

  'a rule can be deleted once'(t, site) {
    site.bind(A, site.lan);
    t.true(site.path.deleteRule(site.sw, A, 0));
    t.false(site.path.deleteRule(site.sw, A, 0));
  },

  'there are at most 8192 rules, and those can still be replaced'(t, site) {
    const mac = (n: number): string => (0x020000030000 + n).toString(16).padStart(12, '0');
    for (let n = 0; n < 8192; n++) site.bind(mac(n), site.lan);
    hasErrno(t, () => site.bind(mac(8192), site.lan), ENOSPC);
    site.bind(mac(0), site.link);
    t.is(site.path.dumpRules(site.sw).length, 8192);
  },

  'bad rules are refused with a sentence'(t, site) {
    hasErrno(t, () => site.path.setRule(site.sw, A, 0, 99_999), ENOENT);
    hasErrno(t, () => site.path.setRule(site.sw, A, 4096, site.lan), EINVAL);
    hasErrno(t, () => site.path.setRule(site.sw, A, 0, OUT_RULES), EINVAL);
    hasErrno(t, () => site.path.setRule(site.sw, '02:00', 0, site.lan), EINVAL);
  },

  'VLANs are kept apart, by the outermost tag'(t, site) {
    site.bind(A, site.lan, 10);
    site.bind(B, site.link, 10);
    site.write(site.lan, plain(B, A, 0, '8100 e00a'));
    t.deepEqual(site.out(), [0, 0, 1, 0]);
    site.write(site.lan, plain(B, A, 0, '88a8 000b 8100 000a'));
    t.like(site.upcall(t), {vlan: 11, miss: 'source'});
  },

  'a priority tag counts as untagged'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.write(site.lan, plain(B, A, 0, '8100 e000'));
    t.deepEqual(site.out(), [0, 0, 1, 0]);
  },

  'a disabled port takes nothing in'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.path.enablePort(site.lan, false);
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.lan)['port-disabled'], 1);
    t.is(site.path.portCounters(site.lan).rxFrames, 0);
  },

  'a disabled port lets nothing out, and counts it where it was to go'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.path.enablePort(site.link, false);
    site.write(site.lan, plain(B, A));
    t.is(site.drops(site.link)['port-disabled'], 1);
    site.path.enablePort(site.link, true);
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [0, 0, 1, 0]);
  },

  'DHCP never crosses, from either side, tagged or not, even where rules lead'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    site.write(site.lan, udp4(BROADCAST, A, 68, 67));
    site.write(site.lan, udp4(B, A, 67, 68));
    site.write(site.lan, udp6(B, A, 546, 547));
    site.write(site.lan, udp4(B, A, 68, 67, '8100 0005'));
    site.write(site.lan, udp4(B, A, 68, 67, '88a8 0005 8100 0006'));
    site.write(site.link, udp6(A, B, 547, 546));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.lan)['guard-dhcp'], 5);
    t.is(site.drops(site.link)['guard-dhcp'], 1);
    t.deepEqual(site.upcalls(), []);
  },

  'other UDP crosses, DNS among it'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.write(site.lan, udp4(B, A, 40_000, 53));
    site.write(site.lan, udp6(B, A, 40_000, 53));
    t.deepEqual(site.out(), [0, 0, 2, 0]);
  },

  'router advertisements never cross, neighbour solicitations do'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.write(site.link, icmp6(A, B, 134));
    site.write(site.link, icmp6(A, B, 134, '8100 0005'));
    site.write(site.link, ipv6(A, B, 0, bytes('3a00 0502 0000 0000  8600 0000 0000 0000')));
    t.is(site.drops(site.link)['guard-ra'], 3);
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    site.write(site.link, icmp6(A, B, 135));
    t.deepEqual(site.out(), [1, 0, 0, 0]);
  },

  'a first fragment that could hide either does not cross, later fragments do'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.write(site.link, ipv6(A, B, 44, bytes('3c00 0001 00000001  3a01 0000 0000 0000')));
    t.is(site.drops(site.link)['guard-unparsed'], 1);
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    site.write(site.link, ipv6(A, B, 44, bytes('3a00 0008 00000001  8600 0000 0000 0000')));
    t.deepEqual(site.out(), [1, 0, 0, 0]);
  },

  'frames to reserved addresses and from impossible ones go nowhere'(t, site) {
    site.bind(A, site.lan);
    site.write(site.lan, plain('0180c2000000', A));
    site.write(site.lan, plain('0180c200000f', A));
    site.write(site.lan, plain(B, '010000000001'));
    site.write(site.lan, plain(B, '000000000000'));
    site.write(site.lan, new Uint8Array(13).fill(2));
    t.deepEqual(site.drops(site.lan), {
      'reserved-address': 2,
      'source-group': 1,
      'source-zero': 1,
      malformed: 1,
    });
    t.deepEqual(site.upcalls(), []);
    site.path.setRule(site.sw, '0180c2000010', 0, OUT_FLOOD);
    site.write(site.lan, plain('0180c2000010', A));
    t.deepEqual(site.out(), [0, 1, 1, 1]);
  },

  'ports count frames and bytes both ways'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    const frame = plain(B, A);
    site.write(site.lan, frame);
    t.deepEqual(site.path.portCounters(site.lan), {
      rxFrames: 1,
      rxBytes: frame.length,
      txFrames: 0,
      txBytes: 0,
      upcalls: 0,
      drops: {},
    });
    t.like(site.path.portCounters(site.link), {rxFrames: 0, txFrames: 1, txBytes: frame.length});
  },

  'a closed port is gone, with its rules and the frames that waited there'(t, site) {
    site.bind(A, site.lan);
    site.write(site.link, plain(A, B));
    const {id} = site.upcall(t);
    site.bind(B, site.link);
    site.path.closePort(site.link);
    t.deepEqual(
      site.path.dumpRules(site.sw).map((rule) => rule.mac),
      [A],
    );
    t.false(site.path.finishUpcall(site.sw, id, OUT_RULES));
    t.is(site.read(site.lan).length, 0);
    hasErrno(t, () => site.path.portCounters(site.link), ENOENT);
    hasErrno(t, () => site.bind(B, site.link), ENOENT);
  },

  'switches do not know each other'(t, site) {
    const other = new Site(site.bench);
    try {
      hasErrno(t, () => site.path.setRule(site.sw, A, 0, other.lan), ENOENT);
      site.bind(A, site.lan);
      site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
      site.write(site.lan, plain(BROADCAST, A));
      t.deepEqual(other.out(), [0, 0, 0, 0]);
    } finally {
      site.path.closeSwitch(other.sw);
    }
  },
};
