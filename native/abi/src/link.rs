// SPDX-License-Identifier: MIT
//! Links.

use std::ffi::c_int;
use std::sync::Arc;

use ipop_base::{DropCounters, Error, FrameSink, Handle, PortTransmit, Result, TextMap};
use ipop_datapath::{PortKind as SwitchPortKind, Switch};
use ipop_link::{Links, PortRegistrar, Role};

use crate::call::{buffer, bytes, put, run, text};
use crate::process::{PortEntry, PortKind, Process, with};

/// A link becomes a port of this switch.
struct Registrar<'a>(&'a Arc<Switch>);

impl PortRegistrar for Registrar<'_> {
    fn register(&self, port: Handle, transmit: Arc<dyn PortTransmit>, drops: Arc<DropCounters>) -> Arc<dyn FrameSink> {
        self.0.add_port(port, SwitchPortKind::Link, transmit, drops);
        self.0.clone()
    }

    fn network(&self) -> Handle {
        self.0.handle()
    }
}

/// ipop.h: makes a link.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_open(sw: c_int, role: c_int, config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        let role = match role {
            0 => Role::Offer,
            1 => Role::Answer,
            _ => return Err(Error::new(libc::EINVAL, format!("{role} is no role"))),
        };
        with(|process| {
            let switch = process.switch(sw)?.clone();
            let link = process.links.open(&Registrar(&switch), role, &config)?;
            process.ports.insert(link, PortEntry { switch, kind: PortKind::Link });
            Ok(link)
        })
    })
}

/// ipop.h: the peer's description.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_remote(link: c_int, config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        with_link(link, |links| links.set_remote(link, &config).map(|()| 0))
    })
}

/// ipop.h: one candidate of the peer.
///
/// # Safety
/// `candidate` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_candidate(link: c_int, candidate: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let candidate = unsafe { text(candidate, len, "the candidate") }?;
        with_link(link, |links| links.add_candidate(link, candidate).map(|()| 0))
    })
}

/// ipop.h: sends a message on the control channel.
///
/// # Safety
/// `message` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_send(link: c_int, message: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let message = unsafe { bytes(message, len) }?;
        with_link(link, |links| links.send(link, message).map(|()| 0))
    })
}

/// ipop.h: begins with the express carriage.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_express(link: c_int, config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        with_link(link, |links| links.express(link, &config).map(|()| 0))
    })
}

/// ipop.h: how the links of a switch are shaped.
///
/// # Safety
/// `config` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_switch_shape(sw: c_int, config: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let config = TextMap::parse(unsafe { bytes(config, len) }?)?;
        with(|process| {
            let network = process.switch(sw)?.handle();
            process.links.shape(network, &config).map(|()| 0)
        })
    })
}

/// ipop.h: state and selected pair of a link.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_link_info(link: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        with_link(link, |links| put(buf, &links.info(link)?))
    })
}

/// ipop.h: closes a link.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_link_close(link: c_int) -> c_int {
    run(|| {
        with(|process| {
            check(process, link)?;
            process.close_port(link).map(|()| 0)
        })
    })
}

fn with_link(link: Handle, body: impl FnOnce(&Links) -> Result<c_int>) -> Result<c_int> {
    with(|process| {
        check(process, link)?;
        body(&process.links)
    })
}

fn check(process: &Process, link: Handle) -> Result<()> {
    match process.ports.get(&link) {
        Some(PortEntry { kind: PortKind::Link, .. }) => Ok(()),
        _ => Err(Error::new(libc::ENOENT, format!("there is no link {link}"))),
    }
}
