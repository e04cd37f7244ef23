// SPDX-License-Identifier: MIT
//! Where frames go after they waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipop_base::{Drop, DropCounters, Frame, FrameSink, Handle, Ingress};

use super::Side;

/// Headers of a super-frame that each of its segments has, at most as far as they are counted.
const MAX_HEADERS: usize = 256;

/// Where frames go after they waited: out of a link, or from it into the switch.
pub trait Exit: Send + Sync {
    /// The link.
    fn link(&self) -> Handle;

    /// Gives a frame; what is kept goes with `flush`.
    fn give(&self, frame: &Frame<'_>) -> Result<(), Drop>;

    /// Sends what was kept.
    fn flush(&self);

    /// Where drops are counted.
    fn drops(&self) -> &DropCounters;

    /// Bytes on the wire beside each frame.
    fn overhead(&self) -> usize;

    /// Longest frame that travels whole.
    fn room(&self) -> usize {
        usize::from(u16::MAX)
    }

    /// Tries again after the socket had no room. True: it has again.
    fn retry(&self) -> bool {
        true
    }

    /// The socket has no room.
    fn is_blocked(&self) -> bool {
        false
    }
}

/// What a frame counts for, in bytes on the wire: all its segments, each with its own headers.
pub fn wire_bytes(frame: &Frame<'_>, overhead: usize) -> usize {
    let segments = usize::from(frame.segments.max(1));
    let headers = usize::from(u16::from_ne_bytes([frame.vnet.0[2], frame.vnet.0[3]])).min(MAX_HEADERS);
    frame.len() + (segments - 1) * headers + segments * overhead
}

/// From a link into the switch.
pub struct Inward {
    /// The link, which is also the port.
    pub link: Handle,
    /// The switch.
    pub sink: Arc<dyn FrameSink>,
    /// The link's.
    pub drops: Arc<DropCounters>,
    /// Bytes on the wire beside each frame, as the link knows them.
    pub overhead: Arc<AtomicUsize>,
}

impl Exit for Inward {
    fn link(&self) -> Handle {
        self.link
    }

    fn give(&self, frame: &Frame<'_>) -> Result<(), Drop> {
        self.sink.input(self.link, frame);
        Ok(())
    }

    fn flush(&self) {
        self.sink.flush();
    }

    fn drops(&self) -> &DropCounters {
        &self.drops
    }

    fn overhead(&self) -> usize {
        self.overhead.load(Ordering::Relaxed)
    }
}

/// The way of a link's received frames into the switch.
#[derive(Clone)]
pub struct Arrivals {
    down: Arc<Side>,
    inward: Arc<Inward>,
}

impl Arrivals {
    /// By this side, if something must wait there.
    pub fn new(down: Arc<Side>, inward: Inward) -> Self {
        Self { down, inward: Arc::new(inward) }
    }

    /// A frame came: it goes on at once by `ingress`, unless it must wait.
    #[inline]
    pub fn input(&self, ingress: &mut dyn Ingress, frame: &Frame<'_>) {
        if !self.down.is_busy() {
            return ingress.input(frame);
        }
        let hold = || Some(self.inward.clone() as Arc<dyn Exit>);
        if let Err(why) = self.down.offer(&*self.inward, hold, frame) {
            self.inward.drops.add(why, frame.segments.into());
        }
    }
}

impl std::fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arrivals")
    }
}
