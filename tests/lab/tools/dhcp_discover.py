# SPDX-License-Identifier: MIT
"""Asks for DHCP offers and tells who answered; takes none of them.

dhcp_discover.py IF --seconds N [--unicast] -> {"offers": [{"server": "A", "address": "A", "dst": mac}, ...]}
--unicast leaves the broadcast flag clear, so that a server may send its offer to our MAC alone.
"""

import argparse
import json
import os
import select
import socket
import struct
import time

from frames_ip import udp_frame

COOKIE = b"\x63\x82\x53\x63"


def discover(mac, transaction, flags):
    head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, transaction, 0, flags) + b"\0" * 16
    options = b"\x35\x01\x01" + b"\x37\x03\x01\x03\x06" + b"\xff"
    return head + mac.ljust(16, b"\0") + b"\0" * 192 + COOKIE + options


def offer(data, transaction):
    """(server, address) if these bytes of a frame are an offer to us, else None."""
    if data[12:14] != b"\x08\x00" or data[23] != 17:
        return None
    start = 14 + (data[14] & 15) * 4
    bootp = data[start + 8 :]
    if data[start : start + 2] != b"\0\x43" or bootp[4:8] != transaction or bootp[236:240] != COOKIE:
        return None
    options, at = {}, 240
    while at + 1 < len(bootp) and bootp[at] != 255:
        size = 0 if bootp[at] == 0 else bootp[at + 1]
        options[bootp[at]] = bootp[at + 2 : at + 2 + size]
        at += 1 if bootp[at] == 0 else 2 + size
    if options.get(53) != b"\x02":
        return None
    return socket.inet_ntoa(options.get(54, b"\0\0\0\0")), socket.inet_ntoa(bootp[16:20])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("interface")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--unicast", action="store_true")
    wish = parser.parse_args()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind((wish.interface, 3))
    mac, transaction = sock.getsockname()[4], os.urandom(4)
    request = discover(mac, transaction, 0 if wish.unicast else 0x8000)
    offers, end, again = [], time.monotonic() + wish.seconds, 0.0
    while time.monotonic() < end:
        if time.monotonic() >= again:
            sock.send(udp_frame(mac, b"\xff" * 6, ("0.0.0.0", 68), ("255.255.255.255", 67), request))
            again = time.monotonic() + 0.7
        if select.select([sock], [], [], 0.05)[0]:
            data = sock.recv(2048)
            got = offer(data, transaction)
            entry = got and {"server": got[0], "address": got[1], "dst": data[:6].hex(":")}
            if entry and entry not in offers:
                offers.append(entry)
    print(json.dumps({"offers": offers}))


main()
