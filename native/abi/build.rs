// SPDX-License-Identifier: MIT
//! Links libipop.so so that it uses its own copy of what it brings: a runtime may carry another libdatachannel or C++ library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // native/link/src/dtls_guard.rs, juice_guard.rs and juice_socket.rs
    println!("cargo::rustc-link-arg=-Wl,--wrap=BIO_write");
    println!("cargo::rustc-link-arg=-Wl,--wrap=juice_create,--wrap=juice_destroy,--wrap=juice_send_diffserv");
    println!("cargo::rustc-link-arg=-Wl,--wrap=recvfrom,--wrap=sendto,--wrap=poll");
}
