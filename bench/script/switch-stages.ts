// SPDX-License-Identifier: MIT
// What a first frame costs in TypeScript, and the look through native's rules.

import {concat, fromHex, hex} from '../../src/base/bytes.ts';
import {Fdb, MAX_ENTRIES} from '../../src/l2switch/fdb.ts';
import {decide} from '../../src/l2switch/policy.ts';
import {Switch} from '../../src/l2switch/switch.ts';
import {decodeRecord, decodeRules, RECORD_HEADER, RULE_SIZE} from '../../src/native/codec.ts';
import type {Upcall} from '../../src/native/datapath.ts';
import type {Stage} from './measure.ts';

const LAN = 1;
const CABIN = 2;
/** Addresses of a large LAN, half behind each port. */
const HOSTS = 1000;
/** Native sends so much of a frame. */
const HEAD = 128;
const UPCALL = 1;
const DESTINATION = 3;

export function switchStages(): Stage[] {
  return [upcallDecode(), firstFrame(), decision(), ...learning(), ruleSync()];
}

function mac(n: number): string {
  return hex(Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255));
}

function portOf(n: number): number {
  return n % 2 === 0 ? LAN : CABIN;
}

function headOf(destination: string, source: string): Uint8Array {
  const head = concat(fromHex(destination)!, fromHex(source)!, Uint8Array.of(8, 0));
  return concat(head, new Uint8Array(HEAD - head.length));
}

/** A switch that knows everybody. */
function filled(): Switch {
  const core = new Switch();
  core.handlePortUp(LAN, 'lan', 0);
  core.handlePortUp(CABIN, 'link', 0);
  for (let n = 0; n < HOSTS; n++) {
    const head = headOf('ffffffffffff', mac(n));
    core.handleUpcall({id: n, port: portOf(n), vlan: 0, miss: 'source', head, frameLength: 60}, 0);
  }
  core.drain();
  return core;
}

function upcallDecode(): Stage {
  const payload = new Uint8Array(16 + HEAD);
  const record = concat(new Uint8Array(RECORD_HEADER), payload);
  const view = new DataView(record.buffer);
  view.setUint16(0, UPCALL, true);
  view.setUint32(4, payload.length, true);
  view.setInt32(RECORD_HEADER + 4, LAN, true);
  view.setUint8(RECORD_HEADER + 12, DESTINATION);
  view.setUint16(RECORD_HEADER + 14, HEAD, true);
  return {
    name: 'upcall: decode',
    count: 1,
    bytes: record.length,
    call: () => void decodeRecord(record),
  };
}

function firstFrame(): Stage {
  const core = filled();
  const upcalls: Upcall[] = Array.from({length: 16}, (_, n) => ({
    id: n,
    port: LAN,
    vlan: 0,
    miss: 'destination',
    head: headOf(mac(2 * n + 1), mac(2 * n)),
    frameLength: 60,
  }));
  let next = 0;
  return {
    name: 'upcall: learn, decide, effects',
    count: 1,
    bytes: HEAD,
    call: () => {
      core.handleUpcall(upcalls[next++ & 15]!, 1);
      core.drain();
    },
  };
}

function decision(): Stage {
  const core = filled();
  const frames = Array.from({length: 16}, (_, n) => ({
    port: LAN,
    vlan: 0,
    source: mac(2 * n),
    destination: mac(2 * n + 1),
  }));
  let next = 0;
  return {name: 'decide', count: 1, bytes: HEAD, call: () => void decide(frames[next++ & 15]!, core, 1)};
}

function learning(): Stage[] {
  const known = new Fdb();
  const macs = Array.from({length: HOSTS}, (_, n) => mac(n));
  macs.forEach((one, n) => known.learn(0, one, portOf(n), 0));
  const full = new Fdb();
  for (let n = 0; n < MAX_ENTRIES; n++) full.learn(0, mac(n), portOf(n), 0);
  let [seen, fresh] = [0, 0];
  const again = (): void => {
    const n = seen++ % HOSTS;
    known.learn(0, macs[n]!, portOf(n), 1);
  };
  // A VLAN for each turn through the addresses, so that none comes twice.
  const anew = (): void => {
    const n = fresh++;
    full.learn(1 + (Math.floor(n / HOSTS) % 4000), macs[n % HOSTS]!, portOf(n), 1);
  };
  return [
    {name: 'fdb: learn, known', count: 1, bytes: 6, call: again},
    {name: 'fdb: learn, new while full', count: 1, bytes: 6, call: anew},
  ];
}

function ruleSync(): Stage {
  const core = filled();
  const dump = new Uint8Array(HOSTS * RULE_SIZE);
  const view = new DataView(dump.buffer);
  for (let n = 0; n < HOSTS; n++) {
    dump.set(fromHex(mac(n))!, n * RULE_SIZE);
    view.setInt32(n * RULE_SIZE + 8, portOf(n), true);
    view.setUint32(n * RULE_SIZE + 12, n, true);
  }
  return {
    name: 'rules: decode and look through',
    count: HOSTS,
    bytes: dump.length,
    call: () => {
      core.handleRules(decodeRules(dump), 1);
      core.drain();
    },
  };
}
