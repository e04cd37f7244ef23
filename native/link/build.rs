// SPDX-License-Identifier: MIT
//! Leads calls of libdatachannel through src/dtls_guard.rs, src/juice_guard.rs and src/juice_socket.rs, in this crate's tests. Crates that link a
//! program or library say the same in a build.rs of theirs: cargo passes link arguments on to nobody.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-Wl,--wrap=BIO_write");
    println!("cargo::rustc-link-arg=-Wl,--wrap=juice_create,--wrap=juice_destroy,--wrap=juice_send_diffserv");
    println!("cargo::rustc-link-arg=-Wl,--wrap=recvfrom,--wrap=sendto,--wrap=poll");
}
