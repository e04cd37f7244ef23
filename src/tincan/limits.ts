// SPDX-License-Identifier: MIT
// Every bound of link management, with its reason. Times are milliseconds.
//
// How soon a link is back after its path or its peer has returned (promise: 10 s):
//   - waiting: back-off <= 4 s, then the larger id gives the smaller 2 s to offer, then gathering, offer and checks: about 1 s    <= 7 s
//   - an unanswered offer was lost: it is sent again every 2 s, then about 1 s                                                  <= 3 s
//   - checks run: ICE sends them 0, 0.5, 1.5, 3.5 and 7.5 s after the answer; a path that returns between two is found by the
//     next one (<= 4 s); one that returns after the last waits for the limit, 2.5 s, then as in the first line              <= 9.5 s
//   - this side believes the link is up, the other has lost it: the other's offer replaces it, as in the first line             <= 7 s
//   - the peer restarted: the smaller id offers when it sees the other, the larger after 2 s                                    <= 3 s

/** From opening a native link to its description; libdatachannel needs milliseconds, so this means that it is stuck. */
export const GATHERING_MS = 5_000;
/** From the peer's description to "up": the last ICE check goes out after 7.5 s, DTLS takes two round trips more. */
export const CHECKING_MS = 10_000;
/** From opening to "up" in all, so that lost signals cannot hold a slot. */
export const ATTEMPT_MS = 12_000;
/** From "up" in native to the peer's hello; the control channel sends again by itself. */
export const HELLO_MS = 5_000;
/** How long the larger node id waits for the smaller one's offer: several round trips of any XMPP path. */
export const OFFER_WAIT_MS = 2_000;
/** An unanswered offer, and an answer before the link is up, is sent again this often: either may have been lost, or not fit any more. */
export const RESEND_MS = 2_000;
/** Resends of one attempt's offer or answer: what fits into ATTEMPT_MS, so that a peer cannot make us send without end. */
export const RESENDS = 6;
/** First back-off (its upper end, jittered), doubled up to BACKOFF_CAP_MS. */
export const BACKOFF_BASE_MS = 500;
export const BACKOFF_CAP_MS = 4_000;
/** A jittered back-off is at least this long, so that two sides that refuse each other do not spin. */
export const BACKOFF_FLOOR_MS = 100;
/** A link that was up this long starts its back-off anew. */
export const SETTLED_MS = 30_000;
/** Offers of our own in progress at once: each is an agent with sockets and threads' time; the others queue, oldest first. */
export const OFFERS_AT_ONCE = 8;
/** Answers in progress at once. More than offers, or nodes that all offer would all wait for each other; over it: `busy`. */
export const ANSWERS_AT_ONCE = 32;
/** New offers taken from one peer: so many at once, then one every so often, or it could make us open and close agents without end. */
export const OFFERS_TAKEN_BURST = 8;
export const OFFERS_TAKEN_EVERY_MS = 2_000;
/** Candidates of one side of one attempt; the rest is dropped. A host with 8 addresses and 3 servers has 32. */
export const CANDIDATES = 32;
/** Peers remembered; one that left and has no link gives way, else the newcomer is refused. Native carries 128 links. */
export const PEERS = 256;
/** How long a refused signature is shown beside a link that is up. */
export const REFUSAL_SHOWN_MS = 600_000;
/** Back-off from a peer of another version: an update ends in a restart, which brings it into the room anew, and then it is tried at once. */
export const VERSION_BACKOFF_MS = 60_000;
/**
 * Moving a link to a new path, make before break. Both ends take frames on either link before one of them sends on the new one, so this is
 * for what is on its way: a queue of a slow line.
 */
export const FORMER_MS = 5_000;
/** A link that came up, or moved, is not moved again so soon: no more than one former link. Doubled up to the cap while it goes on. */
export const MOVE_REST_MS = 5_000;
export const MOVE_REST_CAP_MS = 600_000;
/** How long a path that moved or fell silent is a reason to leave it: a path that is gone is a lost link by then. */
export const MOVE_WISH_MS = 60_000;
/** After addresses of this node changed: they come and go in steps (old one off, new one on, route). */
export const READDRESS_MS = 500;
/** How long a new link may take from "up" to a direct pair if it is wanted for that: ICE checks a pair for the last time 4 s after the one before. */
export const DIRECT_WAIT_MS = 4_000;
/** How often that is looked at. */
export const DIRECT_LOOK_MS = 500;
/** How long a link stays on a relay until a direct path is looked for; doubled up to the cap. Each try is an allocation at the relay. */
export const RELAY_TRY_MS = 30_000;
export const RELAY_TRY_CAP_MS = 600_000;
/** So much later the larger id tries: the smaller one's try serves both. */
export const RELAY_TRY_TURN_MS = 10_000;
