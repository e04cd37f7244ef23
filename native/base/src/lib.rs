// SPDX-License-Identifier: MIT
//! What every native part shares: errors, drop reasons, the record queue to TypeScript, and the seam between switch and ports.

mod drops;
mod error;
mod event_fd;
mod frame;
mod handle;
mod queue;
mod text_map;
mod thread;
mod worker;

pub use drops::{Drop, DropCounters};
pub use error::{Error, Result};
pub use event_fd::EventFd;
pub use frame::{Frame, FrameSink, Ingress, PortTransmit, VnetHeader};
pub use handle::{Handle, next_handle};
pub use queue::{RecordQueue, RecordType};
pub use text_map::{TextMap, TextMapWriter};
pub use thread::{lock, spawn};
pub use worker::{Source, Token, Worker, Workers, is_later};
