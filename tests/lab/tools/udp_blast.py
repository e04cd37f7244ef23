# SPDX-License-Identifier: MIT
"""A paced stream of numbered UDP datagrams, and its sink.

udp_blast.py send HOST PORT --pps N --seconds S [--bytes B] -> {"sent": n, "seconds": s}
udp_blast.py sink PORT --seconds S
  prints "listening"; ends S seconds after its start, or 1 s after the sender's end mark, with
  {"received", "highest", "lost", "longestGapMs", "buckets": [[ms since first, datagrams], ...]} (100 ms each)
"""

import argparse
import json
import socket
import struct
import time

END = 0xFFFFFFFF
BUCKET_MS = 100


def send(options):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    target, filler = (options.host, options.port), b"\0" * (options.bytes - 4)
    start, sent = time.monotonic(), 0
    total = int(options.pps * options.seconds)
    while sent < total:
        due = min(total, int((time.monotonic() - start) * options.pps) + 1)
        while sent < due:
            sock.sendto(struct.pack("!I", sent) + filler, target)
            sent += 1
        time.sleep(0.0005)
    seconds = time.monotonic() - start
    for _ in range(5):
        sock.sendto(struct.pack("!I", END), target)
        time.sleep(0.05)
    print(json.dumps({"sent": sent, "seconds": round(seconds, 3)}))


def sink(options):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
    sock.bind(("0.0.0.0", options.port))
    sock.settimeout(0.1)
    print("listening", flush=True)
    end = time.monotonic() + options.seconds
    first = last = None
    received, highest, gap, buckets = 0, -1, 0.0, {}
    while time.monotonic() < end:
        try:
            data = sock.recv(2048)
        except socket.timeout:
            continue
        now, number = time.monotonic(), struct.unpack("!I", data[:4])[0]
        if number == END:
            end = min(end, now + 1)
            continue
        first = now if first is None else first
        gap, last = max(gap, now - last) if last else gap, now
        received, highest = received + 1, max(highest, number)
        bucket = int((now - first) * 1000) // BUCKET_MS * BUCKET_MS
        buckets[bucket] = buckets.get(bucket, 0) + 1
    result = {"received": received, "highest": highest, "lost": highest + 1 - received, "longestGapMs": int(gap * 1000)}
    print(json.dumps(result | {"buckets": sorted(buckets.items())}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    sender = commands.add_parser("send")
    sender.add_argument("host")
    sender.add_argument("port", type=int)
    sender.add_argument("--pps", type=int, default=15_000)
    sender.add_argument("--bytes", type=int, default=200)
    receiver = commands.add_parser("sink")
    receiver.add_argument("port", type=int)
    for command in (sender, receiver):
        command.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    (send if options.command == "send" else sink)(options)


main()
