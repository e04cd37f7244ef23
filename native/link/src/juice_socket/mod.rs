// SPDX-License-Identifier: MIT
//! libjuice's sockets, as seen from outside: where its datagrams go, many of them with one system call, and who reads.
//!
//! build.rs has the linker lead `sendto`, `recvfrom` and `poll` here (`--wrap`): libjuice calls each at one place, all else that calls
//! them (Rust's own library, and ours) is let through. What is known of a socket:
//! - its *route*: the last place an agent sent media to, by a datagram that is SRTP and not wrapped for a relay (RFC 7983);
//! - who reads it: libjuice, or a thread of ours, which leaves to libjuice what is not its own (`shared`).
//!
//! A descriptor number that is used again is never taken for the socket it was: all use of libjuice's own descriptors happens with `SOCKETS`
//! held and for an agent that lives, and an agent is forgotten there before libjuice closes its socket.

mod batch;
mod shared;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::udp::Address;

pub use batch::Batch;
use shared::Shared;
pub use shared::{Taken, read_in_trains};

unsafe extern "C" {
    fn __real_sendto(
        fd: c_int,
        data: *const c_void,
        size: usize,
        flags: c_int,
        to: *const libc::sockaddr,
        to_len: libc::socklen_t,
    ) -> isize;
}

// For the linker alone: libipop.so exports nothing but ipop.h.
std::arch::global_asm!(".hidden __wrap_recvfrom", ".hidden __wrap_sendto", ".hidden __wrap_poll");

/// An agent of libjuice. Never used again, as its address may be.
pub type AgentId = u64;

/// Where an agent's media goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub agent: AgentId,
    /// The agent's socket: libjuice's own descriptor.
    pub fd: RawFd,
    pub to: Address,
    /// To the peer itself; else to a relay.
    pub is_direct: bool,
}

/// Agents that live, and what is known of their sockets. Few, and changed only when a link comes or goes.
struct Sockets {
    last: AgentId,
    /// By their address.
    agents: BTreeMap<usize, AgentId>,
    /// By libjuice's descriptor.
    shared: BTreeMap<RawFd, Arc<Shared>>,
}

static SOCKETS: RwLock<Sockets> = RwLock::new(Sockets { last: 0, agents: BTreeMap::new(), shared: BTreeMap::new() });
/// How many are shared: with none, every call goes straight through.
static SHARED_COUNT: AtomicUsize = AtomicUsize::new(0);

fn sockets() -> RwLockReadGuard<'static, Sockets> {
    SOCKETS.read().unwrap_or_else(PoisonError::into_inner)
}

fn sockets_mut() -> RwLockWriteGuard<'static, Sockets> {
    SOCKETS.write().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    fn lives(&self, agent: AgentId) -> bool {
        self.agents.values().any(|&living| living == agent)
    }

    fn set_count(&self) {
        SHARED_COUNT.store(self.shared.len(), Ordering::Release);
    }
}

/// libjuice made an agent at this address.
pub fn remember(address: usize) {
    let mut sockets = sockets_mut();
    sockets.last += 1;
    let id = sockets.last;
    sockets.agents.insert(address, id);
}

/// The agent is about to close its socket.
pub fn forget(address: usize) {
    let mut sockets = sockets_mut();
    if let Some(agent) = sockets.agents.remove(&address) {
        sockets.shared.retain(|_, shared| shared.agent() != agent);
        sockets.set_count();
    }
}

thread_local! {
    /// The address of the agent that sends on this thread right now.
    static SENDING: Cell<usize> = const { Cell::new(0) };
    static ASKED: Cell<bool> = const { Cell::new(false) };
    static ROUTE: Cell<Option<Route>> = const { Cell::new(None) };
    /// Where the media that is sent on this thread right now waits.
    static HOLDING: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// Runs `send` for an agent, so that the socket it uses is known to be this agent's.
pub fn sending<T>(address: usize, send: impl FnOnce() -> T) -> T {
    SENDING.set(address);
    let result = send();
    SENDING.set(0);
    result
}

/// Runs `send`, which sends media, and says where it went. None: it was not sent.
pub fn route_of(send: impl FnOnce()) -> Option<Route> {
    ROUTE.set(None);
    ASKED.set(true);
    send();
    ASKED.set(false);
    ROUTE.take()
}

/// Runs `send`, whose media waits in `batch`, to leave in trains: when a train is full, or by `Batch::send`. `tos` is their DS field.
pub fn held_back<T>(batch: &mut Batch, tos: u8, send: impl FnOnce() -> T) -> T {
    batch.mark(tos);
    HOLDING.set(Some(std::mem::take(batch)));
    let result = send();
    *batch = HOLDING.take().unwrap_or_default();
    result
}

/// `sendto` as libjuice sees it.
///
/// # Safety
/// As for `sendto`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_sendto(
    fd: c_int,
    data: *const c_void,
    size: usize,
    flags: c_int,
    to: *const libc::sockaddr,
    to_len: libc::socklen_t,
) -> isize {
    let address = SENDING.get();
    if address != 0 && size > 0 && !data.is_null() && !to.is_null() {
        // SAFETY: the caller vouches for `size` readable bytes and the address.
        let (bytes, to) =
            unsafe { (std::slice::from_raw_parts(data.cast::<u8>(), size), Address::from_raw(to, to_len)) };
        if media(address, fd, bytes, to) {
            return size as isize;
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { __real_sendto(fd, data, size, flags, to, to_len) }
}

/// Takes note of where media goes. True: it waits in a batch.
fn media(address: usize, fd: RawFd, bytes: &[u8], to: Address) -> bool {
    let agent = || sockets().agents.get(&address).copied();
    // Media as it is; else in a channel of a relay (RFC 8656, section 12), or in a Send indication while there is no channel yet.
    let is_direct = (128..=191).contains(&bytes[0]);
    if ASKED.get() {
        ROUTE.set(agent().map(|agent| Route { agent, fd, to, is_direct }));
    }
    if !is_direct && !(64..=79).contains(&bytes[0]) {
        return false;
    }
    HOLDING.with_borrow_mut(|batch| match batch {
        Some(batch) => batch.add(agent, fd, to, bytes),
        None => false,
    })
}

#[cfg(test)]
mod tests;
