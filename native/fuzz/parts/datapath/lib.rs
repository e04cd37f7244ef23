// SPDX-License-Identifier: MIT
//! Pure modules of native/datapath. A new module that parses gets a line here.
#![allow(dead_code, missing_docs, reason = "only a part of the crate is here")]

#[path = "../../../datapath/src/guard.rs"]
pub mod guard;
#[path = "../../../datapath/src/parse.rs"]
pub mod parse;
