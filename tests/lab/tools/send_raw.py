# SPDX-License-Identifier: MIT
"""Sends Ethernet frames as they are: send_raw.py IF, one frame in hex a line on standard input."""

import socket
import sys

sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
for line in sys.stdin:
    sock.send(bytes.fromhex(line).ljust(60, b"\0"))
