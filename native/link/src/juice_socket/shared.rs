// SPDX-License-Identifier: MIT
//! Sockets of libjuice that it shares with us: read in trains, by libjuice or by a thread of ours.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ipop_base::{Error, EventFd, Result};

use super::{AgentId, Route, SHARED_COUNT, Sockets, sockets, sockets_mut};
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
    fn __real_poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int;
}

/// One of each thread that polls as libjuice does: readable when it shall look anew at who reads its sockets, as it may sleep on one that is
/// not its own any more.
static LOOK_ANEW: Mutex<Vec<Weak<EventFd>>> = Mutex::new(Vec::new());

thread_local! {
    /// This thread has received datagrams: libjuice's own, perhaps.
    static RECEIVES: Cell<bool> = const { Cell::new(false) };
    /// Its own of `LOOK_ANEW`.
    static LOOKS: Option<Arc<EventFd>> = EventFd::new().ok().map(|fd| {
        let fd = Arc::new(fd);
        look_anew_of().push(Arc::downgrade(&fd));
        fd
    });
    static POLLED: RefCell<Vec<libc::pollfd>> = const { RefCell::new(Vec::new()) };
}

/// A socket that libjuice shares with us.
pub struct Shared {
    agent: AgentId,
    state: Mutex<State>,
    /// Readable when there is something for libjuice.
    wake: EventFd,
}

#[derive(Default)]
struct State {
    /// Read by a thread of ours; else libjuice reads, in trains.
    ours: bool,
    waiting: VecDeque<(Box<[u8]>, Address)>,
}

/// Our hold on a socket of libjuice: while it lives, we read.
pub struct Taken {
    shared: Arc<Shared>,
    /// Our own descriptor of the same socket: it stays when libjuice closes its own.
    socket: OwnedFd,
}

impl Taken {
    /// Takes over the reading of the route's socket. The kernel joins what it receives into trains from here on, if it can.
    /// ENOTCONN: the agent is gone; EALREADY: somebody has taken it.
    pub fn take(route: &Route) -> Result<Self> {
        let mut sockets = sockets_mut();
        let shared = share(&mut sockets, route)?;
        // SAFETY: takes no pointers. The agent lives, and libjuice cannot close its socket while we hold `sockets`.
        let fd = unsafe { libc::fcntl(route.fd, libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Error::last_os("cannot duplicate the link's socket"));
        }
        // SAFETY: fd is a fresh descriptor that nothing else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        if std::mem::replace(&mut shared.lock().ours, true) {
            return Err(Error::new(libc::EALREADY, "the link's socket is taken already"));
        }
        drop(sockets);
        udp::receive_trains(socket.as_raw_fd());
        udp::receive_tos(socket.as_raw_fd());
        udp::enlarge_buffers(socket.as_raw_fd());
        look_anew_of().retain(|fd| fd.upgrade().inspect(|fd| fd.signal()).is_some());
        Ok(Self { shared, socket })
    }

    /// Our descriptor.
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Leaves a datagram to libjuice; `wake` follows once a batch is done. False when too many wait.
    pub fn leave(&self, datagram: &[u8], from: &Address) -> bool {
        let mut state = self.shared.lock();
        let has_room = state.waiting.len() < MAX_WAITING;
        if has_room {
            state.waiting.push_back((datagram.into(), *from));
        }
        has_room
    }

    /// Tells libjuice that something was left.
    pub fn wake(&self) {
        self.shared.wake.signal();
    }
}

impl Drop for Taken {
    /// libjuice reads again, and is woken to see it.
    fn drop(&mut self) {
        self.shared.lock().ours = false;
        self.wake();
    }
}

/// Lets libjuice read this route's socket in trains, from now on. A kernel that has none costs speed only.
pub fn read_in_trains(route: &Route) {
    let mut sockets = sockets_mut();
    // Known before the kernel joins anything: whoever reads then knows how.
    if share(&mut sockets, route).is_err() {
        return;
    }
    if udp::receive_trains(route.fd) {
        udp::enlarge_buffers(route.fd);
    } else {
        sockets.shared.remove(&route.fd);
        sockets.set_count();
    }
}

fn share(sockets: &mut Sockets, route: &Route) -> Result<Arc<Shared>> {
    if !sockets.lives(route.agent) {
        return Err(Error::new(libc::ENOTCONN, "the link's agent is gone"));
    }
    if let Some(shared) = sockets.shared.get(&route.fd) {
        return Ok(shared.clone());
    }
    let shared = Arc::new(Shared { agent: route.agent, state: Mutex::default(), wake: EventFd::new()? });
    sockets.shared.insert(route.fd, shared.clone());
    sockets.set_count();
    Ok(shared)
}

impl Shared {
    /// Whose socket it is.
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl State {
    /// libjuice's own reading, a train at a time.
    fn read_train(&mut self, fd: RawFd) {
        thread_local!(static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; udp::TRAIN_BUFFER]));
        BUFFER.with_borrow_mut(|buffer| {
            if let Ok(train) = udp::receive_train(fd, buffer) {
                let datagrams = train.datagrams(buffer);
                self.waiting.extend(datagrams.map(|datagram| (Box::from(&*datagram), train.from)));
            }
        });
    }
}

pub(super) fn shared(fd: RawFd) -> Option<Arc<Shared>> {
    if SHARED_COUNT.load(Ordering::Acquire) == 0 {
        return None;
    }
    sockets().shared.get(&fd).cloned()
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
    if !from.is_null() {
        RECEIVES.set(true);
    }
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

/// `poll` as libjuice sees it: a socket that we read is readable when something was left for libjuice. It may return early with nothing to
/// tell.
///
/// # Safety
/// As for `poll`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_poll(fds: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    // libjuice polls its pipe and at least one socket; a single descriptor is somebody else's.
    if !RECEIVES.get() || fds.is_null() || count < 2 {
        // SAFETY: the caller's own arguments.
        return unsafe { __real_poll(fds, count, timeout) };
    }
    // SAFETY: the caller vouches for `count` entries, and nobody else uses them during the call.
    let entries = unsafe { std::slice::from_raw_parts_mut(fds, count as usize) };
    POLLED.with_borrow_mut(|polled| poll(entries, polled, timeout))
}

/// `polled`: room for the entries as they are polled, and one more.
fn poll(entries: &mut [libc::pollfd], polled: &mut Vec<libc::pollfd>, mut timeout: c_int) -> c_int {
    polled.clear();
    polled.extend_from_slice(entries);
    let look_anew = LOOKS.with(Option::clone);
    let fd = look_anew.as_ref().map_or(-1, |look_anew| look_anew.as_raw_fd());
    polled.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let mut known: Vec<(usize, Arc<Shared>)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(shared) = shared(entry.fd) else { continue };
        let state = shared.lock();
        if !state.waiting.is_empty() {
            timeout = 0;
        }
        if state.ours {
            polled[index].fd = shared.wake.as_raw_fd();
        }
        drop(state);
        known.push((index, shared));
    }
    // SAFETY: the entries live during the call; eventfds among them are held by `known` and `look_anew`.
    let ready = unsafe { __real_poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout) };
    if ready < 0 {
        return ready;
    }
    if let Some(look_anew) = look_anew.filter(|_| polled[entries.len()].revents != 0) {
        look_anew.clear();
    }
    entries.iter_mut().zip(&*polled).for_each(|(entry, polled)| entry.revents = polled.revents);
    for (index, shared) in known {
        let entry = &mut entries[index];
        if polled[index].fd != entry.fd && entry.revents & libc::POLLIN != 0 {
            // Before the queue is read: what is left afterwards signals anew.
            shared.wake.clear();
        }
        if entry.revents == 0 && !shared.lock().waiting.is_empty() {
            entry.revents = libc::POLLIN;
        }
    }
    entries.iter().filter(|entry| entry.revents != 0).count() as c_int
}

fn look_anew_of() -> MutexGuard<'static, Vec<Weak<EventFd>>> {
    LOOK_ANEW.lock().unwrap_or_else(PoisonError::into_inner)
}
