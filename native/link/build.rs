// SPDX-License-Identifier: MIT
//! Leads libdatachannel's calls of BIO_write through src/dtls_guard.rs, in this crate's tests. Crates that link a program or library say
//! the same in a build.rs of theirs: cargo passes link arguments on to nobody.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,--wrap=BIO_write");
}
