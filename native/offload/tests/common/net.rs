// SPDX-License-Identifier: MIT
//! Namespaces, taps and packet sockets of the real kernel.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use ipop_base::{Frame, VnetHeader};

const TUN_F_CSUM_TSO: u32 = 0x01 | 0x02 | 0x04;
const TUN_F_USO: u32 = 0x20 | 0x40;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// A network namespace, which goes with its last thread, device owner and descriptor.
pub struct Namespace(File);

impl Namespace {
    /// A fresh one, which this thread is in then.
    pub fn new() -> Self {
        // SAFETY: changes the namespace of this thread only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Brings this thread there.
    pub fn enter(&self) {
        // SAFETY: changes the namespace of this thread only; the descriptor is open.
        let done = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    /// A name that `ip` takes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs a command in this thread's namespace.
pub fn run(command: &str) {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A tap that gives and takes super-frames.
pub struct OffloadTap {
    file: OwnedFd,
    /// Also of UDP: since Linux 6.2.
    pub uso: bool,
}

impl OffloadTap {
    pub fn open(name: &str) -> Self {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").unwrap();
        // SAFETY: ifreq is plain data, for which zeroes are a value; it lives through the call.
        let made = unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte as libc::c_char);
            request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short;
            libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request)
        };
        assert_eq!(made, 0, "{}", io::Error::last_os_error());
        // SAFETY: the argument is a number.
        let offer = |flags: u32| unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD as _, flags) == 0 };
        let uso = offer(TUN_F_CSUM_TSO | TUN_F_USO);
        assert!(uso || offer(TUN_F_CSUM_TSO), "{}", io::Error::last_os_error());
        Self { file: file.into(), uso }
    }

    /// Waits for a frame for at most 50 ms.
    pub fn wait_for_any(taps: [&Self; 2]) {
        let mut fds = taps.map(|tap| libc::pollfd { fd: tap.file.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        // SAFETY: poll reads and writes these structs only.
        unsafe { libc::poll(fds.as_mut_ptr(), 2, 50) };
    }

    /// A (super-)frame behind its virtio header, if one waits.
    pub fn read<'a>(&self, buf: &'a mut [u8]) -> Option<(VnetHeader, &'a [u8])> {
        // SAFETY: the kernel writes at most buf.len() bytes into buf.
        let length = unsafe { libc::read(self.file.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
        let (header, bytes) = buf[..usize::try_from(length).ok()?].split_first_chunk()?;
        Some((VnetHeader(*header), bytes))
    }

    pub fn write(&self, frame: &Frame<'_>) {
        let parts: Vec<_> = [io::IoSlice::new(&frame.vnet.0), io::IoSlice::new(frame.bytes)]
            .into_iter()
            .chain(frame.tail.iter().copied())
            .collect();
        // SAFETY: an IoSlice is an iovec (std promises it); all parts live through the call.
        let written = unsafe { libc::writev(self.file.as_raw_fd(), parts.as_ptr().cast(), parts.len() as libc::c_int) };
        let expected = (VnetHeader::LEN + frame.len()) as isize;
        assert_eq!(written, expected, "{:?}: {}", frame.vnet, io::Error::last_os_error());
    }
}

/// All that comes in at an interface.
pub struct Capture(OwnedFd);

impl Capture {
    pub fn on(name: &str) -> Self {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let cname = std::ffi::CString::new(name).unwrap();
        // SAFETY: sockaddr_ll is plain data, for which zeroes are a value; all pointers live through their calls.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let fd = libc::socket(libc::AF_PACKET, kind, all.into());
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            let socket = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = libc::if_nametoindex(cname.as_ptr()) as i32;
            let length = size_of::<libc::sockaddr_ll>() as u32;
            assert_eq!(libc::bind(fd, (&raw const address).cast(), length), 0, "{}", io::Error::last_os_error());
            set_option(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1);
            set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 128 << 20);
            Self(socket)
        }
    }

    /// All that came since the last time.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut buf = vec![0; 70_000];
        std::iter::from_fn(|| {
            // SAFETY: receives into a buffer that lives through the call.
            let length = unsafe { libc::recv(self.0.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
            usize::try_from(length).ok().map(|length| buf[..length].to_vec())
        })
        .collect()
    }
}

pub fn set_option(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the value lives through the call and has the length that is said.
    let done = unsafe {
        let length = size_of::<libc::c_int>() as u32;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
