// SPDX-License-Identifier: MIT
// What never crosses, whatever the rules say.

import {OUT_FLOOD} from '../../src/native/datapath.ts';
import {A, B, type Cases} from './bench.ts';
import {BROADCAST, bytes, icmp6, ipv6, plain, udp4, udp6} from './frames.ts';

export const guardCases: Cases = {
  'DHCP never crosses, from either side, tagged or not, even where rules lead'(t, site) {
    site.bind(A, site.lan);
    site.bind(B, site.link);
    site.path.setRule(site.sw, BROADCAST, 0, OUT_FLOOD);
    site.write(site.lan, udp4(BROADCAST, A, 68, 67));
    site.write(site.lan, udp4(B, A, 67, 68));
    site.write(site.lan, udp6(B, A, 546, 547));
    site.write(site.lan, udp4(B, A, 68, 67, '8100 0005'));
    site.write(site.lan, udp4(B, A, 68, 67, '88a8 0005 8100 0006'));
    // The longest length there is before types begin, LLC and SNAP.
    site.write(site.lan, udp4(B, A, 68, 67, '05ff aaaa03 000000'));
    site.write(site.link, udp6(A, B, 547, 546));
    t.deepEqual(site.out(), [0, 0, 0, 0]);
    t.is(site.drops(site.lan)['guard-dhcp'], 6);
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
};
