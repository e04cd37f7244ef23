// SPDX-License-Identifier: MIT
//! Packet sockets: whole Ethernet frames, many a system call, stamped by the kernel when they came.

use std::ffi::CString;
use std::io::{Error, Result};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use crate::line::Nanos;

/// Frames a system call.
pub const BATCH: usize = 64;
/// struct virtio_net_hdr, before each frame: checksums that are left open cross as they are.
const HEADER: usize = 10;
/// Header, Ethernet header, two VLAN tags, 1500 bytes.
const SLOT: usize = HEADER + 14 + 8 + 1500;
const GSO_TYPE: usize = 1;
const NEEDS_CSUM: u8 = 1;
/// What the kernel holds for us while we are not running.
const BUFFER: libc::c_int = 16 << 20;

/// A frame with its header; swapped, never copied.
pub struct Slot {
    bytes: Box<[u8; SLOT]>,
    len: usize,
}

impl Slot {
    /// An empty one.
    pub fn new() -> Self {
        Self { bytes: Box::new([0; SLOT]), len: 0 }
    }

    /// The frame's length.
    pub fn frame_len(&self) -> u64 {
        (self.len - HEADER) as u64
    }
}

/// One interface.
pub struct Wire {
    fd: OwnedFd,
    control: Vec<[u8; CONTROL]>,
}

const CONTROL: usize = 64;

impl Wire {
    /// All frames that come in by this interface, none that go out.
    pub fn open(device: &str) -> Result<Self> {
        let name = CString::new(device)?;
        // SAFETY: plain system calls on values of this function; the descriptor is nobody else's.
        unsafe {
            let index = libc::if_nametoindex(name.as_ptr());
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
            if index == 0 || fd < 0 {
                return Err(Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            set(&fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
            set(&fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
            set(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
            set(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER)?;
            set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, BUFFER)?;
            let mut address: libc::sockaddr_ll = zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            address.sll_ifindex = index as i32;
            let size = size_of::<libc::sockaddr_ll>() as u32;
            if libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) != 0 {
                return Err(Error::last_os_error());
            }
            Ok(Self { fd, control: vec![[0; CONTROL]; BATCH] })
        }
    }

    /// For poll.
    pub fn raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Fills slots with what waits. Returns for each filled one how long ago it came, or None when it is no single frame (a super-packet of
    /// the kernel, or longer than a slot).
    pub fn receive(&mut self, slots: &mut [Slot]) -> Vec<Option<Nanos>> {
        let mut vectors: Vec<libc::iovec> = slots
            .iter_mut()
            .map(|slot| libc::iovec { iov_base: slot.bytes.as_mut_ptr().cast(), iov_len: SLOT })
            .collect();
        let mut messages = messages(&mut vectors);
        for (message, control) in messages.iter_mut().zip(&mut self.control) {
            message.msg_hdr.msg_control = control.as_mut_ptr().cast();
            message.msg_hdr.msg_controllen = CONTROL as _;
        }
        let count = messages.len().min(BATCH) as u32;
        // SAFETY: each message points to a vector, a slot and a control buffer that outlive the call.
        let got = unsafe {
            libc::recvmmsg(self.raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        let got = usize::try_from(got).unwrap_or(0);
        let wall = clock(libc::CLOCK_REALTIME);
        let mut ages = Vec::with_capacity(got);
        for (message, slot) in messages.iter().take(got).zip(slots) {
            slot.len = message.msg_len as usize;
            let cut = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || slot.len <= HEADER;
            ages.push((!cut && slot.bytes[GSO_TYPE] == 0).then(|| age(&message.msg_hdr, wall)));
            // Only what is still to be summed is the sender's to say.
            slot.bytes[0] &= NEEDS_CSUM;
        }
        ages
    }

    /// Sends frames, each at most BATCH at a call. Returns for how many the kernel had no room.
    pub fn send(&self, frames: &[&Slot]) -> u64 {
        let mut vectors: Vec<libc::iovec> = frames
            .iter()
            .map(|slot| libc::iovec { iov_base: slot.bytes.as_ptr().cast_mut().cast(), iov_len: slot.len })
            .collect();
        let mut messages = messages(&mut vectors);
        let (mut at, mut failed) = (0, 0);
        while at < messages.len() {
            let count = (messages.len() - at).min(BATCH) as u32;
            // SAFETY: each message points to a vector and a slot that outlive the call; the kernel only reads them.
            let sent =
                unsafe { libc::sendmmsg(self.raw_fd(), messages[at..].as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
            // The first of them could not be sent: the next may.
            failed += u64::from(sent <= 0);
            at += usize::try_from(sent).unwrap_or(0).max(1);
        }
        failed
    }

    /// Frames that the kernel could not keep for us since this was last asked.
    pub fn overflows(&self) -> u64 {
        // SAFETY: the structure is as long as said.
        unsafe {
            let mut statistics: libc::tpacket_stats = zeroed();
            let mut size = size_of::<libc::tpacket_stats>() as u32;
            let place = (&raw mut statistics).cast();
            let code = libc::getsockopt(self.raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, place, &raw mut size);
            if code == 0 { statistics.tp_drops.into() } else { 0 }
        }
    }
}

/// Now, by the clock that never goes back.
pub fn now() -> Nanos {
    clock(libc::CLOCK_MONOTONIC)
}

/// What a clock says.
pub fn clock(id: libc::clockid_t) -> Nanos {
    // SAFETY: clock_gettime fills the structure.
    let time = unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(id, &raw mut time);
        time
    };
    nanos(time)
}

fn nanos(time: libc::timespec) -> Nanos {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How long ago the kernel got it. 0 when the wall clock was set meanwhile.
fn age(header: &libc::msghdr, wall: Nanos) -> Nanos {
    // SAFETY: the kernel filled the control buffer that the header points to; the macros stay inside it.
    let stamp = unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        if control.is_null() || (*control).cmsg_type != libc::SCM_TIMESTAMPNS {
            return 0;
        }
        nanos(ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::timespec>()))
    };
    let age = wall.saturating_sub(stamp);
    if age > 100_000_000 { 0 } else { age }
}

fn messages(vectors: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    vectors
        .iter_mut()
        .map(|vector| {
            // SAFETY: all zero is an empty message.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect()
}

fn set(fd: &OwnedFd, level: i32, name: i32, value: libc::c_int) -> Result<()> {
    let size = size_of::<libc::c_int>() as u32;
    // SAFETY: the value is as long as said.
    let code = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if code == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
