// SPDX-License-Identifier: MIT
//! What the links of one network share: how fast frames leave and arrive in all, and how their datagrams are marked.
//!
//! Nothing waits here as long as nothing must: without a rate, and while the socket takes what it is given, a frame passes by one look at
//! an atomic. Else it waits in a `Side`, fair between links and flows, until a timer says that it may go.
//!
//! What arrives is queued, too, before it goes to the switch, not merely dropped beyond the rate: the line itself has carried it already,
//! and CoDel, which tells each flow as early as needed, needs a queue in which waiting can be measured. A policer would
//! hit all flows alike, and most those that send least evenly.

mod exit;
mod side;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ipop_base::{Error, Handle, Result, TextMap, Token, Worker};

pub use exit::{Arrivals, Exit, Inward, wire_bytes};
use side::Drain;
pub use side::Side;

/// Rates in kbit/s that may be asked for: slower is no link, and faster is what needs no queue here.
const KBIT: std::ops::RangeInclusive<u64> = 64..=10_000_000;
const MAX_DSCP: u64 = 63;

/// How the links of a network are shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShapeSettings {
    /// Bits that leave, in 1000 a second, headers of UDP and IP included.
    pub up_kbit: Option<u64>,
    /// The same for what arrives.
    pub down_kbit: Option<u64>,
    /// Differentiated services code point (RFC 2474) of what is sent.
    pub dscp: u8,
}

impl ShapeSettings {
    /// Reads the config of ipop_switch_shape. EINVAL: not a number, or out of range.
    pub fn parse(config: &TextMap) -> Result<Self> {
        let number = |name: &str, range: std::ops::RangeInclusive<u64>| match config.get(name) {
            None | Some("0") => Ok(None),
            Some(text) => text.parse().ok().filter(|value| range.contains(value)).map(Some).ok_or_else(|| {
                let text = format!("{name} is '{text}', not a number from {} to {}, or 0", range.start(), range.end());
                Error::new(libc::EINVAL, text)
            }),
        };
        Ok(Self {
            up_kbit: number("up_kbit", KBIT)?,
            down_kbit: number("down_kbit", KBIT)?,
            dscp: number("dscp", 1..=MAX_DSCP)?.unwrap_or(0) as u8,
        })
    }
}

/// What the links of one network share.
pub struct Shape {
    /// Frames on their way out.
    pub up: Arc<Side>,
    /// Frames on their way in.
    pub down: Arc<Side>,
    /// DSCP, where the DS field has it.
    tos: AtomicU8,
    worker: Arc<Worker>,
    tokens: Mutex<Vec<Token>>,
}

impl Shape {
    /// No rates, no mark. `worker` sends what waited; it must outlive this.
    pub fn new(worker: Arc<Worker>) -> Result<Arc<Self>> {
        let (up, down) = (Arc::new(Side::new()?), Arc::new(Side::new()?));
        let mut tokens = Vec::with_capacity(2);
        for side in [&up, &down] {
            tokens.push(worker.add(Box::new(Drain(side.clone())))?);
        }
        Ok(Arc::new(Self { up, down, tos: AtomicU8::new(0), worker, tokens: Mutex::new(tokens) }))
    }

    /// Counts for all links of the network, at once.
    pub fn configure(&self, settings: &ShapeSettings) {
        self.up.configure(settings.up_kbit);
        self.down.configure(settings.down_kbit);
        self.tos.store(settings.dscp << 2, Ordering::Relaxed);
    }

    /// The DS field of what is sent, without ECN.
    pub fn tos(&self) -> u8 {
        self.tos.load(Ordering::Relaxed)
    }

    /// Drops what waits of this link.
    pub fn forget(&self, link: Handle) {
        self.up.forget(link);
        self.down.forget(link);
    }

    /// The network is closed. Waits for the worker.
    pub fn close(&self) {
        let tokens = std::mem::take(&mut *self.tokens.lock().unwrap_or_else(PoisonError::into_inner));
        tokens.into_iter().for_each(|token| self.worker.remove(token));
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shape")
    }
}

#[cfg(test)]
#[path = "shape/tests.rs"]
mod tests;
