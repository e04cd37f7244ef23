/* SPDX-License-Identifier: MIT
 *
 * ipop.h: the seam between TypeScript (which decides) and native (which moves bytes).
 *
 * One flat C ABI, so that quickjs-ng (linked in), txiki.js (tjs:ffi) and Node (koffi, tests) can all call it:
 *   - arguments are int, or a pointer to bytes of the caller followed by its length or capacity as int;
 *     native never keeps such a pointer after the call has returned;
 *   - the result is int: >= 0 is success (often a handle or a count of bytes), < 0 is a negated errno;
 *     ipop_last_error() then gives the sentence that says what went wrong;
 *   - no callbacks, no structs by value, no returned pointers or strings;
 *   - all text is UTF-8 without a terminating NUL; a "text map" is lines of `key=value\n` (a key may repeat);
 *   - all numbers inside buffers are little-endian.
 *
 * Threads: call every function from one thread, the runtime's own. No call blocks for more than 5 ms (names are
 * resolved, sockets connected and agents closed on native threads), but for three kinds: ipop_ctl_call, which only the command line
 * uses; those that end a tap, which wait until the kernel has taken the device away (about 20 ms); and those that write a file.
 * ipop_upcall_finish does not wait, but sends: up to 32 frames to each port that they are flooded to, about 10 us a packet.
 * Native threads block all signals and never call into the runtime: they append to the record queue.
 *
 * Handles are ints > 0, never reused within a process. A port is a tap, a memory port or a link; all are one number space.
 */
#ifndef IPOP_H
#define IPOP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define IPOP_ABI_VERSION 1

/* ---- records: native -> TypeScript ------------------------------------------------------------------------------
 * One bounded queue (4096 records, 4 MiB). When it is full the record is dropped and counted, but its sequence number is
 * used up: a gap tells TypeScript that it missed something and must read the state anew.
 *
 * Each record is a header of 16 bytes, then `length` bytes of payload:
 *   u16 type | u16 zero | u32 length | u32 sequence | i32 handle
 */
enum ipop_record {
  IPOP_REC_UPCALL = 1,         /* handle: switch.  u32 id | i32 port | u16 vlan | u16 frame length | u8 miss | u8 zero | u16 head length | head:
                                  the first <= 128 bytes of the frame, VLAN tag included. `miss` is an ipop_miss. A super-frame longer than 65535 says 65535. */
  IPOP_REC_PORT_GONE = 2,      /* handle: port (a tap whose device was deleted). text: why. It must still be closed */
  IPOP_REC_LINK_LOCAL = 3,     /* handle: link.  text map: ufrag, pwd, fingerprint (sha-256, upper-case hex with colons), setup */
  IPOP_REC_LINK_CANDIDATE = 4, /* handle: link.  text: one local candidate, RFC 8839 `candidate:...` without `a=` */
  IPOP_REC_LINK_GATHERED = 5,  /* handle: link.  no payload: no more local candidates follow */
  IPOP_REC_LINK_UP = 6,        /* handle: link.  text map as ipop_link_info: DTLS, control channel and carriage are open */
  IPOP_REC_LINK_LOST = 7,      /* handle: link.  text map: code, text. The link carries nothing any more and its rules are gone
                                  already; it must still be closed. Codes: ipop.h, LINK_LOST codes below */
  IPOP_REC_LINK_MESSAGE = 8,   /* handle: link.  bytes: one message of the control channel */
  IPOP_REC_STREAM_OPEN = 9,    /* handle: stream. text map: address, tls (protocol version), exporter (hex, RFC 9266) */
  IPOP_REC_STREAM_DATA = 10,   /* handle: stream. bytes received, at most 16 KiB a record */
  IPOP_REC_STREAM_CLOSED = 11, /* handle: stream. text map: code, text. The handle is free. Codes: STREAM_CLOSED codes below */
  IPOP_REC_CTL_REQUEST = 12,   /* handle: connection. bytes: one request line, without its newline, at most 4 KiB */
  IPOP_REC_PBKDF2 = 13,        /* handle: request. bytes: the derived key */
  IPOP_REC_INTERFACES = 14,    /* handle: 0. no payload: network interfaces, addresses or bridges changed (at most 2 a second) */
  IPOP_REC_SRV = 15,           /* handle: request. text map: record (repeats, <= 32: "priority weight port target", target . for none); no record:
                                  the name has none. Or, when no name server gave an answer: code (dns), text */
  IPOP_REC_LINK_MOVED = 16     /* handle: link.  text map: code, text. The link's path is gone, or soon will be, though the link is not lost yet: a new one
                                  should be made beside it. Codes: LINK_MOVED codes below */
};
/* LINK_LOST codes: ice-failed (no candidate pair worked), dtls-failed, fingerprint (the peer's certificate is not the one in its
 * signed offer), silent (nothing heard: 12 s with traffic, 30 s idle), consent (ICE consent lost), closed (the peer closed it),
 * ssrc-exhausted, internal.
 * LINK_MOVED codes: peer-moved (the peer's authentic datagrams come from an address that ICE does not know; express follows them, ICE cannot and
 * gives the link up within 30 s), readdressed (the peer sees us at another address than before: a NAT on our
 * way changed it, and the XMPP stream may be dead, too), silent (nothing heard for 4 s with traffic).
 * STREAM_CLOSED codes: dns, refused, unreachable, timeout, starttls-refused, tls-pin, tls-name, tls-expired, tls-not-yet-valid, tls-unknown-ca, tls-self-signed,
 * tls-protocol, tls-alert, ca-file, eof, reset, overflow (the record queue was full: the runtime did not keep up), local (ipop_stream_close), internal. */

enum ipop_miss {
  IPOP_MISS_SOURCE = 1, /* the frame's source has no rule */
  IPOP_MISS_MOVED = 2,  /* the frame's source has a rule, for another port */
  IPOP_MISS_DESTINATION = 3
};

/* Why a frame, or a piece of one, was dropped. Order and names are the counters' order and names everywhere. */
enum ipop_drop {
  IPOP_DROP_GUARD_DHCP = 0,      /* DHCPv4 or DHCPv6, which never crosses */
  IPOP_DROP_GUARD_RA,            /* IPv6 router advertisement */
  IPOP_DROP_GUARD_UNPARSED,      /* first IPv6 fragment without its whole header chain: could hide either (RFC 7113) */
  IPOP_DROP_RESERVED_ADDRESS,    /* to 01:80:c2:00:00:00-0f (IEEE 802.1Q 8.6.3) */
  IPOP_DROP_SOURCE_GROUP,        /* source is a group address */
  IPOP_DROP_SOURCE_ZERO,         /* source is 00:00:00:00:00:00 */
  IPOP_DROP_SAME_PORT,           /* destination is behind the port it came from */
  IPOP_DROP_SPLIT_HORIZON,       /* from a link, destination behind a link */
  IPOP_DROP_POLICY,              /* decided by TypeScript */
  IPOP_DROP_UPCALL_LIMITED,      /* more first packets than the upcall budget of its port */
  IPOP_DROP_UPCALL_FULL,         /* too many frames wait for a decision */
  IPOP_DROP_UPCALL_TIMEOUT,      /* no decision within 2 s */
  IPOP_DROP_PORT_DISABLED,       /* port not enabled (yet) */
  IPOP_DROP_NO_PORT,             /* nowhere to go: no other enabled port */
  IPOP_DROP_MALFORMED,           /* shorter than an Ethernet header, or longer than 65535 bytes (a super-frame: 65557) */
  IPOP_DROP_LINK_CLOSED,         /* link not open */
  IPOP_DROP_LINK_FULL,           /* link's send queue is full */
  IPOP_DROP_TAP_WRITE,           /* the kernel refused the frame (tap down) */
  IPOP_DROP_CARRIAGE_MALFORMED,  /* not a carriage packet of this version */
  IPOP_DROP_FRAGMENT_TIMEOUT,    /* a fragment's company did not come within 1 s */
  IPOP_DROP_FRAGMENT_FULL,       /* too many frames in reassembly: the oldest gave way */
  IPOP_DROP_FRAGMENT_MISMATCH,   /* fragment contradicts its company */
  IPOP_DROP_OVERSIZE,            /* frame longer than the carriage takes */
  IPOP_DROP_SEAL_INVALID,        /* express datagram that nobody with the link's keys has sealed, or that was cut or changed */
  IPOP_DROP_SEAL_REPLAYED,       /* express datagram that came before, or is older than the replay window */
  IPOP_DROP_SEAL_EPOCH,          /* express datagram of an epoch whose key this side has not, or no longer */
  IPOP_DROP_QUEUE_EARLY,         /* dropped early by flow, to keep a queue short: here (RFC 8290), or told so on the way (RFC 6040, 4.2) */
  IPOP_DROP_CIRCUIT_BREAKER,     /* not TCP, on a link that loses more than a tenth of what is sent (RFC 8084) */
  IPOP_DROP_COUNT
};

/* ---- start and stop ------------------------------------------------------------------------------------------- */

/* Returns IPOP_ABI_VERSION; the caller must stop if it is not the version it was written for. */
int ipop_abi_version(void);
/* Starts native's threads and the record queue. -EALREADY when started. */
int ipop_start(void);
/* Closes every handle and joins every thread; taps are gone afterwards. At most 3 s. 0 even when not started. */
int ipop_stop(void);
/* A descriptor (eventfd) that is readable while records wait; owned by native, valid until ipop_stop. For poll() only. */
int ipop_wake_fd(void);
/* Moves whole records into buf (cap >= 65536 + 16). Returns bytes written, 0 when none wait. */
int ipop_poll(uint8_t *buf, int cap);
/* Text of the last failed call. Returns its length, cut to cap. */
int ipop_last_error(uint8_t *buf, int cap);
/* Counters of the process, as u64s: records queued, records dropped, threads alive, descriptors that can still be made (8: or more),
   their limit (RLIMIT_NOFILE). Returns bytes written. */
int ipop_process_counters(uint8_t *buf, int cap);

/* ---- switch, ports, rules ---------------------------------------------------------------------------------------
 * A switch forwards between its ports by rules only. For each frame: malformed, reserved, source and guard checks; then two
 * look-ups of (vlan, address): is the source bound to this port, and where does the destination go. A miss is an upcall: the frame is
 * parked, later frames of the same port and the same missing address are parked behind it (<= 32), TypeScript is told once. Parked: <= 256
 * upcalls, <= 1 MiB a switch. Budget: 200 upcalls/s with a burst of 400 for each port. */

/* Makes a switch. Returns its handle. */
int ipop_switch_open(void);
/* Closes it with all its ports. */
int ipop_switch_close(int sw);
/* Makes a tap (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), with what offload the kernel has, and sets it up. mtu in bytes. Returns the port.
 * -EBUSY: the name is in use; -ENOENT: no /dev/net/tun; -EPERM; -EINVAL: bad name. Not persistent: it goes with the process. */
int ipop_tap_open(int sw, const uint8_t *name, int name_len, int mtu);
/* Makes a port without a device, for tests: what ipop_memory_write is given comes into the switch there, what goes out is
 * queued (<= 1024 frames) for ipop_memory_read. is_link != 0: it counts as a link for split horizon. */
int ipop_memory_open(int sw, int is_link);
int ipop_memory_write(int port, const uint8_t *frame, int len);
/* Returns the frame's length, 0 when none waits. */
int ipop_memory_read(int port, uint8_t *buf, int cap);
/* Lets frames in and out of a port (on != 0), or not; ports begin disabled. */
int ipop_port_enable(int port, int on);
/* While a link moves to another: `port` stands in for `of`. What comes in at `port` counts as coming in at `of` (rules, upcalls), nothing is flooded
 * to `port`, and rules that led to it lead to `of`, with their counters; `of` stands in for nothing any more. In one step: no frame is judged
 * in between. Until `port` is closed, or another stands in for it. -ENOENT: no such port, -EINVAL: not two ports of one switch and one side
 * of the split horizon. */
int ipop_port_stand_in(int port, int of);
/* Closes a tap or memory port and drops its rules (links: ipop_link_close). */
int ipop_port_close(int port);
/* u64s: rx frames, rx bytes, tx frames, tx bytes (frames of Ethernet; rx = into the switch), upcalls, then IPOP_DROP_COUNT drops in enum
 * order (counted at the port where the frame came in, or where it was to go out). Returns bytes written. */
int ipop_port_counters(int port, uint8_t *buf, int cap);
/* Sets the rule for (vlan, mac); vlan 0 is untagged. out > 0: a port, and frames from mac may come in there only; out == IPOP_OUT_FLOOD: all
 * enabled ports but the one it came from, and from a link no other link; out == IPOP_OUT_DROP. Replaces. -ENOSPC over 8192 rules, -ENOENT: no such port. */
#define IPOP_OUT_DROP 0
#define IPOP_OUT_FLOOD (-1)
#define IPOP_OUT_RULES (-2)
int ipop_rule_set(int sw, const uint8_t *mac, int vlan, int out);
/* -ENOENT when there is none. */
int ipop_rule_delete(int sw, const uint8_t *mac, int vlan);
/* Deletes the rules that lead to `port`, or all when port is 0. Returns how many. */
int ipop_rules_flush(int sw, int port);
/* Rules from index `start`, 28 bytes each: mac[6] | u16 vlan | i32 out | u32 ms since a frame came from it | u32 ms since a frame
 * went to it | u64 hits (both kinds). "Never" is 0xffffffff. Returns how many were written; 0 at the end. Order is stable between changes. */
int ipop_rules_dump(int sw, int start, uint8_t *buf, int cap);
/* Ends an upcall and lets its parked frames go: out as in ipop_rule_set, or IPOP_OUT_RULES: through the rules again, a second
 * miss of the same kind is dropped (policy), a miss of the other kind is a new upcall. -ENOENT when it has timed out. */
int ipop_upcall_finish(int sw, int id, int out);

/* ---- links ------------------------------------------------------------------------------------------------------
 * A link is one ICE agent with DTLS, a reliable ordered control channel and two carriages, SRTP and express (docs/PROTOCOL.md). */

#define IPOP_ROLE_OFFER 0
#define IPOP_ROLE_ANSWER 1
/* Makes a link as a disabled port of the switch. config, text map: server (repeats: stun:host:port | turn:user:password@host:port,
 * user and password percent-encoded; at most 1 stun and 2 turn). ICE credentials are random, made by the agent. An offerer starts gathering at once,
 * an answerer with ipop_link_remote. Records: LOCAL, CANDIDATE..., GATHERED, UP, LOST. -EAGAIN over 128 links. */
int ipop_link_open(int sw, int role, const uint8_t *config, int len);
/* The peer's description, text map: ufrag, pwd, fingerprint, setup (actpass for an offer, active or passive for an answer). Once. */
int ipop_link_remote(int link, const uint8_t *config, int len);
/* One candidate of the peer, RFC 8839 without `a=`. Before ipop_link_remote it is kept (<= 64). */
int ipop_link_candidate(int link, const uint8_t *candidate, int len);
/* Sends a message (<= 16 KiB, a JSON object: the others are native's own) on the control channel. -EINVAL, -ENOTCONN, -EAGAIN over 64 KiB waiting. */
int ipop_link_send(int link, const uint8_t *message, int len);
/* Begins with the express carriage (PROTOCOL 5) on a link that is up: keys, probes, and frames as soon as the direct path takes them; until then,
 * and wherever it does not, frames go by SRTP. Once a link, on both sides. Text map: local, peer (node ids, 40 hex digits), generation (of the
 * offer), cipher (optional: aes-256-gcm or chacha20-poly1305; default by CPU), rekey_ms (optional, 100..86400000). -EINVAL, -ENOTCONN, -EALREADY. */
int ipop_link_express(int link, const uint8_t *config, int len);
/* How the links of a switch share a line, those to come too; counts at once. Text map, 0 or missing: none of it. up_kbit, down_kbit: 64..10000000, in
 * 1000 bits/s of all that its links send and receive, with the headers of UDP and IP; frames beyond wait by flow, and are marked (ECN) or
 * dropped (QUEUE_EARLY) early; dscp: 0..63 (RFC 2474), for what its links send. -EINVAL. */
int ipop_switch_shape(int sw, const uint8_t *config, int len);
/* Text map: state, local, remote (address:port of the selected pair), local_type, remote_type (host, srflx, prflx, relay), carriage (srtp,
 * express), carriage_why (in words), cipher, epoch, datagram_bytes (UDP payload; 0 while express is closed), express_received (datagrams),
 * rtp_sent, rtp_received (packets), ssrc_changes, silent_ms (since anything was heard), local_gone (1: no interface has the local address any
 * more), loss_permille (of what was sent lately; empty: too little to say), throttled (1: over a tenth for 10 s, so all but TCP is limited to
 * 256 kbit/s). Returns bytes written. */
int ipop_link_info(int link, uint8_t *buf, int cap);
/* Closes the link; its rules and port are gone at once, the agent is torn down on a native thread. */
int ipop_link_close(int link);

/* ---- streams (XMPP) ---------------------------------------------------------------------------------------------- */

/* Opens a TLS stream. Text map: host (name or address to connect to), port, name (the name the certificate must have), ca (PEM file; optional,
 * default the system's), pin (SHA-256 of the only certificate to accept, 64 hex digits; optional: then authorities, name and dates do not
 * count), tls (direct, the default; starttls: RFC 6120 section 5, all of it done before STREAM_OPEN), alpn (optional), timeout_ms (connect and
 * handshake together, default 10000). Records: STREAM_OPEN, DATA, CLOSED. */
int ipop_stream_open(const uint8_t *config, int len);
/* Queues bytes. -ENOTCONN, -EAGAIN over 1 MiB waiting. */
int ipop_stream_write(int stream, const uint8_t *data, int len);
/* Closes it (close_notify first); STREAM_CLOSED follows. */
int ipop_stream_close(int stream);

/* Asks DNS for the SRV records of a name (RFC 2782) on a native thread. Text map: name (_xmpp-client._tcp.example.org), timeout_ms (for all
 * tries together, default 5000), server (address:port of a name server; repeats, <= 3; default those of /etc/resolv.conf). Returns a request
 * handle; record SRV follows. -EAGAIN: 8 wait already. */
int ipop_srv_lookup(const uint8_t *config, int len);

/* ---- local control socket -------------------------------------------------------------------------------------- */

/* Listens on a unix stream socket (mode 0660, a dead one of that name is replaced; -EADDRINUSE when a live daemon answers there). Peers must
 * be root, our own user, or in the socket's group. At most 8 connections, a request line of <= 4 KiB within 5 s, one request a connection. */
int ipop_ctl_listen(const uint8_t *path, int len);
/* Sends the answer (<= 1 MiB) and closes the connection. */
int ipop_ctl_reply(int connection, const uint8_t *data, int len);
/* The command line's side: sends one request line and reads the whole answer. Blocks up to 5 s. -ENOENT, -ECONNREFUSED, -EACCES, -ETIMEDOUT. */
int ipop_ctl_call(const uint8_t *path, int path_len, const uint8_t *request, int len, uint8_t *buf, int cap);

/* ---- identity, hashes, random ---------------------------------------------------------------------------------- */

#define IPOP_SHA1 1
#define IPOP_SHA256 2
int ipop_random(uint8_t *buf, int len);
/* Returns the digest's length. */
int ipop_hash(int algorithm, const uint8_t *data, int len, uint8_t *out, int cap);
int ipop_hmac(int algorithm, const uint8_t *key, int key_len, const uint8_t *data, int len, uint8_t *out, int cap);
/* RFC 8018 PBKDF2-HMAC, derived length = digest length, on a native thread. Returns a request handle; record PBKDF2 follows.
 * rounds 1..10000000. */
int ipop_pbkdf2(int algorithm, const uint8_t *password, int password_len, const uint8_t *salt, int salt_len, int rounds);
/* Loads the Ed25519 key (PKCS#8) of this file, or makes it once (0600, written whole or not at all). Writes the 32-byte public key.
 * -EPERM: others can read the file; -EBADMSG: not a key; else an errno of the file system. Keeps the key for ipop_sign. */
int ipop_identity_open(const uint8_t *path, int path_len, uint8_t *public_key, int cap);
/* Ed25519 (RFC 8032) by the opened identity. Writes 64 bytes. */
int ipop_sign(const uint8_t *data, int len, uint8_t *signature, int cap);
/* 1: good, 0: not. public_key is 32 bytes, signature 64. */
int ipop_verify(const uint8_t *public_key, const uint8_t *data, int len, const uint8_t *signature);

/* ---- files, interfaces ------------------------------------------------------------------------------------------ */

/* Reads a file of at most cap bytes. Returns its length; -EFBIG when longer. */
int ipop_file_read(const uint8_t *path, int path_len, uint8_t *buf, int cap);
/* Writes a file whole or not at all (temporary file, fsync, rename), mode 0600. Makes the last folder of the path (0700) if missing. */
int ipop_file_write(const uint8_t *path, int path_len, const uint8_t *data, int len);
/* The host's name into buf. */
int ipop_host_name(uint8_t *buf, int cap);
/* Puts the tap `port` into the bridge, at once and idempotently. -ENODEV: no such interface, -EINVAL: not a bridge, -EBUSY: in another bridge. */
int ipop_bridge_join(int port, const uint8_t *bridge, int len);
/* Name of the bridge the tap is in, or 0 bytes. */
int ipop_bridge_of(int port, uint8_t *buf, int cap);
/* 1: the address (text, IPv4 or IPv6) belongs to, or is reached through, one of our taps or a bridge with one of our taps
 * in it, so a link over it would run inside another link; 0: not. */
int ipop_address_overlay(const uint8_t *address, int len);

#ifdef __cplusplus
}
#endif
#endif
