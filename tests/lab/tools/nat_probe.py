# SPDX-License-Identifier: MIT
"""Measures mapping and filtering behaviour of the way to the internet in the manner of RFC 5780.

nat_probe.py SERVER:PORT -> one JSON object
"""

import json
import socket
import sys

import stun


def fresh():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    return sock


def mapping(sock, first, server, other):
    """RFC 5780 section 4.3"""
    second = stun.mapped(sock, (other[0], server[1]))
    if not second:
        return "unknown"
    if second[0] == first:
        return "endpoint-independent"
    third = stun.mapped(sock, other)
    if not third:
        return "unknown"
    return "address-dependent" if third[0] == second[0] else "address-and-port-dependent"


def filtering(server):
    """RFC 5780 section 4.4, from a socket that has spoken to nobody else."""
    sock = fresh()
    if not stun.mapped(sock, server):
        return "unknown"
    if stun.mapped(sock, server, stun.CHANGE_ADDRESS | stun.CHANGE_PORT):
        return "endpoint-independent"
    if stun.mapped(sock, server, stun.CHANGE_PORT):
        return "address-dependent"
    return "address-and-port-dependent"


def main():
    server = stun.address(sys.argv[1])
    sock = fresh()
    answer = stun.mapped(sock, server)
    if not answer:
        print(json.dumps({"mapping": "udp-blocked", "filtering": "udp-blocked"}))
        return
    first, other = answer
    if not other:
        sys.exit("the STUN server has no other address: no behaviour discovery")
    result = {
        "mapped": f"{first[0]}:{first[1]}",
        "mapping": mapping(sock, first, server, other),
        "filtering": filtering(server),
    }
    print(json.dumps(result))


main()
