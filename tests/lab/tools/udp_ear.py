# SPDX-License-Identifier: MIT
"""udp_ear.py PORT HOST:PORT: sends one datagram from PORT to HOST:PORT, then prints what comes to PORT, `FROM text` a line."""

import socket
import sys

host, port = sys.argv[2].rsplit(":", 1)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", int(sys.argv[1])))
sock.sendto(b"hello", (host, int(port)))
print("listening", flush=True)
while True:
    data, sender = sock.recvfrom(2048)
    print(f"{sender[0]}:{sender[1]} {data.decode(errors='replace')}", flush=True)
