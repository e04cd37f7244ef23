// SPDX-License-Identifier: MIT
// Rules: what they do, their use, their bounds, VLANs.

import {OUT_DROP, OUT_FLOOD, OUT_RULES} from '../../src/native/datapath.ts';
import {A, B, EINVAL, ENOENT, ENOSPC, hasErrno, type Cases} from './bench.ts';
import {BROADCAST, plain} from './frames.ts';

export const ruleCases: Cases = {
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
};
