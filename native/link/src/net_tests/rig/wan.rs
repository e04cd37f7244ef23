// SPDX-License-Identifier: MIT
//! A bad path between two ends: what is media is lost, doubled and overtaken; what sets a link up is not.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::make::mix;
use crate::udp::{self, Address};

/// Datagrams that are overtaken by up to so many.
const LATE: u64 = 300;

/// One face of it: what one end takes for its peer.
struct Face {
    socket: UdpSocket,
    /// Where that end is, once it has sent something.
    end: Mutex<Option<Address>>,
}

/// What both ways share.
#[derive(Default)]
pub struct Shared {
    stop: AtomicBool,
    /// No express passes.
    pub blocks_express: AtomicBool,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    pub late: AtomicU64,
}

/// The path.
pub struct Wan {
    pub shared: Arc<Shared>,
    addresses: [SocketAddr; 2],
    threads: Vec<JoinHandle<()>>,
}

impl Wan {
    pub fn start(address: &str) -> Self {
        let faces: Arc<[Face; 2]> = Arc::new([0, 1].map(|_| {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            udp::receive_trains(socket.as_raw_fd());
            udp::enlarge_buffers(socket.as_raw_fd());
            Face { socket, end: Mutex::default() }
        }));
        let addresses = [0, 1].map(|n: usize| faces[n].socket.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let threads = [0, 1].map(|from: usize| {
            let (faces, shared) = (faces.clone(), shared.clone());
            std::thread::spawn(move || Way::new(from, &faces, &shared).run())
        });
        Self { shared, addresses, threads: threads.into() }
    }

    /// What the end `n` takes for its peer.
    pub fn face(&self, n: usize) -> SocketAddr {
        self.addresses[n]
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// One direction.
struct Way<'a> {
    from: usize,
    faces: &'a [Face; 2],
    shared: &'a Shared,
    count: u64,
    /// Datagrams that others overtake, and until which.
    late: VecDeque<(u64, Vec<u8>)>,
    train: Vec<u8>,
    segment: usize,
}

impl<'a> Way<'a> {
    fn new(from: usize, faces: &'a [Face; 2], shared: &'a Shared) -> Self {
        Self { from, faces, shared, count: 0, late: VecDeque::new(), train: Vec::new(), segment: 0 }
    }

    fn run(mut self) {
        let fd = self.faces[self.from].socket.as_raw_fd();
        let mut buffer = vec![0; udp::TRAIN_BUFFER];
        while !self.shared.stop.load(Ordering::Relaxed) {
            let mut ready = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one live entry.
            unsafe { libc::poll(&raw mut ready, 1, 20) };
            // So many, then those that others overtake have their chance.
            for _ in 0..8 {
                let Ok(train) = udp::receive_train(fd, &mut buffer) else { break };
                self.faces[self.from].end.lock().unwrap().replace(train.from);
                train.datagrams(&mut buffer).for_each(|datagram| self.datagram(datagram));
            }
            self.flush();
        }
    }

    fn datagram(&mut self, datagram: &[u8]) {
        self.count += 1;
        while self.late.front().is_some_and(|(until, _)| *until <= self.count) {
            let (_, late) = self.late.pop_front().unwrap();
            self.send(&late);
        }
        if datagram[0] < 128 {
            return self.send(datagram);
        }
        let dice = mix(self.count * 2 + self.from as u64);
        let blocked = datagram[0] >= 0xc0 && self.shared.blocks_express.load(Ordering::Relaxed);
        match dice % 1000 {
            _ if blocked => {}
            0..10 => drop(self.shared.lost.fetch_add(1, Ordering::Relaxed)),
            10..20 => {
                self.shared.doubled.fetch_add(1, Ordering::Relaxed);
                self.send(datagram);
                // At once, or long after.
                if dice & (1 << 32) == 0 { self.send(datagram) } else { self.hold(dice, datagram) }
            }
            20..40 => {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
                self.hold(dice, datagram);
            }
            _ => self.send(datagram),
        }
    }

    fn hold(&mut self, dice: u64, datagram: &[u8]) {
        let until = self.count + 1 + (dice >> 40) % LATE;
        let at = self.late.partition_point(|(other, _)| *other <= until);
        self.late.insert(at, (until, datagram.to_vec()));
    }

    fn send(&mut self, datagram: &[u8]) {
        if datagram.len() > self.segment || self.train.len() + datagram.len() > 60_000 {
            self.flush();
            self.segment = datagram.len();
        }
        self.train.extend_from_slice(datagram);
        if datagram.len() < self.segment || self.train.len() >= 60 * self.segment {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let face = &self.faces[1 - self.from];
        let end = *face.end.lock().unwrap();
        if let Some(end) = end.filter(|_| !self.train.is_empty()) {
            udp::send_datagrams(face.socket.as_raw_fd(), &self.train, self.segment, &end, 0);
        }
        self.train.clear();
        self.segment = 0;
    }
}
