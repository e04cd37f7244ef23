# SPDX-License-Identifier: MIT
"""ipop as a peer of the bench-peers harness (`bench.py --adapter bench/ipop_peer.py`; Python 3.11, nothing else).

    hostA -- [routerA: br-lan + ipop0]wan0 -- wan0[routerB: br-lan + ipop0] -- hostB
                       ipopd                          ipopd, Prosody

Prosody stands on router B's WAN address, where both ends reach it: neither STUN nor TURN is needed. It only introduces
the two, so the harness leaves it out of the tunnel's CPU and memory. Everything lies in the harness's own folder and
namespaces, which it ends and removes.

Several peers: `ipop` as it comes, and variants with something changed (PEERS, below). Each says what carries its frames, and
is not measured with anything else.

IPOP_DIST: folder of another build than the tree's own dist/.
"""
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from l2b import BenchError, Peer, run

DIST = Path(os.environ.get("IPOP_DIST") or Path(__file__).resolve().parent.parent / "dist").resolve()
IPOPD, IPOP = DIST / "ipopd", DIST / "ipop"
DOMAIN = "example.org"
MUC = f"conference.{DOMAIN}"
XMPP_PORT = 5223  # direct TLS (XEP-0368)
SERVER_READY_S = 15
LINK_UP_S = 45  # room, offer, ICE and DTLS take 1 to 3 s on a quiet machine
OWNER = "a"  # makes the room
TURN_PORT = 3478
TURN_USER, TURN_PASSWORD = "bench", "turn-secret"


@dataclass(frozen=True)
class Variant:
    """What is changed, and what must carry the frames then."""
    carriage: str = "express"
    kind: str = "direct"
    options: tuple = ()  # lines of the UCI section `network`
    env: dict = field(default_factory=dict)  # of ipopd
    wan_mtu: int = 1500
    relay: bool = False  # no path but by a TURN server


def start(t, variant):
    """Brings up the servers and both nodes, and waits for the link between them."""
    t.ipop_since = None
    for s in (t.a, t.b):
        s.ip("link", "set", "wan0", "mtu", variant.wan_mtu)
    start_server(t)
    if variant.relay:
        start_relay(t)
    for s in (t.a, t.b):
        s.spawn(IPOPD, "--config", s.write("ipop", uci(t, s, variant)), env=variant.env)
    seen = wait_link(t, variant)
    t.ipop_since = time.monotonic()
    for s in (t.a, t.b):
        say(s, f"{seen[s.key][1]['state']}, {carriage(seen[s.key][1])}")


def stop(t):
    """Tells what the link was at the end and what was dropped; the harness ends the processes."""
    if t.ipop_since is None:
        return
    for s in (t.a, t.b):
        try:
            network, peer = find_peer(status(s))
        except BenchError as e:
            say(s, f"at the end: {str(e).splitlines()[0]}")
            continue
        remade = peer["sinceSec"] + 3 < time.monotonic() - t.ipop_since
        note = "; THE LINK WAS MADE ANEW MEANWHILE" if remade else ""
        say(s, f"at the end: {peer['state']}, {carriage(peer)}; drops: tap {drops(network['bridge'])}, link {drops(peer)}{note}")


def check():
    """Why ipop cannot run here, or None."""
    missing = [str(f) for f in (IPOPD, IPOP) if not os.access(f, os.X_OK)]
    if missing:
        return f"needs {' '.join(missing)}: npm run build makes them (IPOP_DIST names another folder)"
    return None if Path("/dev/net/tun").exists() else "needs /dev/net/tun"


# The servers


def start_relay(t):
    """A coturn on router B; router A reaches nothing else there by UDP, so every frame crosses it."""
    s = t.b
    conf = s.write("turnserver.conf", f"""listening-ip={s.wan}
relay-ip={s.wan}
listening-port={TURN_PORT}
lt-cred-mech
user={TURN_USER}:{TURN_PASSWORD}
realm={DOMAIN}
userdb={s.dir}/turn.db
pidfile={s.dir}/turn.pid
no-tls
no-dtls
no-cli
log-file=stdout
simple-log
""")
    t.a.run("nft", "-f", t.a.write("relay.nft", f"""table inet bench {{
    chain out {{
        type filter hook output priority 0; policy accept;
        ip daddr {s.wan} udp dport != {TURN_PORT} drop
    }}
    chain in {{
        type filter hook input priority 0; policy accept;
        ip saddr {s.wan} udp sport != {TURN_PORT} drop
    }}
}}
"""))
    s.spawn("turnserver", "-c", conf, helper=True)
    wait(t, f"coturn does not listen after {SERVER_READY_S} s", SERVER_READY_S,
         lambda: f"{s.wan}:{TURN_PORT} " in s.run("ss", "-Hlun").stdout)


def start_server(t):
    s = t.b
    cert, key = issue_certificate(t)
    accounts = s.dir / "prosody" / DOMAIN.replace(".", "%2e") / "accounts"
    accounts.mkdir(parents=True)
    for side in (t.a, t.b):
        # Prosody replaces the password with its SCRAM hash when it is first used.
        (accounts / f"{side.key}.dat").write_text(f'return {{ ["password"] = "{password(side)}" }};\n')
    p = s.spawn("prosody", "-F", "--config", s.write("prosody.cfg.lua", prosody_config(s, cert, key)), helper=True)
    wait(t, f"Prosody does not listen after {SERVER_READY_S} s", SERVER_READY_S,
         lambda: "c2s_direct_tls" in Path(p.logfile).read_text(errors="replace"))


def wait(t, complaint, seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        t.check_alive()
        if time.monotonic() > end:
            raise BenchError(f"{complaint}\n{t.logs()}")
        time.sleep(0.05)


def issue_certificate(t):
    """A certificate for the server by an authority of this run's own; returns its file and its key's."""
    d = t.dir / "pki"
    d.mkdir(mode=0o700)
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", *new_key, "-subj", "/CN=ipop bench", "-days", 2, "-keyout", d / "ca.key", "-out", d / "ca.pem",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
    run("openssl", "req", *new_key, "-subj", f"/CN={DOMAIN}", "-keyout", d / "xmpp.key", "-out", d / "xmpp.csr")
    (d / "xmpp.ext").write_text("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n"
                                f"subjectAltName=DNS:{DOMAIN},DNS:{MUC}\n")
    run("openssl", "x509", "-req", "-in", d / "xmpp.csr", "-CA", d / "ca.pem", "-CAkey", d / "ca.key", "-CAcreateserial",
        "-days", 2, "-extfile", d / "xmpp.ext", "-out", d / "xmpp.pem")
    return d / "xmpp.pem", d / "xmpp.key"


def prosody_config(s, cert, key):
    tls = f'{{ certificate = "{cert}"; key = "{key}" }}'
    return f"""run_as_root = true
daemonize = false
pidfile = "{s.dir}/prosody.pid"
data_path = "{s.dir}/prosody"
certificates = "{cert.parent}"
interfaces = {{ "{s.wan}" }}
c2s_ports = {{}}
c2s_direct_tls_ports = {{ {XMPP_PORT} }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
ssl = {tls}
c2s_direct_tls_ssl = {tls}
c2s_require_encryption = true
authentication = "internal_hashed"
storage = "internal"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "smacks", "posix" }}
modules_disabled = {{ "s2s", "offline" }}

VirtualHost "{DOMAIN}"

Component "{MUC}" "muc"
"""


# The nodes


def password(s):
    return f"secret-{s.key}"


def uci(t, s, variant):
    turn = (f"list turn 'turn:{TURN_USER}:{TURN_PASSWORD}@{t.b.wan}:{TURN_PORT}'",) if variant.relay else ()
    more = "".join(f"\t{line}\n" for line in variant.options + turn)
    members = "".join(f"\tlist member '{x.key}@{DOMAIN}'\n" for x in (t.a, t.b) if x.key != OWNER)
    return f"""config ipop 'main'
\toption enabled '1'
\toption name 'router-{s.key}'
\toption state_dir '{s.dir}/state'
\toption control '{s.dir}/ipop.sock'

config network 'bench'
\toption jid '{s.key}@{DOMAIN}'
\toption password '{password(s)}'
\toption server '{t.b.wan}:{XMPP_PORT}'
\toption ca_file '{t.dir}/pki/ca.pem'
\toption room 'bench@{MUC}'
\toption bridge 'br-lan'
\toption tap 'ipop0'
\toption mtu '1500'
""" + more + (f"\toption owner '1'\n{members}" if s.key == OWNER else "")


def wait_link(t, variant):
    """Waits until both taps are in their bridges and both ends say that frames go as they should; returns each side's network and peer."""
    seen, why = {}, {}

    def is_up():
        for s in (t.a, t.b):
            try:
                seen[s.key], why[s.key] = find_peer(status(s)), ""
            except BenchError as e:
                why[s.key] = str(e)
                seen.pop(s.key, None)
        return len(seen) == 2 and all(is_right(n, p, variant) for n, p in seen.values())

    try:
        wait(t, "", LINK_UP_S, is_up)
    except BenchError as e:
        told = {**why, **{k: f"bridge {n['bridge']['state']}, link {p['state']}, {carriage(p)}" for k, (n, p) in seen.items()}}
        told = "; ".join(f"router {k}: {v}" for k, v in sorted(told.items()))
        raise BenchError(f"no {variant.kind} link over {variant.carriage} after {LINK_UP_S} s: {told}{e}") from e
    return seen


def is_right(network, peer, variant):
    path = peer.get("path") or {}
    return (network["bridge"]["state"], peer["state"], path.get("kind"), path.get("carriage")) == (
        "joined", "up", variant.kind, variant.carriage)


def status(s):
    """`ipop status --json` of a router; its exit code is 1 or 2 while something is amiss."""
    r = run(IPOP, "--socket", s.dir / "ipop.sock", "status", "--json", timeout=10, check=False)
    try:
        return json.loads(r.stdout)
    except ValueError:
        raise BenchError(f"ipop status: exit {r.returncode}: {(r.stderr or r.stdout).strip()[-300:]}")


def find_peer(answer):
    """The one network and the one peer of a status."""
    for network in answer["networks"]:
        if network["peers"]:
            return network, network["peers"][0]
        raise BenchError(f"no peer yet, XMPP is {network['xmpp']['state']}")
    raise BenchError("no network")


# What is told


def carriage(peer):
    path = peer.get("path")
    if not path:
        return "no path"
    how = f"{path['cipher']}, datagrams of {path['datagramBytes']} bytes" if path.get("cipher") else path.get("carriageWhy") or "as it was told"
    return f"{path['kind']} over {path['carriage']} ({how}), {path['local']} -> {path['remote']}"


def drops(port):
    counts = port["traffic"]["drops"]
    return " ".join(f"{reason} {n}" for reason, n in sorted(counts.items()) if n) or "none"


def say(s, text):
    line = f"ipop: router {s.key}: {text}"
    print(line, file=sys.stderr)
    with open(s.dir / "link.log", "a") as log:  # --logs keeps it
        print(line, file=log)


def peer(name, title, variant=Variant(), commands=(), packages=()):
    return Peer(name, title, lambda t: start(t, variant), encrypted=True, stop=stop, check=check,
                commands=("prosody", "openssl", *commands), packages=("prosody", "openssl", *packages), ready_s=15)


PEERS = [
    peer("ipop", "ipop: links by ICE and DTLS, frames by the express carriage"),
    peer("ipop-srtp", "ipop, the SRTP carriage", Variant(carriage="srtp", options=("option carriage 'srtp'",))),
    peer("ipop-chacha20", "ipop, ChaCha20-Poly1305 as on a CPU without AES", Variant(env={"IPOP_TEST_CIPHER": "chacha20-poly1305"})),
    peer("ipop-relay", "ipop through a TURN server", Variant(carriage="srtp", kind="relay", relay=True), ("turnserver", "nft"), ("coturn", "nftables")),
    peer("ipop-mtu1280", "ipop, path MTU 1280", Variant(wan_mtu=1280)),
]
