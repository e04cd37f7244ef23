# SPDX-License-Identifier: MIT
"""Ethernet frames with an IPv4 UDP datagram inside."""

import socket
import struct


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp_frame(source_mac, target_mac, source, target, payload):
    """source and target: (address, port). UDP's checksum is left out, as IPv4 allows."""
    body = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, *addresses)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return target_mac + source_mac + b"\x08\x00" + header + body
