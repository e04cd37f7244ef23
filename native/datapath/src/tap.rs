// SPDX-License-Identifier: MIT
//! A tap as a port: one thread reads what the kernel sends into it; any thread writes.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use ipop_base::{
    DropCounters, Error, Frame, FrameSink, Handle, RecordQueue, RecordType, Result, VnetHeader, next_handle,
};

use crate::parse::{ETHERNET_HEADER, MAX_FRAME};
use crate::port::PortKind;
use crate::switch::Switch;
use crate::tap_device::TapDevice;
use crate::thread;

/// Frames read before the thread looks whether it shall end.
const BATCH: usize = 64;

/// A tap device that is a port of a switch; disabled at first. It is not persistent: it goes with this object.
pub struct Tap {
    switch: Arc<Switch>,
    port: Handle,
    device: Arc<TapDevice>,
    /// Readable when the thread shall end.
    stop: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Tap {
    /// Makes the tap `name`, sets it up with this mtu (bytes) and starts its thread. When the device is deleted by somebody else, the port leaves
    /// the switch and a PORT_GONE record says so. EBUSY: the name is in use; ENOENT: no /dev/net/tun; EPERM; EINVAL: bad name or mtu.
    pub fn open(switch: &Arc<Switch>, queue: Arc<RecordQueue>, name: &str, mtu: u32) -> Result<Arc<Self>> {
        let device = Arc::new(TapDevice::open(name, mtu)?);
        let stop = Arc::new(event_fd()?);
        let port = next_handle();
        switch.add_port(port, PortKind::Lan, device.clone(), Arc::new(DropCounters::default()));
        let reader = Reader { switch: switch.clone(), queue, port, device: device.clone(), stop: stop.clone() };
        let thread = thread::spawn("ipop-tap", move || reader.run()).inspect_err(|_| {
            switch.remove_port(port);
        })?;
        Ok(Arc::new(Self { switch: switch.clone(), port, device, stop, thread: Mutex::new(Some(thread)) }))
    }

    /// Its handle.
    pub fn port(&self) -> Handle {
        self.port
    }

    /// The device's name, as it was made.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    /// Removes the port, joins the thread and deletes the device; it is gone when this returns.
    pub fn close(&self) {
        self.switch.remove_port(self.port);
        let one = 1u64.to_ne_bytes();
        // SAFETY: writes 8 bytes from a live array to an eventfd of ours.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic of the thread has ended it too.
            let _ = thread.join();
        }
        self.device.close();
    }
}

impl std::ops::Drop for Tap {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the tap's thread has.
struct Reader {
    switch: Arc<Switch>,
    queue: Arc<RecordQueue>,
    port: Handle,
    device: Arc<TapDevice>,
    stop: Arc<OwnedFd>,
}

impl Reader {
    fn run(&self) {
        if let Err(cause) = self.pump() {
            self.gone(&cause);
        }
    }

    fn pump(&self) -> io::Result<()> {
        let mut buf = vec![0; VnetHeader::LEN + MAX_FRAME + 1];
        while self.wait()? {
            self.read_batch(&mut buf)?;
        }
        Ok(())
    }

    /// Sleeps until there is something to read; false when the thread shall end.
    fn wait(&self) -> io::Result<bool> {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [watch(self.device.poll_fd()), watch(self.stop.as_raw_fd())];
        // SAFETY: poll reads and writes these two structs only.
        if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) } < 0 {
            let cause = io::Error::last_os_error();
            // Signals are blocked, but a debugger interrupts too. A look at an empty tap costs nothing.
            return if cause.kind() == io::ErrorKind::Interrupted { Ok(true) } else { Err(cause) };
        }
        match (fds[0].revents, fds[1].revents) {
            (_, stop) if stop != 0 => Ok(false),
            // The kernel reports a deleted tap as an error, and may do so without POLLIN.
            (tap, _) if tap & (libc::POLLERR | libc::POLLNVAL) != 0 => Err(io::Error::from_raw_os_error(libc::EBADFD)),
            _ => Ok(true),
        }
    }

    fn read_batch(&self, buf: &mut [u8]) -> io::Result<()> {
        for _ in 0..BATCH {
            match self.device.read(buf) {
                Ok(length) => self.input(&buf[..length]),
                Err(cause) if matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    return Ok(());
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn input(&self, bytes: &[u8]) {
        let Some((header, bytes)) = bytes.split_first_chunk() else { return };
        let vnet = VnetHeader(*header);
        self.switch.input(self.port, &Frame { vnet, bytes, segments: segments(&vnet, bytes.len()) });
    }

    fn gone(&self, cause: &io::Error) {
        let name = self.device.name();
        let text = match cause.raw_os_error() {
            Some(libc::EBADFD) => format!("tap '{name}' was deleted"),
            _ => format!("cannot read from tap '{name}': {cause}"),
        };
        self.switch.remove_port(self.port);
        self.queue.push(RecordType::PortGone, self.port, &[text.as_bytes()]);
    }
}

/// How many frames on the wire a frame of `length` bytes with this virtio header is: 1 without gso_type, else its payload in
/// pieces of gso_size behind hdr_len bytes of headers.
fn segments(vnet: &VnetHeader, length: usize) -> u16 {
    let [_, gso_type, h0, h1, s0, s1, ..] = vnet.0;
    let headers = usize::from(u16::from_ne_bytes([h0, h1])).max(ETHERNET_HEADER);
    let size = usize::from(u16::from_ne_bytes([s0, s1]));
    if gso_type == 0 || size == 0 {
        return 1;
    }
    length.saturating_sub(headers).div_ceil(size).clamp(1, usize::from(u16::MAX)) as u16
}

fn event_fd() -> Result<OwnedFd> {
    // SAFETY: eventfd takes no pointers; the result is checked before it is owned.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::last_os("cannot make an eventfd"));
    }
    // SAFETY: fd is a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_frame_is_one_segment_and_a_super_frame_as_many_as_it_will_be_cut_into() {
        assert_eq!(segments(&VnetHeader::default(), 1514), 1);
        let mut header = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&66u16.to_ne_bytes());
        header[4..6].copy_from_slice(&1448u16.to_ne_bytes());
        assert_eq!(segments(&VnetHeader(header), 66 + 1448 * 3), 3);
        assert_eq!(segments(&VnetHeader(header), 66 + 1448 * 3 + 1), 4);
        assert_eq!(segments(&VnetHeader(header), 60), 1);
    }
}
