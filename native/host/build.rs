// SPDX-License-Identifier: MIT
//! Compiles the bundle (`dist/ipop.js`, or the file that IPOP_BUNDLE names) to quickjs-ng bytecode, which `main.rs` embeds: it starts
//! five times faster than source, and nothing is ever loaded from the router's disk.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use rquickjs::module::{WriteOptions, WriteOptionsEndianness};
use rquickjs::{CatchResultExt, Context, Module, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    // native/link/src/dtls_guard.rs, juice_guard.rs and juice_socket.rs
    println!("cargo::rustc-link-arg=-Wl,--wrap=BIO_write");
    println!("cargo::rustc-link-arg=-Wl,--wrap=juice_create,--wrap=juice_destroy,--wrap=juice_send_diffserv");
    println!("cargo::rustc-link-arg=-Wl,--wrap=recvfrom,--wrap=sendto,--wrap=poll");
    println!("cargo::rerun-if-env-changed=IPOP_BUNDLE");
    let bundle = env::var_os("IPOP_BUNDLE").map_or_else(|| PathBuf::from("../../dist/ipop.js"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", bundle.display());
    let source = fs::read(&bundle)
        .map_err(|error| format!("cannot read the bundle {} (scripts/build makes it): {error}", bundle.display()))?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("ipop.bytecode");
    fs::write(out, compile(source)?)?;
    Ok(())
}

fn compile(source: Vec<u8>) -> Result<Vec<u8>, Box<dyn Error>> {
    let big = env::var("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let options = WriteOptions {
        endianness: if big { WriteOptionsEndianness::Big } else { WriteOptionsEndianness::Little },
        // Line numbers stay: a stack trace is worth 10 kB.
        strip_source: true,
        ..WriteOptions::default()
    };
    let context = Context::full(&Runtime::new()?)?;
    context.with(|ctx| {
        let compiled = Module::declare(ctx.clone(), "ipop.js", source).and_then(|module| module.write(options));
        compiled.catch(&ctx).map_err(|error| format!("cannot compile the bundle: {error}").into())
    })
}
