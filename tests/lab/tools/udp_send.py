# SPDX-License-Identifier: MIT
"""udp_send.py HOST:PORT TEXT FROM[:PORT]: sends one datagram from one of this host's own addresses."""

import socket
import sys

host, port = sys.argv[1].rsplit(":", 1)
source = sys.argv[3].split(":")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((source[0], int(source[1]) if len(source) > 1 else 0))
sock.sendto(sys.argv[2].encode(), (host, int(port)))
