# SPDX-License-Identifier: MIT
"""The few STUN and TURN messages the lab needs (RFC 8489, RFC 5780, RFC 8656), over one UDP socket."""

import hashlib
import hmac
import os
import select
import socket
import struct
import time

MAGIC = 0x2112A442
BINDING, ALLOCATE, SEND, DATA, PERMIT = 0x001, 0x003, 0x006, 0x007, 0x008
A_CHANGE, A_USER, A_INTEGRITY, A_ERROR, A_PEER, A_DATA = 0x003, 0x006, 0x008, 0x009, 0x012, 0x013
A_REALM, A_NONCE, A_RELAYED, A_TRANSPORT, A_MAPPED, A_OTHER = 0x014, 0x015, 0x016, 0x019, 0x020, 0x802C
CHANGE_ADDRESS, CHANGE_PORT = 4, 2


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + b"\0" * (-len(value) % 4)


def xor_address(peer):
    number = struct.unpack("!I", socket.inet_aton(peer[0]))[0] ^ MAGIC
    return struct.pack("!BBHI", 0, 1, peer[1] ^ (MAGIC >> 16), number)


def read_address(value, xored):
    _, family, port, number = struct.unpack("!BBHI", value[:8])
    if xored:
        port, number = port ^ (MAGIC >> 16), number ^ MAGIC
    return socket.inet_ntoa(struct.pack("!I", number)), port


def build(kind, attributes, key=None, transaction=None):
    transaction = transaction or os.urandom(12)
    body = b"".join(attribute(k, v) for k, v in attributes)
    length = len(body) + (24 if key else 0)
    message = struct.pack("!HHI", kind, length, MAGIC) + transaction + body
    if key:
        message += attribute(A_INTEGRITY, hmac.new(key, message, hashlib.sha1).digest())
    return message, transaction


def parse(data):
    """(type, transaction, {attribute: value}) or None if it is no STUN message."""
    if len(data) < 20 or data[0] > 3 or struct.unpack("!I", data[4:8])[0] != MAGIC:
        return None
    kind, length = struct.unpack("!HH", data[:4])
    attributes, at = {}, 20
    while at + 4 <= min(len(data), 20 + length):
        name, size = struct.unpack("!HH", data[at : at + 4])
        attributes.setdefault(name, data[at + 4 : at + 4 + size])
        at += 4 + size + (-size % 4)
    return kind, data[8:20], attributes


def request(sock, server, kind, attributes=(), key=None, seconds=1.2):
    """Sends a request, repeats it, and returns (response type, attributes), or None when nothing answers in time."""
    message, transaction = build(kind, attributes, key)
    end, again = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        if time.monotonic() >= again:
            sock.sendto(message, server)
            again = time.monotonic() + 0.25
        if select.select([sock], [], [], 0.05)[0]:
            answer = parse(sock.recvfrom(2048)[0])
            if answer and answer[1] == transaction:
                return answer[0], answer[2]
    return None


def mapped(sock, server, change=0):
    """(mapped address, other address of the server) of a Binding request, or None."""
    wish = [(A_CHANGE, struct.pack("!I", change))] if change else []
    answer = request(sock, server, BINDING, wish)
    if not answer or A_MAPPED not in answer[1]:
        return None
    other = answer[1].get(A_OTHER)
    return read_address(answer[1][A_MAPPED], True), read_address(other, False) if other else None


class Allocation:
    """A TURN allocation on a server (UDP), with long-term credentials."""

    def __init__(self, sock, server, user, password):
        self.sock, self.server = sock, server
        transport = [(A_TRANSPORT, struct.pack("!I", 17 << 24))]
        first = request(sock, server, ALLOCATE, transport)
        if not first or A_NONCE not in first[1]:
            raise RuntimeError("the TURN server does not answer an Allocate request with a nonce")
        realm = first[1][A_REALM]
        self.auth = [(A_USER, user.encode()), (A_REALM, realm), (A_NONCE, first[1][A_NONCE])]
        self.key = hashlib.md5(b":".join([user.encode(), realm, password.encode()])).digest()
        answer = request(sock, server, ALLOCATE, transport + self.auth, self.key)
        if not answer or A_RELAYED not in answer[1]:
            error = answer[1].get(A_ERROR, b"") if answer else b"no answer"
            raise RuntimeError(f"the TURN server refuses the allocation: {error!r}")
        self.relayed = read_address(answer[1][A_RELAYED], True)

    def permit(self, host):
        answer = request(self.sock, self.server, PERMIT, [(A_PEER, xor_address((host, 0)))] + self.auth, self.key)
        if not answer or answer[0] != PERMIT | 0x100:
            raise RuntimeError(f"the TURN server refuses a permission for {host}")

    def send(self, peer, data):
        self.sock.sendto(build(SEND | 0x10, [(A_PEER, xor_address(peer)), (A_DATA, data)])[0], self.server)

    @staticmethod
    def received(message):
        """(peer, data) of a Data indication, else None."""
        if message and message[0] == DATA | 0x10:
            return read_address(message[2][A_PEER], True), message[2][A_DATA]
        return None
