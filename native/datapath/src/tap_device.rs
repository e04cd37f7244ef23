// SPDX-License-Identifier: MIT
//! The kernel's side of a tap: made, set up, read and written with a virtio header before each frame (Linux tun.txt, virtio 1.2 5.1.6).

use std::fs::OpenOptions;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{PoisonError, RwLock};

use ipop_base::{Drop, Error, Frame, PortTransmit, Result, VnetHeader};
use ipop_offload::{Gso, Offload};

use crate::plain;

const TUN_DEVICE: &str = "/dev/net/tun";
/// Refuses a name that is in use, also by a tap that waits for its owner (linux/if_tun.h).
const IFF_TUN_EXCL: libc::c_int = 0x8000;
/// RFC 791: every IPv4 network carries 68 bytes; the kernel's upper bound for a tap is 65535 less the Ethernet header.
const MTU: std::ops::RangeInclusive<u32> = 68..=65_521;

/// What is asked of the kernel: that frames come as they are in it, with checksums to be completed (CSUM) and uncut (the others). Old
/// kernels do not know all (USO: from 6.2), so the first set that it takes is used.
const OFFLOADS: [libc::c_uint; 5] = [
    libc::TUN_F_CSUM | TSO | libc::TUN_F_TSO_ECN | USO,
    libc::TUN_F_CSUM | TSO | libc::TUN_F_TSO_ECN,
    libc::TUN_F_CSUM | TSO,
    libc::TUN_F_CSUM,
    0,
];
const TSO: libc::c_uint = libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
const USO: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// An open tap. It exists as long as it is open.
pub struct TapDevice {
    name: String,
    uso: bool,
    /// None once it is closed. Readers share the lock, so threads write side by side; closing waits for the calls under way and so
    /// can promise that the device is gone.
    file: RwLock<Option<OwnedFd>>,
}

impl TapDevice {
    /// Makes the tap and sets it up. EBUSY: the name is in use; ENOENT: no /dev/net/tun; EPERM; EINVAL: bad name or mtu.
    pub fn open(name: &str, mtu: u32) -> Result<Self> {
        check_name(name)?;
        if !MTU.contains(&mtu) {
            let text = format!("cannot make tap '{name}': mtu {mtu} is not in {}-{}", MTU.start(), MTU.end());
            return Err(Error::new(libc::EINVAL, text));
        }
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(TUN_DEVICE);
        let file = OwnedFd::from(file.map_err(|cause| Error::io(&format!("cannot open {TUN_DEVICE}"), &cause))?);
        attach(&file, name)?;
        let offload =
            set_offload(&file).map_err(|cause| Error::io(&format!("cannot set offload of tap '{name}'"), &cause))?;
        quiet_ipv6(name);
        raise_address(name)?;
        set_up(name, mtu)?;
        Ok(Self { name: name.to_owned(), uso: offload & USO == USO, file: RwLock::new(Some(file)) })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, to wait for; -1 once it is closed.
    pub fn fd(&self) -> RawFd {
        self.file.read().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Reads one frame with its virtio header. WouldBlock when none waits.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.with_file(|fd| {
            // SAFETY: the kernel writes at most buf.len() bytes into buf, which is ours alone for the call.
            unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) }
        })
    }

    /// Closes the device; it is gone when this returns.
    pub fn close(&self) {
        self.file.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn write(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        let mut parts = [IoSlice::new(&[]); 2 + Frame::MAX_TAIL];
        let count = 2 + frame.tail.len();
        parts.get_mut(2..count).ok_or(Drop::TapWrite)?.copy_from_slice(frame.tail);
        parts[0] = IoSlice::new(&frame.vnet.0);
        parts[1] = IoSlice::new(frame.bytes);
        let result = self.with_file(|fd| {
            // SAFETY: an IoSlice is an iovec; each points to bytes that live through the call, which only reads them.
            unsafe { libc::writev(fd, parts.as_ptr().cast(), count as libc::c_int) }
        });
        match result {
            Ok(written) if written == VnetHeader::LEN + frame.len() => Ok(()),
            _ => Err(Drop::TapWrite),
        }
    }

    fn with_file(&self, call: impl FnOnce(RawFd) -> isize) -> io::Result<usize> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let fd = file.as_ref().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        usize::try_from(call(fd.as_raw_fd())).map_err(|_| io::Error::last_os_error())
    }
}

impl PortTransmit for TapDevice {
    fn transmit(&self, frame: &Frame<'_>) -> std::result::Result<(), Drop> {
        if !self.uso && Offload::read(&frame.vnet)?.gso == Some(Gso::Udp) {
            return plain::cut(frame, |bytes| self.write(&Frame::plain(bytes)));
        }
        self.write(frame)
    }

    fn takes_uso(&self) -> bool {
        self.uso
    }
}

/// Returns what the kernel took.
fn set_offload(file: &OwnedFd) -> io::Result<libc::c_uint> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for offload in OFFLOADS {
        match ioctl(file, libc::TUNSETOFFLOAD as _, offload as usize) {
            Ok(()) => return Ok(offload),
            Err(cause) => refused = cause,
        }
    }
    Err(refused)
}

/// What the kernel takes as a name (dev_valid_name), less '%', which it would replace by a number.
fn check_name(name: &str) -> Result<()> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    let allowed = (1..libc::IFNAMSIZ).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad);
    let text = || format!("cannot make tap '{name}': a name has 1 to 15 characters, no space, '/', ':' or '%'");
    allowed.then_some(()).ok_or_else(|| Error::new(libc::EINVAL, text()))
}

fn attach(file: &OwnedFd, name: &str) -> Result<()> {
    let mut request = request(name);
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | IFF_TUN_EXCL;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl(file, libc::TUNSETIFF as _, &raw mut request as usize).map_err(|cause| match cause.raw_os_error() {
        Some(libc::EBUSY) => Error::new(libc::EBUSY, format!("cannot make tap '{name}': the name is in use")),
        _ => Error::io(&format!("cannot make tap '{name}'"), &cause),
    })
}

/// A tap in a bridge has no IPv6 of its own, and must not speak into the LAN. Best effort: a kernel without IPv6 has no such file.
fn quiet_ipv6(name: &str) {
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
}

/// A bridge without an address of its own takes the lowest of its ports': the kernel's random address for the tap would often become
/// that of the whole LAN's router. With this first byte (local, unicast) it is higher than any other port's.
fn raise_address(name: &str) -> Result<()> {
    const HIGHEST: u8 = 0xfe;
    let control = control_socket()?;
    let failed = |cause: io::Error| Error::io(&format!("cannot set the address of tap '{name}'"), &cause);
    let mut request = request(name);
    ioctl(&control, libc::SIOCGIFHWADDR as _, &raw mut request as usize).map_err(failed)?;
    // SAFETY: SIOCGIFHWADDR has just filled this member of the union.
    unsafe { request.ifr_ifru.ifru_hwaddr.sa_data[0] = HIGHEST as libc::c_char };
    ioctl(&control, libc::SIOCSIFHWADDR as _, &raw mut request as usize).map_err(failed)
}

fn set_up(name: &str, mtu: u32) -> Result<()> {
    let control = control_socket()?;
    let failed = |what: &str, cause: &io::Error| Error::io(&format!("cannot {what} tap '{name}'"), cause);
    let mut request = request(name);
    request.ifr_ifru.ifru_mtu = mtu as libc::c_int;
    ioctl(&control, libc::SIOCSIFMTU as _, &raw mut request as usize)
        .map_err(|cause| failed(&format!("set mtu {mtu} of"), &cause))?;
    ioctl(&control, libc::SIOCGIFFLAGS as _, &raw mut request as usize)
        .map_err(|cause| failed("read flags of", &cause))?;
    // SAFETY: SIOCGIFFLAGS has just filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    ioctl(&control, libc::SIOCSIFFLAGS as _, &raw mut request as usize).map_err(|cause| failed("set up", &cause))
}

/// Any socket does for interface requests.
fn control_socket() -> Result<OwnedFd> {
    // SAFETY: socket takes no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Error::last_os("cannot make a socket"));
    }
    // SAFETY: fd is a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A request about the interface `name`, whose length was checked.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: ifreq is plain data, for which all zeroes is a value (an empty name).
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte as libc::c_char);
    request
}

fn ioctl(file: &OwnedFd, what: libc::Ioctl, argument: usize) -> io::Result<()> {
    // SAFETY: `argument` is a set of flags, or the address of an ifreq that the caller keeps alive, as the request wants it.
    match unsafe { libc::ioctl(file.as_raw_fd(), what, argument) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn bad_names_and_mtus_are_refused_before_the_kernel_is_asked() {
        for name in ["", "a234567890123456", "a/b", "a b", "a\tb", "tap%d", "a:b", ".", ".."] {
            let error = TapDevice::open(name, 1500).err().unwrap();
            assert_eq!(error.errno, libc::EINVAL, "{name}: {error}");
        }
        let error = TapDevice::open("ipop0", 67).err().unwrap();
        assert_eq!(error.text, "cannot make tap 'ipop0': mtu 67 is not in 68-65521");
    }

    /// A device of which nothing is left but a datagram socket, and the other end.
    fn device(uso: bool) -> (TapDevice, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (TapDevice { name: "ipop0".into(), uso, file: RwLock::new(Some(ours.into())) }, theirs)
    }

    /// A super-frame of three datagrams of 100, 100 and 50 bytes on IPv4.
    fn datagrams() -> (VnetHeader, Vec<u8>) {
        let mut vnet = [1, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        for (at, value) in [(2, 42u16), (4, 100), (6, 34), (8, 6)] {
            vnet[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
        let mut bytes = vec![7; 14 + 20 + 8 + 250];
        bytes[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
        bytes[16..18].copy_from_slice(&278u16.to_be_bytes());
        bytes[20..24].copy_from_slice(&[0x40, 0, 64, 17]);
        bytes[38..40].copy_from_slice(&258u16.to_be_bytes());
        (VnetHeader(vnet), bytes)
    }

    fn written(tap: &UnixDatagram) -> Vec<Vec<u8>> {
        let mut buf = [0; 1000];
        std::iter::from_fn(|| tap.recv(&mut buf).ok().map(|length| buf[..length].to_vec())).collect()
    }

    #[test]
    fn udp_super_frames_are_cut_for_a_kernel_that_does_not_take_them() {
        let (vnet, bytes) = datagrams();
        let frame = Frame { vnet, bytes: &bytes[..142], tail: &[IoSlice::new(&bytes[142..])], segments: 3 };
        let (new, kernel) = device(true);
        new.transmit(&frame).unwrap();
        assert_eq!(written(&kernel), [[&vnet.0[..], &bytes].concat()]);
        let (old, kernel) = device(false);
        old.transmit(&frame).unwrap();
        let written = written(&kernel);
        assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [152, 152, 102]);
        assert!(written.iter().all(|write| write[..10] == [0; 10] && write[52..].iter().all(|byte| *byte == 7)));
    }

    #[test]
    fn more_pieces_than_a_frame_may_have_are_refused() {
        let (device, kernel) = device(true);
        let bytes = [0; 14];
        let tail = [IoSlice::new(&bytes); Frame::MAX_TAIL + 1];
        let frame = |count| Frame { tail: &tail[..count], ..Frame::plain(&bytes) };
        assert_eq!(device.transmit(&frame(Frame::MAX_TAIL + 1)), Err(Drop::TapWrite));
        device.transmit(&frame(Frame::MAX_TAIL)).unwrap();
        assert_eq!(written(&kernel)[0].len(), 10 + 14 * 65);
    }
}
