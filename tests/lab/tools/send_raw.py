# SPDX-License-Identifier: MIT
"""Sends Ethernet frames as they are: send_raw.py IF [PPS], one frame in hex a line on standard input."""

import socket
import sys
import time

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
pps = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
start = time.monotonic()
for sent, line in enumerate(sys.stdin):
    time.sleep(max(0, start + sent / pps - time.monotonic()))
    sock.send(bytes.fromhex(line).ljust(60, b"\0"))
