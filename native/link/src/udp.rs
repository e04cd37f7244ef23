// SPDX-License-Identifier: MIT
//! Trains of datagrams: many of one size with one system call, either way (UDP_SEGMENT and UDP_GRO, linux/udp.h).

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::slice::ChunksMut;
use std::sync::OnceLock;

use libc::{c_int, c_void};

/// linux/udp.h
const UDP_SEGMENT: c_int = 103;
const UDP_GRO: c_int = 104;
/// Datagrams in one train (UDP_MAX_SEGMENTS of older kernels).
pub const MAX_DATAGRAMS: usize = 64;
/// Bytes of a train: the longest IPv4 packet, less IP and UDP headers.
pub const MAX_TRAIN: usize = 65_507;
/// What a train may need on the receiving side.
pub const TRAIN_BUFFER: usize = 1 << 16;
/// Socket buffers; the kernel doubles them for its own use. Enough for 2 ms at 8 Gbit/s, and a bound for a router's memory.
const SOCKET_BUFFER: c_int = 2 << 20;

/// A socket address as the kernel takes and gives it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl Address {
    /// `struct sockaddr_in6`.
    pub const MAX: usize = 28;

    /// Copies what a system call was given or gave.
    ///
    /// # Safety
    /// `address` points to `len` readable bytes.
    pub unsafe fn from_raw(address: *const libc::sockaddr, len: libc::socklen_t) -> Self {
        let mut this = Self { bytes: [0; Self::MAX], len: 0 };
        let len = (len as usize).min(Self::MAX);
        // SAFETY: the caller vouches for the source; the target has MAX bytes.
        unsafe { std::ptr::copy_nonoverlapping(address.cast::<u8>(), this.bytes.as_mut_ptr(), len) };
        this.len = len as u8;
        this
    }

    /// Its bytes, for a system call.
    pub fn raw(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// In words; a mapped IPv4 address as IPv4. None for another family.
    pub fn to_std(self) -> Option<SocketAddr> {
        let family = c_int::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]));
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match family {
            libc::AF_INET => {
                let octets: [u8; 4] = self.bytes[4..8].try_into().ok()?;
                Some((IpAddr::V4(Ipv4Addr::from(octets)), port).into())
            }
            libc::AF_INET6 => {
                let octets: [u8; 16] = self.bytes[8..24].try_into().ok()?;
                Some((IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(), port).into())
            }
            _ => None,
        }
    }

    /// Names the same place, mapped or not.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other || (self.to_std() == other.to_std() && self.to_std().is_some())
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.to_std() {
            Some(address) => address.fmt(f),
            None => f.write_str("?"),
        }
    }
}

/// Why a train did not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// A datagram is longer than the path's first link takes (EMSGSIZE).
    TooBig,
    /// The socket's buffer, or the interface's queue, is full.
    Full,
    /// This kernel or interface cannot cut trains: send them singly.
    Train,
    /// Another errno.
    Other(i32),
}

/// Sends `bytes` as datagrams of `segment` bytes, the last perhaps shorter. `tos` is the DS field with ECN (RFC 3168).
pub fn send_train(fd: RawFd, bytes: &[u8], segment: usize, to: &Address, tos: u8) -> Result<(), Refused> {
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control::default();
    // SAFETY: msghdr is plain data, for which all zeroes is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = to.raw().as_ptr().cast_mut().cast();
    message.msg_namelen = to.raw().len() as libc::socklen_t;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    let mut length = 0;
    if segment < bytes.len() {
        if !cuts_trains(fd) {
            return Err(Refused::Train);
        }
        length += control.put(length, libc::SOL_UDP, UDP_SEGMENT, &(segment as u16).to_ne_bytes());
    }
    if tos != 0 {
        let value = c_int::from(tos).to_ne_bytes();
        length += match to.to_std() {
            Some(SocketAddr::V6(_)) => control.put(length, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &value),
            _ => control.put(length, libc::IPPROTO_IP, libc::IP_TOS, &value),
        };
    }
    if length > 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = length as _;
    }
    // SAFETY: all that the message points to lives during the call, which only reads it.
    if unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) } >= 0 {
        return Ok(());
    }
    Err(match io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
        libc::EAGAIN | libc::ENOBUFS => Refused::Full,
        libc::EMSGSIZE => Refused::TooBig,
        libc::EIO | libc::EINVAL if segment < bytes.len() => Refused::Train,
        errno => Refused::Other(errno),
    })
}

/// What did not go of several datagrams.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NotSent {
    pub datagrams: u64,
    /// At least one of them for its length.
    pub too_big: bool,
}

/// Sends a train, as single datagrams where there are no trains.
pub fn send_datagrams(fd: RawFd, bytes: &[u8], segment: usize, to: &Address, tos: u8) -> NotSent {
    match send_train(fd, bytes, segment, to, tos) {
        Ok(()) => NotSent::default(),
        Err(why) => without_train(fd, bytes, segment, to, tos, why),
    }
}

/// What is left to do with a train that was refused: datagrams go singly where that was the reason.
pub fn without_train(fd: RawFd, bytes: &[u8], segment: usize, to: &Address, tos: u8, why: Refused) -> NotSent {
    if why != Refused::Train {
        let datagrams = bytes.len().div_ceil(segment.max(1)) as u64;
        return NotSent { datagrams, too_big: why == Refused::TooBig };
    }
    let refused = bytes.chunks(segment).filter_map(|one| send_train(fd, one, one.len(), to, tos).err());
    refused.fold(NotSent::default(), |sum, why| NotSent {
        datagrams: sum.datagrams + 1,
        too_big: sum.too_big || why == Refused::TooBig,
    })
}

/// A received train.
#[derive(Debug, Clone, Copy)]
pub struct Train {
    /// Bytes received.
    pub len: usize,
    /// Bytes of each datagram but the last; at least 1.
    pub segment: usize,
    /// Who sent it.
    pub from: Address,
    /// DS field with ECN, the same for all its datagrams; 0 when it is not told.
    pub tos: u8,
}

impl Train {
    /// Its datagrams, in the buffer it was received into; none when it was an empty one.
    pub fn datagrams<'a>(&self, buffer: &'a mut [u8]) -> ChunksMut<'a, u8> {
        buffer[..self.len].chunks_mut(self.segment)
    }
}

/// Receives one train; WouldBlock when none waits.
pub fn receive_train(fd: RawFd, buffer: &mut [u8]) -> io::Result<Train> {
    receive_each::<1, _>(fd, &mut [buffer])?[0].ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// Receives as many trains as wait and there are buffers, up to N, with one system call; WouldBlock when none waits.
pub fn receive_each<const N: usize, B: AsMut<[u8]>>(fd: RawFd, buffers: &mut [B]) -> io::Result<[Option<Train>; N]> {
    let mut from = [Address { bytes: [0; Address::MAX], len: 0 }; N];
    let mut controls: [Control; N] = std::array::from_fn(|_| Control::default());
    // SAFETY: iovec and mmsghdr are plain data, for which all zeroes is a value.
    let (mut iovs, mut messages): ([libc::iovec; N], [libc::mmsghdr; N]) = unsafe { mem::zeroed() };
    let count = N.min(buffers.len());
    for (at, buffer) in buffers.iter_mut().take(N).enumerate() {
        let (buffer, message) = (buffer.as_mut(), &mut messages[at].msg_hdr);
        iovs[at] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        message.msg_name = from[at].bytes.as_mut_ptr().cast();
        message.msg_namelen = Address::MAX as libc::socklen_t;
        message.msg_iov = &raw mut iovs[at];
        message.msg_iovlen = 1;
        message.msg_control = controls[at].0.as_mut_ptr().cast();
        message.msg_controllen = mem::size_of_val(&controls[at].0) as _;
    }
    // SAFETY: all that the messages point to lives during the call, which writes no more than the lengths say.
    let received =
        unsafe { libc::recvmmsg(fd, messages.as_mut_ptr(), count as _, libc::MSG_DONTWAIT as _, std::ptr::null_mut()) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let mut trains = [None; N];
    for (at, message) in messages.iter().enumerate().take(received) {
        trains[at] = Some(train(&message.msg_hdr, message.msg_len as usize, from[at]));
    }
    Ok(trains)
}

/// What the kernel said of a train.
fn train(message: &libc::msghdr, len: usize, mut from: Address) -> Train {
    from.len = (message.msg_namelen as usize).min(Address::MAX) as u8;
    let (mut segment, mut tos) = (len.max(1), 0);
    // SAFETY: the kernel has written whole control messages, and set their length; these macros stay within it.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_UDP, UDP_GRO) => segment = data.cast::<c_int>().read_unaligned().max(1) as usize,
                // A byte for IPv4, an int for IPv6.
                (libc::IPPROTO_IP, libc::IP_TOS) => tos = *data,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => tos = data.cast::<c_int>().read_unaligned() as u8,
                _ => {}
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    Train { len, segment, from, tos }
}

/// Lets the kernel join datagrams of one sender into trains. From now on all reading must be by `receive_train` or `receive_each`. False on kernels without.
pub fn receive_trains(fd: RawFd) -> bool {
    !is_plain() && set(fd, libc::SOL_UDP, UDP_GRO, 1)
}

/// True when this kernel cuts trains. Older ones would send them as one long datagram.
fn cuts_trains(fd: RawFd) -> bool {
    static CUTS: OnceLock<bool> = OnceLock::new();
    !is_plain()
        && *CUTS.get_or_init(|| {
            let mut value: c_int = 0;
            let mut size = mem::size_of_val(&value) as libc::socklen_t;
            // SAFETY: both outlive the call, which writes at most `size` bytes.
            unsafe { libc::getsockopt(fd, libc::SOL_UDP, UDP_SEGMENT, (&raw mut value).cast(), &raw mut size) == 0 }
        })
}

/// True when tests want this kernel to know no trains.
fn is_plain() -> bool {
    #[cfg(test)]
    return PLAIN.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(test))]
    false
}

/// Makes this kernel one that knows no trains.
#[cfg(test)]
pub static PLAIN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Lets the kernel tell the DS field of what arrives, also of IPv4 on a socket for both.
pub fn receive_tos(fd: RawFd) {
    set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
    set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
}

/// Room for what comes while a batch is worked on; beyond the system's limit where that is allowed.
pub fn enlarge_buffers(fd: RawFd) {
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if !set(fd, libc::SOL_SOCKET, forced, SOCKET_BUFFER) {
            set(fd, libc::SOL_SOCKET, plain, SOCKET_BUFFER);
        }
    }
}

fn set(fd: RawFd, level: c_int, option: c_int, value: c_int) -> bool {
    let size = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value lives during the call, which reads `size` bytes.
    unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast::<c_void>(), size) == 0 }
}

/// Room for control messages, aligned as they must be.
#[derive(Default)]
struct Control([u64; 16]);

impl Control {
    /// Writes one control message at `at`; returns the bytes it takes.
    fn put(&mut self, at: usize, level: c_int, kind: c_int, value: &[u8]) -> usize {
        // SAFETY: CMSG_* compute sizes; what is written lies within the array: at most two messages of 4 bytes are ever put.
        unsafe {
            let header = self.0.as_mut_ptr().cast::<u8>().add(at).cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(value.len() as u32) as _;
            std::ptr::copy_nonoverlapping(value.as_ptr(), libc::CMSG_DATA(header), value.len());
            libc::CMSG_SPACE(value.len() as u32) as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    use super::*;

    fn address_of(socket: &UdpSocket) -> Address {
        address(socket.local_addr().unwrap())
    }

    fn address(address: SocketAddr) -> Address {
        let mut bytes = [0; Address::MAX];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address.ip() {
            IpAddr::V4(ip) => {
                bytes[4..8].copy_from_slice(&ip.octets());
                (libc::AF_INET, 16)
            }
            IpAddr::V6(ip) => {
                bytes[8..24].copy_from_slice(&ip.octets());
                (libc::AF_INET6, 28)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Address { bytes, len }
    }

    #[test]
    fn a_train_arrives_with_its_seams_and_its_sender() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let bytes: Vec<u8> = (0..2500u32).map(|n| n as u8).collect();
        assert!(receive_trains(b.as_raw_fd()));
        enlarge_buffers(b.as_raw_fd());
        send_train(a.as_raw_fd(), &bytes, 1000, &address_of(&b), 0).unwrap();
        let (mut buffer, mut got, mut sizes) = (vec![0; TRAIN_BUFFER], Vec::new(), Vec::new());
        while got.len() < bytes.len() {
            let train = receive_train(b.as_raw_fd(), &mut buffer).unwrap();
            assert_eq!(train.from.to_std(), Some(a.local_addr().unwrap()));
            train.datagrams(&mut buffer).for_each(|datagram| {
                sizes.push(datagram.len());
                got.extend_from_slice(datagram);
            });
        }
        assert_eq!((got, sizes), (bytes, vec![1000, 1000, 500]));
        assert_eq!(receive_train(b.as_raw_fd(), &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn as_many_trains_as_there_is_room_for_are_received_at_once_and_the_others_wait() {
        let b = UdpSocket::bind("127.0.0.1:0").unwrap();
        receive_tos(b.as_raw_fd());
        assert!(receive_trains(b.as_raw_fd()));
        // Of a sender each, so that none are joined.
        let senders = [0, 1, 2].map(|tos| {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            send_train(sender.as_raw_fd(), &[tos; 100], 100, &address_of(&b), tos).unwrap();
            sender.local_addr().ok()
        });
        let mut buffers = [(); 2].map(|()| vec![0; TRAIN_BUFFER]);
        for expected in [&[0u8, 1][..], &[2]] {
            let trains = receive_each::<2, _>(b.as_raw_fd(), &mut buffers).unwrap();
            assert_eq!(trains.iter().flatten().count(), expected.len());
            for ((train, buffer), n) in trains.into_iter().flatten().zip(&buffers).zip(expected) {
                assert_eq!((train.len, train.tos, train.from.to_std()), (100, *n, senders[usize::from(*n)]));
                assert_eq!(buffer[..100], [*n; 100]);
            }
        }
        assert_eq!(receive_each::<2, _>(b.as_raw_fd(), &mut buffers).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_empty_datagram_is_a_train_without_datagrams() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(receive_trains(b.as_raw_fd()));
        a.send_to(&[], b.local_addr().unwrap()).unwrap();
        a.send_to(&[1, 2, 3], b.local_addr().unwrap()).unwrap();
        let mut buffer = vec![0; TRAIN_BUFFER];
        let counts =
            [(); 2].map(|()| receive_train(b.as_raw_fd(), &mut buffer).unwrap().datagrams(&mut buffer).count());
        assert_eq!(counts, [0, 1]);
    }

    #[test]
    fn the_ds_field_of_a_train_arrives_over_ipv4_and_ipv6_and_on_a_socket_for_both() {
        for (from, at) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0"), ("127.0.0.1:0", "[::]:0")] {
            let (a, b) = (UdpSocket::bind(from).unwrap(), UdpSocket::bind(at).unwrap());
            receive_tos(b.as_raw_fd());
            assert!(receive_trains(b.as_raw_fd()));
            let port = b.local_addr().unwrap().port();
            let to = address(SocketAddr::new(a.local_addr().unwrap().ip(), port));
            for tos in [0, 1, 0xb8 | 2, 3] {
                send_train(a.as_raw_fd(), &[7; 2000], 1000, &to, tos).unwrap();
                let (mut buffer, mut got) = (vec![0; TRAIN_BUFFER], 0);
                while got < 2000 {
                    let train = receive_train(b.as_raw_fd(), &mut buffer).unwrap();
                    assert_eq!(train.tos, tos, "{from} to {at}");
                    got += train.len;
                }
            }
        }
    }

    #[test]
    fn a_mapped_address_names_the_same_place() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let plain = address_of(&socket);
        let mut mapped = Address { bytes: [0; Address::MAX], len: 28 };
        mapped.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        mapped.bytes[2..4].copy_from_slice(&socket.local_addr().unwrap().port().to_be_bytes());
        mapped.bytes[18..24].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
        assert!(plain.is_same(&mapped) && plain != mapped);
        mapped.bytes[23] = 2;
        assert!(!plain.is_same(&mapped));
    }
}
