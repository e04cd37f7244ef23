# SPDX-License-Identifier: MIT
"""Sends marked Ethernet frames and hears them, on one interface.

frames.py send IF --kind broadcast|mdns|ethertype --token T --ip A
frames.py listen IF --expect T1,T2 --seconds N
  prints "listening", then ends when all tokens were heard or the time is over, with
  {"T1": {"src": mac, "dst": mac, "type": "0x0800", "count": n}, ...}
"""

import argparse
import json
import select
import socket
import struct
import time

from frames_ip import udp_frame

ETH_P_ALL, ETH_P_EXPERIMENT = 0x0003, 0x88B5
MARK = b"ipop-lab-token:"


def frame(kind, mac, ip, token):
    payload = MARK + token.encode() + b";"
    if kind == "broadcast":
        data = udp_frame(mac, b"\xff" * 6, (ip, 9), (ip.rsplit(".", 1)[0] + ".255", 9), payload)
    elif kind == "mdns":
        data = udp_frame(mac, bytes.fromhex("01005e0000fb"), (ip, 5353), ("224.0.0.251", 5353), payload)
    else:
        data = b"\xff" * 6 + mac + struct.pack("!H", ETH_P_EXPERIMENT) + payload
    return data.ljust(60, b"\0")


def send(options):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((options.interface, 0))
    mac = sock.getsockname()[4]
    for _ in range(options.count):
        sock.send(frame(options.kind, mac, options.ip, options.token))
    print(json.dumps({"sent": options.count}))


def listen(options):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((options.interface, ETH_P_ALL))
    expected = set(filter(None, options.expect.split(",")))
    heard = {}
    print("listening", flush=True)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and not expected.issubset(heard):
        if not select.select([sock], [], [], 0.05)[0]:
            continue
        data, source = sock.recvfrom(2048)
        at = data.find(MARK)
        if at < 0 or source[2] == socket.PACKET_OUTGOING:
            continue
        token = data[at + len(MARK) :].split(b";")[0].decode()
        entry = {"src": data[6:12].hex(":"), "dst": data[:6].hex(":"), "type": "0x" + data[12:14].hex(), "count": 0}
        heard.setdefault(token, entry)["count"] += 1
    print(json.dumps(heard), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["send", "listen"])
    parser.add_argument("interface")
    parser.add_argument("--kind", choices=["broadcast", "mdns", "ethertype"], default="broadcast")
    parser.add_argument("--token", default="")
    parser.add_argument("--ip", default="0.0.0.0")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--expect", default="")
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    (send if options.command == "send" else listen)(options)


main()
