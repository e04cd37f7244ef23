# SPDX-License-Identifier: MIT
"""One end of a plain UDP pair that tries to meet its peer through NATs, directly or over a TURN server.

udp_pair.py --stun A:P [--turn USER:PASSWORD] --seconds N
  prints {"mapped": "A:P", "relayed": "A:P" or null}, reads {"peer": "A:P", "permit": "A" or null} from standard input,
  then says hello until the peer has acknowledged or the time is over, and prints {"met": bool, "peer": "A:P"}.
With --turn everything goes through the allocation.
"""

import argparse
import json
import select
import socket
import sys
import time

import stun


class Path:
    def __init__(self, sock, allocation):
        self.sock, self.allocation = sock, allocation

    def send(self, peer, data):
        if self.allocation:
            self.allocation.send(peer, data)
        else:
            self.sock.sendto(data, peer)

    def receive(self, seconds):
        if not select.select([self.sock], [], [], seconds)[0]:
            return None
        data, peer = self.sock.recvfrom(2048)
        if self.allocation:
            return stun.Allocation.received(stun.parse(data))
        return peer, data


def meet(path, peer, seconds):
    """Both directions work once the peer has acknowledged; go on for a moment so that it learns the same."""
    end, again, met, heard = time.monotonic() + seconds, 0.0, False, None
    while time.monotonic() < end:
        if time.monotonic() >= again:
            path.send(peer, b"hello")
            again = time.monotonic() + 0.05
        got = path.receive(0.02)
        if got and got[1] in (b"hello", b"ack"):
            heard = peer = got[0]
            if got[1] == b"hello":
                path.send(peer, b"ack")
            elif not met:
                met, end = True, min(end, time.monotonic() + 0.5)
    return met, heard


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stun", type=stun.address, required=True)
    parser.add_argument("--turn")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    allocation = stun.Allocation(sock, options.stun, *options.turn.split(":", 1)) if options.turn else None
    answer = stun.mapped(sock, options.stun)
    if not answer:
        sys.exit("no answer from the STUN server")
    relayed = "%s:%d" % allocation.relayed if allocation else None
    print(json.dumps({"mapped": "%s:%d" % answer[0], "relayed": relayed}), flush=True)
    wish = json.loads(sys.stdin.readline())
    if allocation:
        allocation.permit(wish["permit"])
    met, heard = meet(Path(sock, allocation), stun.address(wish["peer"]), options.seconds)
    print(json.dumps({"met": met, "peer": "%s:%d" % heard if heard else None}), flush=True)


main()
