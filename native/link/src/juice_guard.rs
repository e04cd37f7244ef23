// SPDX-License-Identifier: MIT
//! Keeps a relayed link from stopping all links. libjuice's thread holds the lock of all agents while libdatachannel's receive
//! callback waits for room in a queue, which libdatachannel's own threads empty. On a relayed path sending takes that same lock. So
//! one of those that sends (an SCTP acknowledgement), or waits for OpenSSL's or SCTP's lock while another sends, waits for ever.
//!
//! So only threads that hold nothing libdatachannel's threads want may wait for that lock: those that send media (see `Link`), and
//! the one here. All that is no media, DTLS and SCTP within it, is left to it in order, and so is what else has to wait.
//!
//! build.rs has the linker lead libdatachannel's calls here (`--wrap`). The thread lives as long as there are agents.

use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use ipop_base::lock;

use crate::{juice_socket, threads};

/// Datagrams that may wait, of all agents. What comes then is lost as on the way: DTLS and SCTP repeat it.
const MAX_WAITING: usize = 512;
/// A handshake datagram is at most 1200 bytes, as is what SCTP makes; `MTU` in agent.rs. What is larger is lost likewise.
const MAX_BYTES: usize = 4096;
/// libdatachannel marks media and data (RFC 8837) as if they were a call. A LAN's frames are not, and the mark would stay on the socket.
const NO_MARK: c_int = 0;

unsafe extern "C" {
    /// libjuice: a new agent, or null.
    fn __real_juice_create(config: *const c_void) -> *mut c_void;
    fn __real_juice_destroy(agent: *mut c_void);
    /// 0, or a negative error. `ds` is the DS field, RFC 2474.
    fn __real_juice_send_diffserv(agent: *mut c_void, data: *const c_void, size: usize, ds: c_int) -> c_int;
}

// For the linker alone: libipop.so exports nothing but ipop.h.
std::arch::global_asm!(
    ".hidden __wrap_juice_create",
    ".hidden __wrap_juice_destroy",
    ".hidden __wrap_juice_send_diffserv"
);

/// libjuice's agent: an address that this module hands on and never looks behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agent(*mut c_void);

// SAFETY: libjuice's functions may be called from any thread.
unsafe impl Send for Agent {}

struct Datagram {
    agent: Agent,
    bytes: Vec<u8>,
}

type Call = Box<dyn FnOnce() + Send>;

/// What waits for the thread.
struct Line {
    /// The number of the thread that works here; 0 for none. A thread of another number ends.
    thread: u64,
    /// One for each link that opens, which bounds them.
    calls: VecDeque<Call>,
    datagrams: VecDeque<Datagram>,
    /// Whose datagram is on its way.
    sending: Option<Agent>,
}

/// The agents that live, and the thread, while there are any.
struct Agents {
    count: usize,
    /// Threads so far.
    started: u64,
    thread: Option<JoinHandle<()>>,
}

static LINE: Mutex<Line> =
    Mutex::new(Line { thread: 0, calls: VecDeque::new(), datagrams: VecDeque::new(), sending: None });
static CHANGED: Condvar = Condvar::new();
/// Taken before `LINE`.
static AGENTS: Mutex<Agents> = Mutex::new(Agents { count: 0, started: 0, thread: None });

/// Leaves what may wait for libjuice to a thread that may, soon. Nothing happens when no agent is left.
pub fn later(call: impl FnOnce() + Send + 'static) {
    let mut line = lock(&LINE);
    if line.thread != 0 {
        line.calls.push_back(Box::new(call));
        CHANGED.notify_all();
    }
}

/// `juice_create` as libdatachannel sees it: null also when there is no thread to be had.
///
/// # Safety
/// As for `juice_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_juice_create(config: *const c_void) -> *mut c_void {
    // SAFETY: the caller's own argument.
    let agent = unsafe { __real_juice_create(config) };
    if !agent.is_null() && !begin() {
        // SAFETY: made above, and nobody has seen it.
        unsafe { __real_juice_destroy(agent) };
        return std::ptr::null_mut();
    }
    if !agent.is_null() {
        juice_socket::remember(agent.addr());
    }
    agent
}

/// `juice_destroy` as libdatachannel sees it: nothing of this agent waits any more, and nothing is on its way.
///
/// # Safety
/// As for `juice_destroy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_juice_destroy(agent: *mut c_void) {
    if !agent.is_null() {
        forget(Agent(agent));
        juice_socket::forget(agent.addr());
        end();
    }
    // SAFETY: the caller's own argument, which the thread no longer uses.
    unsafe { __real_juice_destroy(agent) }
}

/// `juice_send_diffserv` as libdatachannel sees it: what is left to the thread counts as sent.
///
/// # Safety
/// As for `juice_send_diffserv`: `data` has `size` readable bytes, `agent` is live.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_juice_send_diffserv(
    agent: *mut c_void,
    data: *const c_void,
    size: usize,
    _ds: c_int,
) -> c_int {
    if size == 0 || data.is_null() || agent.is_null() {
        return 0;
    }
    // SAFETY: the caller vouches for `size` readable bytes, and nothing writes to them during the call.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) };
    if is_media(bytes[0]) {
        // SAFETY: the caller's own arguments.
        return juice_socket::sending(agent.addr(), || unsafe {
            __real_juice_send_diffserv(agent, data, size, NO_MARK)
        });
    }
    let mut line = lock(&LINE);
    if line.datagrams.len() < MAX_WAITING && size <= MAX_BYTES {
        line.datagrams.push_back(Datagram { agent: Agent(agent), bytes: bytes.to_vec() });
        CHANGED.notify_all();
    }
    0
}

/// SRTP and SRTCP by their first byte (RFC 7983, 7).
fn is_media(first: u8) -> bool {
    (128..=191).contains(&first)
}

/// Counts an agent; the first brings the thread. False: it could not be started.
fn begin() -> bool {
    let mut agents = lock(&AGENTS);
    if agents.count == 0 {
        agents.started += 1;
        let number = agents.started;
        lock(&LINE).thread = number;
        let Ok(thread) = threads::spawn("link-sender", move || run(number)) else {
            lock(&LINE).thread = 0;
            return false;
        };
        agents.thread = Some(thread);
    }
    agents.count += 1;
    true
}

/// Takes back what waits for this agent, and waits for what is on its way.
fn forget(agent: Agent) {
    let mut line = lock(&LINE);
    line.datagrams.retain(|datagram| datagram.agent != agent);
    while line.sending == Some(agent) {
        line = CHANGED.wait(line).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Counts an agent out; with the last the thread ends.
fn end() {
    let mut agents = lock(&AGENTS);
    agents.count -= 1;
    if agents.count > 0 {
        return;
    }
    let Some(thread) = agents.thread.take() else { return };
    let calls = {
        let mut line = lock(&LINE);
        line.thread = 0;
        std::mem::take(&mut line.calls)
    };
    CHANGED.notify_all();
    drop(calls);
    // A call may hold an agent last, and so this may be the thread itself, which then ends right after the call.
    if thread.thread().id() != std::thread::current().id() {
        // A panic was already written to stderr by the panic hook.
        let _ = thread.join();
    }
}

/// Works off what waits, until there are no agents.
fn run(number: u64) {
    let mut line = lock(&LINE);
    while line.thread == number {
        if let Some(call) = line.calls.pop_front() {
            drop(line);
            call();
            line = lock(&LINE);
        } else if let Some(Datagram { agent, bytes }) = line.datagrams.pop_front() {
            line.sending = Some(agent);
            drop(line);
            // SAFETY: the agent lives, as `__wrap_juice_destroy` waits for `sending`; the bytes are ours. A datagram that libjuice
            // cannot send is lost as on the way.
            unsafe { __real_juice_send_diffserv(agent.0, bytes.as_ptr().cast(), bytes.len(), NO_MARK) };
            line = lock(&LINE);
            line.sending = None;
            CHANGED.notify_all();
        } else {
            line = CHANGED.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
