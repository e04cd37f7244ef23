# SPDX-License-Identifier: MIT
"""A TCP stream that says a number every 20 ms and hears it back, until it is interrupted.

tcp_ticks.py echo PORT
  prints "listening"; sends back what one client sends
tcp_ticks.py send HOST PORT
  prints "flowing" with the tenth answer, and after SIGINT {"sent", "received", "longestGapMs"} (between two answers)
"""

import json
import select
import signal
import socket
import sys
import time

EVERY_S = 0.02
LAST_S = 5


def echo(port):
    server = socket.create_server(("", port))
    print("listening")
    client, _ = server.accept()
    while data := client.recv(65536):
        client.sendall(data)


def send(host, port):
    ended = []
    signal.signal(signal.SIGINT, lambda *_: ended.append(True))
    sock = socket.create_connection((host, port), 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = received = 0
    gap, heard = 0.0, time.monotonic()
    due, limit = heard, None
    while received < 4 * sent or not ended:
        now = time.monotonic()
        if ended and limit is None:
            limit = now + LAST_S
        if limit and now > limit:
            break
        if now >= due and not ended:
            sock.sendall(b"%4d" % (sent % 10000))
            sent, due = sent + 1, now + EVERY_S
        if select.select([sock], [], [], max(0, min(due - now, EVERY_S)))[0]:
            before, received = received, received + len(sock.recv(65536))
            now = time.monotonic()
            gap, heard = max(gap, now - heard), now
            if before < 40 <= received:
                print("flowing")
    print(json.dumps({"sent": sent, "received": received // 4, "longestGapMs": round(gap * 1000)}))


if sys.argv[1] == "echo":
    echo(int(sys.argv[2]))
else:
    send(sys.argv[2], int(sys.argv[3]))
