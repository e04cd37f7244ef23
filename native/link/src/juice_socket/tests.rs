// SPDX-License-Identifier: MIT
//! An agent here is a number and a socket: what libjuice does with both is done by hand, through the wrapped calls.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;
use crate::udp;

/// An agent that lives until it is dropped.
struct Agent(usize);

impl Agent {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        // Odd: no agent of libjuice, which other tests make meanwhile, has such an address.
        let agent = Self(2 * NEXT.fetch_add(1, Ordering::Relaxed) + 1);
        remember(agent.0);
        agent
    }

    fn route(&self, socket: &UdpSocket, to: &UdpSocket) -> Route {
        let to = address(to);
        let agent = sockets().agents[&self.0];
        Route { agent, fd: socket.as_raw_fd(), to, is_direct: true }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        forget(self.0);
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn address(of: &UdpSocket) -> Address {
    let raw = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: of.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    // SAFETY: a live address of its own size.
    unsafe { Address::from_raw((&raw const raw).cast(), size_of_val(&raw) as libc::socklen_t) }
}

/// As libjuice receives.
fn receive(fd: RawFd) -> Option<Vec<u8>> {
    let mut buffer = [0u8; 2048];
    // SAFETY: sockaddr_storage is plain data.
    let mut from: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&from) as libc::socklen_t;
    let from = (&raw mut from).cast();
    // SAFETY: all buffers live and have the sizes that are told.
    let got = unsafe { libc::recvfrom(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0, from, &raw mut size) };
    usize::try_from(got).ok().map(|length| buffer[..length].to_vec())
}

/// As libjuice polls: something else first, then its sockets. True: readable.
fn poll(fd: RawFd, timeout: Duration) -> bool {
    let entry = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(-1), entry(fd)];
    // SAFETY: two live entries.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), 2, timeout.as_millis() as c_int) };
    assert_eq!(ready, c_int::from(entries[1].revents != 0));
    entries[1].revents & libc::POLLIN != 0
}

/// Polls until it is readable; false when it was not in time.
fn becomes_readable(fd: RawFd, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if poll(fd, left) || left.is_zero() {
            return !left.is_zero();
        }
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn what_is_left_to_libjuice_wakes_it_although_it_slept_on_the_socket_when_that_was_taken() {
    let (agent, ours, peer) = (Agent::new(), socket(), socket());
    let (fd, route) = (ours.as_raw_fd(), agent.route(&ours, &peer));
    let (polls, polling) = std::sync::mpsc::channel();
    let libjuice = std::thread::spawn(move || {
        assert_eq!(receive(fd), None);
        polls.send(()).unwrap();
        let start = Instant::now();
        assert!(becomes_readable(fd, LONG));
        (start.elapsed(), receive(fd))
    });
    polling.recv().unwrap();
    // It sleeps: nothing tells so but time.
    std::thread::sleep(Duration::from_millis(50));
    let taken = Taken::take(&route).unwrap();
    peer.send_to(b"\x16for libjuice", ours.local_addr().unwrap()).unwrap();
    let mut buffer = vec![0; udp::TRAIN_BUFFER];
    // Taken away at once, as the worker does: a sleeper on the socket itself finds nothing there.
    let train = loop {
        if let Ok(train) = udp::receive_train(taken.fd(), &mut buffer) {
            break train;
        }
    };
    std::thread::sleep(Duration::from_millis(50));
    assert!(taken.leave(&buffer[..train.len], &train.from));
    taken.wake();
    let (waited, got) = libjuice.join().unwrap();
    assert_eq!(got.as_deref(), Some(&b"\x16for libjuice"[..]));
    assert!(waited < LONG / 4, "{waited:?}");
}

#[test]
fn libjuice_reads_the_socket_itself_before_and_after_it_is_ours() {
    let (agent, ours, peer) = (Agent::new(), socket(), socket());
    let (fd, route) = (ours.as_raw_fd(), agent.route(&ours, &peer));
    let send = |text: &[u8]| assert_eq!(peer.send_to(text, ours.local_addr().unwrap()).unwrap(), text.len());
    read_in_trains(&route);
    send(b"");
    send(b"one");
    assert!(becomes_readable(fd, LONG));
    // An empty datagram is nothing, and what follows it is not lost.
    assert_eq!(receive(fd).or_else(|| receive(fd)).as_deref(), Some(&b"one"[..]));
    let taken = Taken::take(&route).unwrap();
    assert_eq!(Taken::take(&route).err().map(|error| error.errno), Some(libc::EALREADY));
    send(b"two");
    assert!(!poll(fd, Duration::from_millis(20)) && receive(fd).is_none(), "it is ours");
    drop(taken);
    assert!(becomes_readable(fd, LONG));
    assert_eq!(receive(fd).as_deref(), Some(&b"two"[..]));
}

#[test]
fn more_than_1024_datagrams_do_not_wait_for_libjuice() {
    let (agent, ours, peer) = (Agent::new(), socket(), socket());
    let taken = Taken::take(&agent.route(&ours, &peer)).unwrap();
    let left = (0..2000).filter(|_| taken.leave(b"\x16", &address(&peer))).count();
    assert_eq!(left, 1024);
}

#[test]
fn a_descriptor_that_is_used_again_is_not_taken_for_the_socket_it_was() {
    let (agent, ours, peer) = (Agent::new(), socket(), socket());
    let route = agent.route(&ours, &peer);
    let mut batch = Batch::default();
    let sent = |batch: &mut Batch, agent: &Agent, bytes: &[u8]| {
        held_back(batch, 0, || sending(agent.0, || media(agent.0, route.fd, bytes, route.to)))
    };
    assert!(sent(&mut batch, &agent, &[0x80; 100]));
    read_in_trains(&route);
    // The agent ends, and its descriptor becomes another socket's.
    let Agent(place) = agent;
    drop(agent);
    let fd = ours.into_raw_fd();
    let other = socket();
    // SAFETY: both are live; `fd` is ours, and owned by nobody since `into_raw_fd`.
    assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), fd) }, fd);
    assert!(shared::shared(fd).is_none(), "the descriptor is known no more");
    assert_eq!(Taken::take(&route).err().map(|error| error.errno), Some(libc::ENOTCONN));
    read_in_trains(&route);
    assert!(shared::shared(fd).is_none());
    batch.send();
    assert_eq!(batch.take_refused(), 1, "what waits for the old one goes nowhere");
    // Nor does an agent at the same address inherit what was known.
    remember(place);
    assert_eq!(Taken::take(&route).err().map(|error| error.errno), Some(libc::ENOTCONN));
    forget(place);
    assert_eq!(receive(peer.as_raw_fd()), None);
    // SAFETY: owned by nobody else.
    unsafe { libc::close(fd) };
}

#[test]
fn equal_datagrams_wait_and_leave_as_they_came_and_in_order() {
    let (agent, ours, peer) = (Agent::new(), socket(), socket());
    let route = agent.route(&ours, &peer);
    let mut batch = Batch::default();
    let datagrams: Vec<Vec<u8>> = [600, 600, 600, 200, 900, 900, 1200, 50]
        .iter()
        .enumerate()
        .map(|(n, &len)| vec![0x80 + n as u8; len])
        .collect();
    for datagram in &datagrams {
        assert!(held_back(&mut batch, 0, || sending(agent.0, || media(agent.0, route.fd, datagram, route.to))));
    }
    batch.send();
    let got: Vec<_> = std::iter::from_fn(|| receive(peer.as_raw_fd())).collect();
    assert_eq!(got, datagrams);
    // What is no media does not wait.
    assert!(!held_back(&mut batch, 0, || sending(agent.0, || media(agent.0, route.fd, b"\x16dtls", route.to))));
}
