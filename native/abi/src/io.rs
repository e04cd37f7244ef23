// SPDX-License-Identifier: MIT
//! Streams, the control socket, identity and hashes, files and interfaces.

use std::ffi::c_int;
use std::sync::Mutex;
use std::time::Duration;

use ipop_base::{Error, Handle, Result, TextMap, lock};
use ipop_datapath::Tap;
use ipop_io::{Control, HashAlgorithm, Identity, control_call, crypto, files, interfaces, verify};

use crate::call::{array, buffer, bytes, put, run, text};
use crate::process::{PortKind, Process, with};

/// What a person waits for a command's answer.
const CONTROL_CALL_WITHIN: Duration = Duration::from_secs(5);

/// Apart from the process: the command line and tests sign without threads.
static IDENTITY: Mutex<Option<Identity>> = Mutex::new(None);

/// At the stop of the process.
pub(crate) fn forget_identity() {
    *lock(&IDENTITY) = None;
}

/// ipop.h: opens a TLS stream.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_stream_open(config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        with(|process| process.streams.open(&config))
    })
}

/// ipop.h: queues bytes for a stream.
///
/// # Safety
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_stream_write(stream: c_int, data: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let data = unsafe { bytes(data, len) }?;
        with(|process| process.streams.write(stream, data).map(|()| 0))
    })
}

/// ipop.h: closes a stream.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_stream_close(stream: c_int) -> c_int {
    run(|| with(|process| process.streams.close(stream).map(|()| 0)))
}

/// ipop.h: asks DNS for SRV records.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_srv_lookup(config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        with(|process| process.srv.start(&config))
    })
}

/// ipop.h: listens for local requests.
///
/// # Safety
/// `path` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_ctl_listen(path: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let path = unsafe { text(path, len, "the socket's path") }?;
        with(|process| {
            if process.control.is_some() {
                return Err(Error::new(libc::EALREADY, "the control socket is open already"));
            }
            process.control = Some(Control::listen(process.queue.clone(), path)?);
            Ok(0)
        })
    })
}

/// ipop.h: answers a local request.
///
/// # Safety
/// `data` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_ctl_reply(connection: c_int, data: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let data = unsafe { bytes(data, len) }?;
        with(|process| match &process.control {
            Some(control) => control.reply(connection, data).map(|()| 0),
            None => Err(Error::new(libc::ENOENT, "there is no control socket")),
        })
    })
}

/// ipop.h: asks a running daemon.
///
/// # Safety
/// `path` and `request` point to so many readable bytes, `buf` to `cap` writable ones that overlap neither.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_ctl_call(
    path: *const u8,
    path_len: c_int,
    request: *const u8,
    len: c_int,
    buf: *mut u8,
    cap: c_int,
) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (path, request, buf) =
            unsafe { (text(path, path_len, "the socket's path")?, bytes(request, len)?, buffer(buf, cap)?) };
        put(buf, &control_call(path, request, CONTROL_CALL_WITHIN)?)
    })
}

/// ipop.h: random bytes.
///
/// # Safety
/// `buf` points to `len` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_random(buf: *mut u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        crypto::random(unsafe { buffer(buf, len) }?).map(|()| len)
    })
}

/// ipop.h: a digest.
///
/// # Safety
/// `data` points to `len` readable bytes, `out` to `cap` writable ones that do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_hash(algorithm: c_int, data: *const u8, len: c_int, out: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (data, out) = unsafe { (bytes(data, len)?, buffer(out, cap)?) };
        put(out, &crypto::hash(HashAlgorithm::from_number(algorithm)?, data))
    })
}

/// ipop.h: a keyed digest.
///
/// # Safety
/// `key` and `data` point to so many readable bytes, `out` to `cap` writable ones that overlap neither.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_hmac(
    algorithm: c_int,
    key: *const u8,
    key_len: c_int,
    data: *const u8,
    len: c_int,
    out: *mut u8,
    cap: c_int,
) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (key, data, out) = unsafe { (bytes(key, key_len)?, bytes(data, len)?, buffer(out, cap)?) };
        put(out, &crypto::hmac(HashAlgorithm::from_number(algorithm)?, key, data))
    })
}

/// ipop.h: derives a key on a native thread.
///
/// # Safety
/// `password` and `salt` point to so many readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_pbkdf2(
    algorithm: c_int,
    password: *const u8,
    password_len: c_int,
    salt: *const u8,
    salt_len: c_int,
    rounds: c_int,
) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (password, salt) = unsafe { (bytes(password, password_len)?, bytes(salt, salt_len)?) };
        let algorithm = HashAlgorithm::from_number(algorithm)?;
        // A negative count becomes 0, which is refused with the bounds.
        let rounds = u32::try_from(rounds).unwrap_or(0);
        with(|process| process.pbkdf2.start(algorithm, password, salt, rounds))
    })
}

/// ipop.h: loads this node's key, or makes it once.
///
/// # Safety
/// `path` points to `path_len` readable bytes, `public_key` to `cap` writable ones that do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_identity_open(
    path: *const u8,
    path_len: c_int,
    public_key: *mut u8,
    cap: c_int,
) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (path, out) = unsafe { (text(path, path_len, "the key's path")?, buffer(public_key, cap)?) };
        let identity = Identity::open(path)?;
        let length = put(out, &identity.public_key())?;
        *lock(&IDENTITY) = Some(identity);
        Ok(length)
    })
}

/// ipop.h: signs by the opened identity.
///
/// # Safety
/// `data` points to `len` readable bytes, `signature` to `cap` writable ones that do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_sign(data: *const u8, len: c_int, signature: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (data, out) = unsafe { (bytes(data, len)?, buffer(signature, cap)?) };
        match lock(&IDENTITY).as_ref() {
            Some(identity) => put(out, &identity.sign(data)),
            None => Err(Error::new(libc::ENOENT, "no identity was opened")),
        }
    })
}

/// ipop.h: whether a signature is good.
///
/// # Safety
/// `public_key` points to 32 readable bytes, `data` to `len`, `signature` to 64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_verify(
    public_key: *const u8,
    data: *const u8,
    len: c_int,
    signature: *const u8,
) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (public_key, data, signature) =
            unsafe { (array::<32>(public_key)?, bytes(data, len)?, array::<64>(signature)?) };
        Ok(c_int::from(verify(&public_key, data, &signature)))
    })
}

/// ipop.h: reads a file.
///
/// # Safety
/// `path` points to `path_len` readable bytes, `buf` to `cap` writable ones that do not overlap.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_file_read(path: *const u8, path_len: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (path, buf) = unsafe { (text(path, path_len, "the path")?, buffer(buf, cap)?) };
        put(buf, &files::read(path, buf.len())?)
    })
}

/// ipop.h: writes a file whole or not at all.
///
/// # Safety
/// `path` and `data` point to so many readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_file_write(path: *const u8, path_len: c_int, data: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let (path, data) = unsafe { (text(path, path_len, "the path")?, bytes(data, len)?) };
        files::write_atomic(path, data).map(|()| 0)
    })
}

/// ipop.h: the host's name.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_host_name(buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        put(buf, files::host_name()?.as_bytes())
    })
}

/// ipop.h: puts a tap into a bridge.
///
/// # Safety
/// `bridge` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_bridge_join(port: c_int, bridge: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let bridge = unsafe { text(bridge, len, "the bridge's name") }?;
        with(|process| interfaces::bridge_join(tap(process, port)?.name(), bridge).map(|()| 0))
    })
}

/// ipop.h: the bridge a tap is in.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_bridge_of(port: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        let bridge = with(|process| interfaces::bridge_of(tap(process, port)?.name()))?;
        put(buf, bridge.unwrap_or_default().as_bytes())
    })
}

/// ipop.h: whether a link over this address would run inside another link.
///
/// # Safety
/// `address` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_address_overlay(address: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let address = unsafe { text(address, len, "the address") }?;
        let taps = with(|process| Ok(tap_names(process)))?;
        interfaces::address_is_overlay(address, &taps).map(c_int::from)
    })
}

fn tap(process: &Process, port: Handle) -> Result<&Tap> {
    match &process.port(port)?.kind {
        PortKind::Tap(tap) => Ok(tap),
        _ => Err(Error::new(libc::EINVAL, format!("port {port} is no tap"))),
    }
}

fn tap_names(process: &Process) -> Vec<String> {
    let taps = process.ports.values().filter_map(|entry| match &entry.kind {
        PortKind::Tap(tap) => Some(tap.name().to_owned()),
        _ => None,
    });
    taps.collect()
}
