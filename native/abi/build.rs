// SPDX-License-Identifier: MIT
//! Links libipop.so so that it uses its own copy of what it brings: a runtime may carry another libdatachannel or C++ library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
    // native/link/src/dtls_guard.rs
    println!("cargo::rustc-link-arg=-Wl,--wrap=BIO_write");
}
