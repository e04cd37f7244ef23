// SPDX-License-Identifier: MIT
// First frames: misses, parking, and the bounds of both.

import {OUT_DROP, OUT_FLOOD, OUT_RULES} from '../../src/native/datapath.ts';
import {A, B, C, type Cases} from './bench.ts';
import {ethernet, plain} from './frames.ts';

export const upcallCases: Cases = {
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
};
