// SPDX-License-Identifier: MIT
//! Modules of native/io that parse, without TLS. A new one gets a line here.
#![allow(dead_code, missing_docs, reason = "only a part of the crate is here")]

#[path = "../../../io/src/srv/answer.rs"]
pub mod answer;
#[path = "../../../io/src/control/connection.rs"]
pub mod connection;
#[path = "../../../io/src/interfaces/netlink.rs"]
pub mod netlink;
#[path = "../../../io/src/streams/opening.rs"]
pub mod opening;
#[path = "../../../io/src/sys.rs"]
pub mod sys;
#[path = "../../../io/src/interfaces/watch.rs"]
pub mod watch;
