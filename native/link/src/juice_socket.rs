// SPDX-License-Identifier: MIT
//! libjuice's sockets, as seen from outside: where its datagrams go, many of them with one system call, and who reads.
//!
//! build.rs has the linker lead `sendto`, `recvfrom` and `poll` here (`--wrap`): libjuice calls each at one place, all else that calls
//! them (Rust's own library, and ours) is let through. What is known of a socket:
//! - its *route*: the last place an agent sent media to, by a datagram that is SRTP and not wrapped for a relay (RFC 7983);
//! - who reads it: libjuice, or a thread of ours, which leaves to libjuice what is not its own (`Shared`).
//!
//! An agent's socket is forgotten before libjuice closes it, so a descriptor number that is used again is never taken for it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ipop_base::{Drop as IpopDrop, DropCounters, Error, Result};

use crate::udp::{self, Address};

/// Datagrams that may wait for libjuice on one socket: STUN and DTLS need a few, SRTP beyond it is lost as on the way.
const MAX_WAITING: usize = 1024;

unsafe extern "C" {
    fn __real_recvfrom(
        fd: c_int,
        buffer: *mut c_void,
        size: usize,
        flags: c_int,
        from: *mut libc::sockaddr,
        from_len: *mut libc::socklen_t,
    ) -> isize;
    fn __real_sendto(
        fd: c_int,
        data: *const c_void,
        size: usize,
        flags: c_int,
        to: *const libc::sockaddr,
        to_len: libc::socklen_t,
    ) -> isize;
    fn __real_poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int;
}

// For the linker alone: libipop.so exports nothing but ipop.h.
std::arch::global_asm!(".hidden __wrap_recvfrom", ".hidden __wrap_sendto", ".hidden __wrap_poll");

/// An agent of libjuice, by its address. Never looked behind.
pub type AgentId = usize;

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

/// Datagrams of one thread that wait to leave as one train.
struct Batch {
    fd: RawFd,
    to: Address,
    tos: u8,
    segment: usize,
    bytes: Vec<u8>,
    /// Of the link they belong to.
    drops: Arc<DropCounters>,
}

thread_local! {
    /// The agent that sends on this thread right now.
    static SENDING: Cell<AgentId> = const { Cell::new(0) };
    static ROUTE: Cell<Option<Route>> = const { Cell::new(None) };
    /// Drops of the link whose media is held back right now, and its DS field.
    static HOLDING: RefCell<Option<(Arc<DropCounters>, u8)>> = const { RefCell::new(None) };
    /// The socket had no room for what was sent on this thread.
    static FULL: Cell<bool> = const { Cell::new(false) };
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
}

/// Runs `send` for an agent, so that the socket it uses is known to be this agent's.
pub fn sending<T>(agent: AgentId, send: impl FnOnce() -> T) -> T {
    SENDING.set(agent);
    let result = send();
    SENDING.set(0);
    result
}

/// Runs `send`, which sends media, and says where it went. None: it was not sent.
pub fn route_of(send: impl FnOnce()) -> Option<Route> {
    ROUTE.set(None);
    send();
    ROUTE.take()
}

/// Runs `send`, whose media waits on this thread, to leave in trains: when a train is full, or by `flush`. What the kernel has no
/// room for then is counted in `drops`. `tos` is the DS field of the datagrams.
pub fn held_back<T>(drops: &Arc<DropCounters>, tos: u8, send: impl FnOnce() -> T) -> T {
    HOLDING.set(Some((drops.clone(), tos)));
    let result = send();
    HOLDING.set(None);
    result
}

/// Sends what waits on this thread. False: since the last time the socket had no room for all of it.
pub fn flush() -> bool {
    BATCH.with_borrow_mut(|batch| {
        if let Some(batch) = batch {
            batch.send();
        }
    });
    !FULL.take()
}

/// Adds a datagram to this thread's train; one that does not belong to it lets the train go first.
fn add_to_batch(fd: RawFd, to: Address, tos: u8, bytes: &[u8], drops: &Arc<DropCounters>) {
    BATCH.with_borrow_mut(|slot| {
        let batch = slot.get_or_insert_with(|| Batch {
            fd,
            to,
            tos,
            segment: bytes.len(),
            bytes: Vec::with_capacity(udp::MAX_TRAIN),
            drops: drops.clone(),
        });
        let full = batch.bytes.len() + bytes.len() > udp::MAX_TRAIN
            || batch.bytes.len() >= (udp::MAX_DATAGRAMS - 1) * batch.segment;
        if full || bytes.len() > batch.segment || batch.fd != fd || batch.to != to || batch.tos != tos {
            batch.send();
        }
        if batch.bytes.is_empty() {
            (batch.fd, batch.to, batch.tos, batch.segment) = (fd, to, tos, bytes.len());
            if !Arc::ptr_eq(&batch.drops, drops) {
                batch.drops = drops.clone();
            }
        }
        batch.bytes.extend_from_slice(bytes);
        // A train ends with its first shorter datagram.
        if bytes.len() < batch.segment {
            batch.send();
        }
    });
}

impl Batch {
    fn send(&mut self) {
        if self.bytes.is_empty() {
            return;
        }
        let refused = udp::send_datagrams(self.fd, &self.bytes, self.segment, &self.to, self.tos);
        if refused > 0 {
            self.drops.add(IpopDrop::LinkFull, refused);
            FULL.set(true);
        }
        self.bytes.clear();
    }
}

/// A socket that libjuice shares with us.
pub struct Shared {
    agent: AgentId,
    state: Mutex<SharedState>,
    /// Readable when there is something for libjuice.
    wake: OwnedFd,
}

#[derive(Default)]
struct SharedState {
    /// Read by a thread of ours; else libjuice reads, in trains.
    ours: bool,
    waiting: VecDeque<(Box<[u8]>, Address)>,
    dropped: u64,
}

/// Sockets by libjuice's descriptor. Few, and changed only when a link comes or goes.
static SHARED: RwLock<Option<HashMap<RawFd, Arc<Shared>>>> = RwLock::new(None);
/// How many there are: with none, every call goes straight through.
static SHARED_COUNT: AtomicUsize = AtomicUsize::new(0);

fn shared(fd: RawFd) -> Option<Arc<Shared>> {
    if SHARED_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    SHARED.read().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(&fd).cloned()
}

/// Our hold on a socket of libjuice: while it lives, we read.
pub struct Taken {
    shared: Arc<Shared>,
    /// Our own descriptor of the same socket: it stays when libjuice closes its own.
    socket: OwnedFd,
}

impl Taken {
    /// Takes over the reading of the route's socket. The kernel joins what it receives into trains from here on.
    /// EALREADY: somebody has taken it; ENOPROTOOPT: a kernel without UDP_GRO.
    pub fn take(route: &Route) -> Result<Self> {
        let shared = share(route)?;
        {
            let mut state = shared.lock();
            if state.ours {
                return Err(Error::new(libc::EALREADY, "the link's socket is taken already"));
            }
            state.ours = true;
        }
        // SAFETY: a descriptor that is gone is an error, not a fault.
        let fd = unsafe { libc::fcntl(route.fd, libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 {
            shared.lock().ours = false;
            return Err(Error::last_os("cannot duplicate the link's socket"));
        }
        // SAFETY: fd is a fresh descriptor that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { shared, socket })
    }

    /// Our descriptor.
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Leaves a datagram to libjuice; `wake` follows once a batch is done. False when too many wait.
    pub fn leave(&self, datagram: &[u8], from: &Address) -> bool {
        let mut state = self.shared.lock();
        if state.waiting.len() >= MAX_WAITING {
            state.dropped += 1;
            return false;
        }
        state.waiting.push_back((datagram.into(), *from));
        true
    }

    /// Tells libjuice that something was left.
    pub fn wake(&self) {
        self.shared.signal();
    }
}

impl Drop for Taken {
    /// libjuice reads again, and is woken to see it.
    fn drop(&mut self) {
        self.shared.lock().ours = false;
        self.shared.signal();
    }
}

/// Lets libjuice read this route's socket in trains, from now on. A kernel that cannot costs speed only.
pub fn read_in_trains(route: &Route) {
    let _ = share(route);
}

fn share(route: &Route) -> Result<Arc<Shared>> {
    let mut all = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    let all = all.get_or_insert_with(HashMap::new);
    if let Some(shared) = all.get(&route.fd) {
        return Ok(shared.clone());
    }
    // SAFETY: eventfd takes no pointers; the result is checked before it is owned.
    let wake = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if wake < 0 {
        return Err(Error::last_os("cannot make an eventfd"));
    }
    // SAFETY: wake is a fresh descriptor that nothing else owns.
    let wake = unsafe { OwnedFd::from_raw_fd(wake) };
    let shared = Arc::new(Shared { agent: route.agent, state: Mutex::default(), wake });
    // Known before the kernel joins anything: whoever reads then knows how.
    all.insert(route.fd, shared.clone());
    SHARED_COUNT.store(all.len(), Ordering::Release);
    if !udp::receive_trains(route.fd) {
        all.remove(&route.fd);
        SHARED_COUNT.store(all.len(), Ordering::Release);
        return Err(Error::new(libc::ENOPROTOOPT, "this kernel joins no datagrams (UDP_GRO)"));
    }
    udp::receive_tos(route.fd);
    udp::enlarge_buffers(route.fd);
    Ok(shared)
}

/// The agent is about to close its socket.
pub fn forget(agent: AgentId) {
    if SHARED_COUNT.load(Ordering::Acquire) == 0 {
        return;
    }
    let mut all = SHARED.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(all) = all.as_mut() {
        all.retain(|_, shared| shared.agent != agent);
        SHARED_COUNT.store(all.len(), Ordering::Release);
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes 8 bytes from a live array; EAGAIN (counter full) still leaves it readable.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: reads 8 bytes into a live array.
        unsafe { libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// The next datagram for libjuice. None: none waits.
    fn next(&self, fd: RawFd) -> Option<(Box<[u8]>, Address)> {
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.ours {
            state.read_train(fd);
        }
        state.waiting.pop_front()
    }
}

impl SharedState {
    /// libjuice's own reading, a train at a time.
    fn read_train(&mut self, fd: RawFd) {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; udp::TRAIN_BUFFER]));
        BUFFER.with_borrow_mut(|buffer| {
            if let Ok(train) = udp::receive_train(fd, buffer) {
                let datagrams = buffer[..train.len].chunks(train.segment);
                self.waiting.extend(datagrams.map(|datagram| (datagram.into(), train.from)));
            }
        });
    }
}

/// `recvfrom` as libjuice sees it.
///
/// # Safety
/// As for `recvfrom`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    size: usize,
    flags: c_int,
    from: *mut libc::sockaddr,
    from_len: *mut libc::socklen_t,
) -> isize {
    let Some(shared) = shared(fd) else {
        // SAFETY: the caller's own arguments.
        return unsafe { __real_recvfrom(fd, buffer, size, flags, from, from_len) };
    };
    let Some((datagram, sender)) = shared.next(fd) else {
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = libc::EAGAIN };
        return -1;
    };
    let length = datagram.len().min(size);
    // SAFETY: the caller vouches for `size` writable bytes, and for an address of `*from_len` bytes when there is one.
    unsafe {
        ptr::copy_nonoverlapping(datagram.as_ptr(), buffer.cast(), length);
        if !from.is_null() && !from_len.is_null() {
            let raw = sender.raw();
            ptr::copy_nonoverlapping(raw.as_ptr(), from.cast(), raw.len().min(*from_len as usize));
            *from_len = raw.len() as libc::socklen_t;
        }
    }
    length as isize
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
    let agent = SENDING.get();
    if agent != 0 && size > 0 && !data.is_null() && !to.is_null() {
        // SAFETY: the caller vouches for `size` readable bytes and the address.
        let (bytes, to) =
            unsafe { (std::slice::from_raw_parts(data.cast::<u8>(), size), Address::from_raw(to, to_len)) };
        // Media as it is, in a channel of a relay (RFC 8656, section 12), or in a Send indication while there is no channel yet.
        let is_direct = (128..=191).contains(&bytes[0]);
        ROUTE.set(Some(Route { agent, fd, to, is_direct }));
        let holds = HOLDING.with_borrow(Option::clone);
        if let Some((drops, tos)) = holds.filter(|_| is_direct || (64..=79).contains(&bytes[0])) {
            add_to_batch(fd, to, tos, bytes, &drops);
            return size as isize;
        }
    }
    // SAFETY: the caller's own arguments.
    unsafe { __real_sendto(fd, data, size, flags, to, to_len) }
}

/// `poll` as libjuice sees it: a socket that we read is readable when something was left for libjuice.
///
/// # Safety
/// As for `poll`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    if SHARED_COUNT.load(Ordering::Acquire) == 0 || fds.is_null() || count < 2 {
        // libjuice polls its pipe and at least one socket; a single descriptor is somebody else's.
        // SAFETY: the caller's own arguments.
        return unsafe { __real_poll(fds, count, timeout) };
    }
    // SAFETY: the caller vouches for `count` entries, and nobody else uses them during the call.
    let entries = unsafe { std::slice::from_raw_parts_mut(fds, count as usize) };
    let mut swapped: Vec<(usize, RawFd, Arc<Shared>)> = Vec::new();
    let mut timeout = timeout;
    for (index, entry) in entries.iter_mut().enumerate() {
        let Some(shared) = shared(entry.fd) else { continue };
        let state = shared.lock();
        if !state.waiting.is_empty() {
            timeout = 0;
        }
        let ours = state.ours;
        drop(state);
        swapped.push((index, entry.fd, shared));
        if ours {
            entry.fd = swapped.last().map_or(-1, |(_, _, shared)| shared.wake.as_raw_fd());
        }
    }
    // SAFETY: the entries live; eventfds among them are held by `swapped`.
    let mut ready = unsafe { __real_poll(entries.as_mut_ptr(), count, timeout) };
    let errno = std::io::Error::last_os_error();
    for (index, fd, shared) in swapped {
        let entry = &mut entries[index];
        if entry.fd != fd && entry.revents & libc::POLLIN != 0 {
            // Before the queue is read: what is left afterwards signals anew.
            shared.clear();
        }
        entry.fd = fd;
        if ready >= 0 && entry.revents == 0 && !shared.lock().waiting.is_empty() {
            entry.revents = libc::POLLIN;
            ready += 1;
        }
    }
    if ready < 0 {
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = errno.raw_os_error().unwrap_or(libc::EINTR) };
    }
    ready
}
