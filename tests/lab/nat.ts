// SPDX-License-Identifier: MIT
// nftables rules of a router: its NAT and its WAN firewall. WAN side: interface `wan`.

/**
 * What a NAT does, named after RFC 4787 and the older STUN words:
 * - `port-restricted`: `masquerade`; one outside port for all destinations, answers only from where something was sent to.
 * - `symmetric`: `masquerade fully-random`; another outside port for each destination.
 * - `full-cone`: `masquerade`, and a map of who sent from which port; what comes to such a port from anywhere is let in and sent on to it (DNAT).
 *   The outside port is the inside one: of two clients that use the same, the last to send has it.
 * - `udp-blocked`: `masquerade`, and a firewall in front of it (see Internet.blockUdp) lets no UDP pass.
 */
export type NatKind = 'port-restricted' | 'symmetric' | 'full-cone' | 'udp-blocked';

export interface RouterRules {
  readonly nat: NatKind;
  /** Interface of the inside. */
  readonly inside: string;
}

/** The rules of one router, as text for `nft -f`. The WAN firewall drops everything that nobody asked for, except echo requests. */
export function routerRules({nat, inside}: RouterRules): string {
  return `
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade ${nat === 'symmetric' ? 'fully-random' : ''}
  }
}
table inet firewall {
  chain input {
    type filter hook input priority filter; policy drop
    iifname { "lo", "${inside}" } accept
    ct state established,related accept
    icmp type echo-request accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    iifname "${inside}" accept
    ct state established,related accept
  }
}
${nat === 'full-cone' ? FULL_CONE : ''}`;
}

/**
 * Seen before masquerading, each packet of a client notes its port and address. NAT looks at a conversation's first packet only, so that the
 * notes are made by a filter. The router's own sockets need no translation, only to be let in.
 */
const FULL_CONE = `
table ip nat {
  map cone { type inet_service : ipv4_addr; size 4096; flags dynamic,timeout; timeout 5m; }
  chain note {
    type filter hook postrouting priority srcnat - 1
    oifname "wan" meta l4proto udp update @cone { udp sport : ip saddr }
  }
}
table inet firewall {
  set own { type inet_service; size 4096; flags dynamic,timeout; timeout 5m; }
  chain output {
    type filter hook output priority filter
    oifname "wan" meta l4proto udp update @own { udp sport }
  }
}
add rule ip nat prerouting iifname "wan" meta l4proto udp dnat to udp dport map @cone
add rule inet firewall input iifname "wan" udp dport @own accept
add rule inet firewall forward iifname "wan" ct status dnat accept
`;
