// SPDX-License-Identifier: MIT
// Ports: flooding, split horizon, counters, closing.

import {OUT_FLOOD, OUT_RULES} from '../../src/native/datapath.ts';
import {A, B, C, EINVAL, ENOENT, Site, hasErrno, type Cases} from './bench.ts';
import {BROADCAST, plain} from './frames.ts';

export const portCases: Cases = {
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

  'a port that stands in receives for the other, gets no floods, and its rules lead there'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    // Before the move: link2 is on its way to be what link is.
    site.path.standIn(site.link2, site.link);
    site.write(site.link2, plain(A, B));
    site.write(site.link, plain(A, B));
    site.write(site.lan, plain(BROADCAST, A));
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [2, 1, 2, 0]);
    // And after it.
    const hits = site.path.dumpRules(site.sw).find((rule) => rule.mac === B)?.hits;
    site.path.standIn(site.link, site.link2);
    const moved = site.path.dumpRules(site.sw).find((rule) => rule.mac === B);
    t.deepEqual([moved?.out, moved?.hits], [site.link2, hits]);
    site.write(site.link2, plain(A, B));
    site.write(site.link, plain(A, B));
    site.write(site.lan, plain(BROADCAST, A));
    site.write(site.lan, plain(B, A));
    t.deepEqual(site.out(), [2, 1, 0, 2]);
    t.deepEqual(site.upcalls(), [], 'nobody had to be asked');
  },

  'what a port that stands in does not know is asked for as the other'(t, site) {
    site.path.standIn(site.link, site.link2);
    site.write(site.link, plain(A, B));
    const upcall = site.upcall(t);
    t.deepEqual([upcall.port, upcall.miss], [site.link2, 'source']);
    site.bind(B, site.link2);
    site.bind(A, site.lan);
    site.path.finishUpcall(site.sw, upcall.id, OUT_RULES);
    t.deepEqual(site.out(), [1, 0, 0, 0]);
  },

  'a link stands in for links only, and not for itself'(t, site) {
    hasErrno(t, () => site.path.standIn(site.link, site.lan), EINVAL);
    hasErrno(t, () => site.path.standIn(site.link, site.link), EINVAL);
    hasErrno(t, () => site.path.standIn(site.link, 999_999), ENOENT);
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
