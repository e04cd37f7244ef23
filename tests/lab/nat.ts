// SPDX-License-Identifier: MIT
// nftables rules of a router: its NAT and its WAN firewall. WAN side: interface `wan`.

/**
 * What a NAT does, named after RFC 4787 and the older STUN words:
 * - `port-restricted`: `masquerade`; one outside port for all destinations, answers only from where something was sent to.
 * - `symmetric`: `masquerade fully-random`; another outside port for each destination.
 * - `full-cone`: `masquerade`, and every UDP packet to an unprivileged port is let in (and sent on to the one client behind).
 * - `udp-blocked`: `masquerade`, and a firewall in front of it (see Internet.blockUdp) lets no UDP pass.
 */
export type NatKind = 'port-restricted' | 'symmetric' | 'full-cone' | 'udp-blocked';

export interface RouterRules {
  readonly nat: NatKind;
  /** Interface of the inside. */
  readonly inside: string;
  /** The one client that a full cone sends unasked packets to; undefined: the router itself is the client. */
  readonly client?: string;
}

/** The rules of one router, as text for `nft -f`. The WAN firewall drops everything that nobody asked for, except echo requests. */
export function routerRules({nat, inside, client}: RouterRules): string {
  const fullCone = nat === 'full-cone';
  const dnat = fullCone && client !== undefined ? `iifname "wan" udp dport 1024-65535 dnat to ${client}` : '';
  const openUdp = fullCone ? 'iifname "wan" udp dport 1024-65535 accept' : '';
  return `
table ip nat {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ${dnat}
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
    ${openUdp}
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    iifname "${inside}" accept
    ct state established,related accept
    ${openUdp}
  }
}
`;
}
