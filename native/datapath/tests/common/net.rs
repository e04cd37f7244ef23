// SPDX-License-Identifier: MIT
//! Network namespaces, packet sockets and checksums, for tests with real taps.

use std::io::Write;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Runs a test body in a fresh network namespace, which goes with its thread.
pub fn in_namespace(body: impl FnOnce() + Send + 'static) {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        let _ = writeln!(std::io::stderr(), "SKIPPED (not root): {:?}", std::thread::current().name());
        return;
    }
    let thread = std::thread::spawn(|| {
        // SAFETY: changes the namespace of this thread only.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn exists(name: &str) -> bool {
    Command::new("ip").args(["link", "show", "dev", name]).output().unwrap().status.success()
}

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "waited 10 s for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A frame that a packet socket saw.
pub struct Seen {
    /// With its VLAN tag.
    pub bytes: Vec<u8>,
    /// This host sent it.
    pub outgoing: bool,
    /// Its checksum is still to be completed.
    pub open: bool,
}

/// A packet socket on an interface: the host's side of a tap.
pub struct Host(i32);

impl Host {
    pub fn on(name: &str) -> Self {
        let all = (libc::ETH_P_ALL as u16).to_be();
        let cname = std::ffi::CString::new(name).unwrap();
        let set = |fd, level, option, value: i32| {
            // SAFETY: reads an int that lives through the call.
            let done =
                unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), size_of::<i32>() as u32) };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        };
        // SAFETY: sockaddr_ll is plain data, for which zeroes are a value; all pointers live through their calls.
        unsafe {
            let fd =
                libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, all.into());
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = all;
            address.sll_ifindex = libc::if_nametoindex(cname.as_ptr()) as i32;
            let length = size_of::<libc::sockaddr_ll>() as u32;
            assert_eq!(libc::bind(fd, (&raw const address).cast(), length), 0, "{}", std::io::Error::last_os_error());
            set(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1);
            set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20);
            Self(fd)
        }
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: sends bytes that live through the call.
        let sent = unsafe { libc::send(self.0, frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }

    /// Sends a super-frame, with its virtio header. Nothing else can be sent or received here then.
    pub fn send_super(&self, vnet: &[u8; 10], frame: &[u8]) {
        let on = 1i32;
        // SAFETY: reads an int that lives through the call.
        let done = unsafe {
            libc::setsockopt(
                self.0,
                libc::SOL_PACKET,
                libc::PACKET_VNET_HDR,
                (&raw const on).cast(),
                size_of::<i32>() as u32,
            )
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        self.send(&[vnet, frame].concat());
    }

    pub fn receive(&self) -> Option<Vec<u8>> {
        self.see().map(|seen| seen.bytes)
    }

    /// The next frame, if one waits.
    pub fn see(&self) -> Option<Seen> {
        let mut bytes = vec![0; 66_000];
        let mut control = [0u64; 16];
        // SAFETY: all of these structs are plain data, for which zeroes are a value; the kernel writes within the lengths it is told, and
        // control messages are read where it put them.
        unsafe {
            let mut from: libc::sockaddr_ll = std::mem::zeroed();
            let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let length = libc::recvmsg(self.0, &raw mut message, 0);
            bytes.truncate(usize::try_from(length).ok()?);
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            assert!(!header.is_null() && (*header).cmsg_type == libc::PACKET_AUXDATA);
            let aux: libc::tpacket_auxdata = libc::CMSG_DATA(header).cast::<libc::tpacket_auxdata>().read_unaligned();
            if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
                let tag = [aux.tp_vlan_tpid.to_be_bytes(), aux.tp_vlan_tci.to_be_bytes()];
                bytes.splice(12..12, tag.concat());
            }
            let open = aux.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0;
            Some(Seen { bytes, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING, open })
        }
    }
}

impl std::ops::Drop for Host {
    fn drop(&mut self) {
        // SAFETY: closes a descriptor that is ours.
        unsafe { libc::close(self.0) };
    }
}

/// Lets an interface give and take frames only as they would be on a wire: cut, and with complete checksums.
pub fn no_offload(name: &str) {
    /// `struct ethtool_value` (linux/ethtool.h).
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    // ETHTOOL_STXCSUM, _SRXCSUM, _STSO, _SGSO, _SGRO
    for command in [0x17, 0x15, 0x1f, 0x24, 0x2c] {
        let mut value = Value { command, data: 0 };
        // SAFETY: ifreq is plain data, for which zeroes are a value; the kernel reads and writes it and the value, which live through the call.
        let done = unsafe {
            let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
            let mut request: libc::ifreq = std::mem::zeroed();
            request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte as libc::c_char);
            request.ifr_ifru.ifru_data = (&raw mut value).cast();
            let done = libc::ioctl(fd, libc::SIOCETHTOOL as _, &raw mut request);
            libc::close(fd);
            done
        };
        assert_eq!(done, 0, "offload {command:#x} of {name}: {}", std::io::Error::last_os_error());
    }
}

/// A network namespace with a thread that does things in it; both go with this object.
pub struct Namespace {
    jobs: Option<Sender<Box<dyn FnOnce() + Send>>>,
    /// Names the namespace to `ip`.
    pub id: i32,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub fn new() -> Self {
        let (jobs, queue) = channel::<Box<dyn FnOnce() + Send>>();
        let (say, id) = channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: changes the namespace of this thread only; gettid has no preconditions.
            let id = unsafe { (libc::unshare(libc::CLONE_NEWNET) == 0).then(|| libc::gettid()) };
            say.send(id.unwrap()).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        Self { jobs: Some(jobs), id: id.recv().unwrap(), thread: Some(thread) }
    }

    /// Does something in it. Sockets that it makes stay in the namespace.
    pub fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, result) = channel();
        let job = Box::new(move || drop(say.send(body())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("it panicked, see above")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // It may have panicked, which was said then.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Whether all checksums of an IP packet in a frame are right; a UDP datagram on IPv4 may have none. Written to be compared with RFC 1071, 768
/// and 9293, not to be fast.
pub fn checksums_are_right(frame: &[u8]) -> bool {
    let be16 = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let mut at = 12;
    while matches!(be16(at), 0x8100 | 0x88a8) {
        at += 4;
    }
    let (v6, ip) = (be16(at) == 0x86dd, at + 2);
    let (protocol, transport, end, addresses) = if v6 {
        (frame[ip + 6], ip + 40, ip + 40 + be16(ip + 4), &frame[ip + 8..ip + 40])
    } else {
        let header = usize::from(frame[ip] & 15) * 4;
        (frame[ip + 9], ip + header, ip + be16(ip + 2), &frame[ip + 12..ip + 20])
    };
    let body = &frame[transport..end];
    let pseudo = [addresses, &(body.len() as u32).to_be_bytes(), &[0, protocol]].concat();
    let no_checksum = protocol == 17 && !v6 && body[6..8] == [0, 0];
    (v6 || sum(&frame[ip..transport]) == 0xffff) && (no_checksum || sum(&[&pseudo, body].concat()) == 0xffff)
}

/// The sum of RFC 1071, not complemented.
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
