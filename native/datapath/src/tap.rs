// SPDX-License-Identifier: MIT
//! A tap as a port: a worker reads what the kernel sends into it; any thread writes.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ipop_base::{
    Drop, DropCounters, Frame, FrameSink, Handle, Ingress, PortTransmit, RecordQueue, RecordType, Result, Source,
    Token, VnetHeader, Worker, is_later, next_handle,
};
use ipop_offload::{Gso, Offload, behead};
use ipop_queue::{Ecn, Standing};

use crate::parse::MAX_SUPER_FRAME;
use crate::port::PortKind;
use crate::switch::Switch;
use crate::tap_device::TapDevice;

/// Frames read before others have their turn, and bytes: super-frames take links longer.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 256 << 10;
/// How long the kernel's queue in front of the tap may never be empty before senders of super-frames are told. Shorter costs them throughput,
/// longer is felt by others where the CPU is slow.
const STANDING_US: u64 = 20_000;

/// A tap device that is a port of a switch; disabled at first. It is not persistent: it goes with this object.
pub struct Tap {
    switch: Arc<Switch>,
    port: Handle,
    device: Arc<TapDevice>,
    worker: Arc<Worker>,
    /// None once it is closed.
    source: Mutex<Option<Token>>,
}

impl Tap {
    /// Makes the tap `name`, sets it up with this mtu (bytes) and lets `worker` read it. When the device is deleted by somebody else, the port
    /// leaves the switch and a PORT_GONE record says so. EBUSY: the name is in use; ENOENT: no /dev/net/tun; EPERM; EINVAL: bad name or
    /// mtu; ESHUTDOWN: the worker has ended.
    pub fn open(
        switch: &Arc<Switch>,
        queue: Arc<RecordQueue>,
        worker: &Arc<Worker>,
        name: &str,
        mtu: u32,
    ) -> Result<Arc<Self>> {
        let device = Arc::new(TapDevice::open(name, mtu)?);
        let port = next_handle();
        let drops = Arc::new(DropCounters::default());
        switch.add_port(port, PortKind::Lan, device.clone(), drops.clone());
        let reader = Reader {
            switch: switch.clone(),
            ingress: switch.clone().ingress(port),
            queue,
            port,
            device: device.clone(),
            buf: vec![0; VnetHeader::LEN + MAX_SUPER_FRAME + 1].into(),
            drops,
            standing: Standing::new(STANDING_US),
            clock: Instant::now(),
        };
        let source = worker.add(Box::new(reader)).inspect_err(|_| {
            switch.remove_port(port);
        })?;
        let (worker, source) = (worker.clone(), Mutex::new(Some(source)));
        Ok(Arc::new(Self { switch: switch.clone(), port, device, worker, source }))
    }

    /// Its handle.
    pub fn port(&self) -> Handle {
        self.port
    }

    /// The device's name, as it was made.
    pub fn name(&self) -> &str {
        self.device.name()
    }

    /// True when the kernel takes UDP super-frames here.
    pub fn takes_uso(&self) -> bool {
        self.device.takes_uso()
    }

    /// Removes the port, waits for the worker to let go of it, and deletes the device; it is gone when this returns.
    pub fn close(&self) {
        self.switch.remove_port(self.port);
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(source) = source {
            self.worker.remove(source);
        }
        self.device.close();
    }
}

impl std::ops::Drop for Tap {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the worker has of a tap.
struct Reader {
    switch: Arc<Switch>,
    ingress: Box<dyn Ingress>,
    queue: Arc<RecordQueue>,
    port: Handle,
    device: Arc<TapDevice>,
    buf: Box<[u8]>,
    drops: Arc<DropCounters>,
    /// The kernel's queue in front of the tap: 1000 frames are bound enough, 1000 super-frames are not.
    standing: Standing,
    clock: Instant,
}

impl Source for Reader {
    fn fd(&self) -> RawFd {
        self.device.fd()
    }

    fn ready(&mut self) -> bool {
        let result = self.read_batch();
        self.ingress.flush();
        match result {
            Ok(()) => true,
            Err(cause) => {
                self.gone(&cause);
                false
            }
        }
    }
}

impl Reader {
    fn read_batch(&mut self) -> io::Result<()> {
        let (mut frames, mut bytes) = (0, 0);
        while frames < BATCH && bytes < BATCH_BYTES {
            match self.device.read(&mut self.buf) {
                Ok(length) => {
                    (frames, bytes) = (frames + 1, bytes + length);
                    self.input(length);
                }
                Err(cause) if is_later(&cause) => {
                    self.standing.emptied();
                    return Ok(());
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    fn input(&mut self, length: usize) {
        let Some((header, bytes)) = self.buf[..length].split_first_chunk_mut() else { return };
        let vnet = VnetHeader(*header);
        let (mut from, mut segments) = (0, segments(&vnet, bytes));
        let is_long = segments > 1 && self.standing.is_long(self.clock.elapsed().as_micros() as u64);
        if is_long && !Ecn::congested(bytes) {
            let Ok(length) = behead(&vnet, bytes) else {
                return self.drops.add(Drop::QueueEarly, segments.into());
            };
            self.drops.count(Drop::QueueEarly);
            (from, segments) = (length, segments - 1);
        }
        self.ingress.input(&Frame { vnet, bytes: &bytes[from..], tail: &[], segments });
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

/// How many frames on the wire a frame with this virtio header is: 1, or for a super-frame its payload in pieces. Where the payload begins is
/// seen from the transport header, where the checksum starts: what the kernel says of all headers' length is no more than a hint.
fn segments(vnet: &VnetHeader, bytes: &[u8]) -> u16 {
    let Ok(Offload { gso: Some(gso), size, open: Some((transport, _)), .. }) = Offload::read(vnet) else { return 1 };
    let transport = usize::from(transport);
    let header = match gso {
        Gso::Udp => 8,
        Gso::Tcp4 | Gso::Tcp6 => usize::from(bytes.get(transport + 12).copied().unwrap_or_default() >> 4) * 4,
    };
    let payload = bytes.len().saturating_sub(transport + header);
    payload.div_ceil(size.into()).clamp(1, usize::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(gso_type: u8, size: u16, transport: u16) -> VnetHeader {
        let mut header = [1, gso_type, 200, 0, 0, 0, 0, 0, 16, 0];
        header[4..6].copy_from_slice(&size.to_ne_bytes());
        header[6..8].copy_from_slice(&transport.to_ne_bytes());
        VnetHeader(header)
    }

    fn frame(transport: usize, payload: usize) -> Vec<u8> {
        let mut frame = vec![0; transport + payload];
        frame[transport + 12] = 0x80;
        frame
    }

    #[test]
    fn a_plain_frame_is_one_segment_and_a_super_frame_as_many_as_it_will_be_cut_into() {
        assert_eq!(segments(&VnetHeader::default(), &frame(34, 1480)), 1);
        let tcp = |payload: usize| segments(&header(1, 1448, 34), &frame(34, 32 + payload));
        assert_eq!((tcp(1448 * 3), tcp(1448 * 3 + 1), tcp(1), tcp(0)), (3, 4, 1, 1));
        let ecn = header(4 | 0x80, 1000, 58);
        assert_eq!(segments(&ecn, &frame(58, 32 + 5000)), 5);
        assert_eq!(segments(&header(5, 100, 34), &frame(34, 8 + 1000)), 10);
    }

    #[test]
    fn a_header_that_contradicts_its_frame_is_no_reason_to_fail() {
        assert_eq!(segments(&header(1, 0, 34), &frame(34, 1000)), 1);
        assert_eq!(segments(&header(1, 1448, 60_000), &frame(34, 1000)), 1);
        assert_eq!(segments(&header(1, 1, 0), &frame(0, 65_535)), 65_503);
    }
}
