// SPDX-License-Identifier: MIT
//! Switches, taps, memory ports and rules.

use std::ffi::c_int;

use ipop_base::{Error, Handle, Result};
use ipop_datapath::{MemoryPort, Switch, Tap};

use crate::call::{array, buffer, bytes, count, put, run, text};
use crate::process::{PortEntry, PortKind, with};

/// Bytes of a rule in ipop_rules_dump.
pub const RULE_SIZE: usize = 28;

/// ipop.h: makes a switch.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_switch_open() -> c_int {
    run(|| {
        with(|process| {
            let switch = Switch::open(process.queue.clone());
            let handle = switch.handle();
            process.switches.insert(handle, switch);
            Ok(handle)
        })
    })
}

/// ipop.h: closes a switch with all its ports.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_switch_close(sw: c_int) -> c_int {
    run(|| with(|process| process.close_switch(sw).map(|()| 0)))
}

/// ipop.h: makes a tap.
///
/// # Safety
/// `name` points to `name_len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_tap_open(sw: c_int, name: *const u8, name_len: c_int, mtu: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let name = unsafe { text(name, name_len, "the tap's name") }?;
        let mtu = u32::try_from(mtu).map_err(|_| Error::new(libc::EINVAL, format!("{mtu} is no mtu")))?;
        with(|process| {
            let switch = process.switch(sw)?.clone();
            let tap = Tap::open(&switch, process.queue.clone(), process.workers.taps(), name, mtu)?;
            let port = tap.port();
            process.ports.insert(port, PortEntry { switch, kind: PortKind::Tap(tap) });
            Ok(port)
        })
    })
}

/// ipop.h: makes a port without a device.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_memory_open(sw: c_int, is_link: c_int) -> c_int {
    run(|| {
        with(|process| {
            let switch = process.switch(sw)?.clone();
            let memory = MemoryPort::open(&switch, is_link != 0);
            let port = memory.port();
            process.ports.insert(port, PortEntry { switch, kind: PortKind::Memory(memory) });
            Ok(port)
        })
    })
}

/// ipop.h: a frame comes in at a memory port.
///
/// # Safety
/// `frame` points to `len` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_memory_write(port: c_int, frame: *const u8, len: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let frame = unsafe { bytes(frame, len) }?;
        with_memory(port, |memory| memory.write(frame).map(|()| 0))
    })
}

/// ipop.h: takes a frame that went out of a memory port.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_memory_read(port: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        with_memory(port, |memory| count(memory.read(buf)?))
    })
}

/// ipop.h: lets frames in and out of a port, or not.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_port_enable(port: c_int, on: c_int) -> c_int {
    run(|| with(|process| process.port(port)?.switch.enable_port(port, on != 0).map(|()| 0)))
}

/// ipop.h: a port stands in for another.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_port_stand_in(port: c_int, of: c_int) -> c_int {
    run(|| with(|process| process.port(port)?.switch.stand_in(port, of).map(|()| 0)))
}

/// ipop.h: closes a tap or memory port.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_port_close(port: c_int) -> c_int {
    run(|| {
        with(|process| match process.port(port)?.kind {
            PortKind::Link => Err(Error::new(libc::EINVAL, format!("port {port} is a link: use ipop_link_close"))),
            _ => process.close_port(port).map(|()| 0),
        })
    })
}

/// ipop.h: what a port has done.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_port_counters(port: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        with(|process| put(buf, &process.port(port)?.switch.port_counters(port)?.to_bytes()))
    })
}

/// ipop.h: sets a rule.
///
/// # Safety
/// `mac` points to 6 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_rule_set(sw: c_int, mac: *const u8, vlan: c_int, out: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let mac = unsafe { array::<6>(mac) }?;
        let vlan = vlan_id(vlan)?;
        with(|process| process.switch(sw)?.rule_set(mac, vlan, out).map(|()| 0))
    })
}

/// ipop.h: deletes a rule.
///
/// # Safety
/// `mac` points to 6 readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_rule_delete(sw: c_int, mac: *const u8, vlan: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let mac = unsafe { array::<6>(mac) }?;
        let vlan = vlan_id(vlan)?;
        with(|process| process.switch(sw)?.rule_delete(mac, vlan).map(|()| 0))
    })
}

/// ipop.h: deletes the rules that lead to a port, or all.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_rules_flush(sw: c_int, port: c_int) -> c_int {
    run(|| with(|process| count(process.switch(sw)?.rules_flush(port))))
}

/// ipop.h: rules from an index on.
///
/// # Safety
/// `buf` points to `cap` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipop_rules_dump(sw: c_int, start: c_int, buf: *mut u8, cap: c_int) -> c_int {
    run(|| {
        // SAFETY: as our caller promises.
        let buf = unsafe { buffer(buf, cap) }?;
        let start = usize::try_from(start).map_err(|_| Error::new(libc::EINVAL, format!("{start} is no index")))?;
        if buf.len() < RULE_SIZE {
            return Err(Error::new(libc::EINVAL, format!("a buffer of {cap} bytes holds no rule")));
        }
        with(|process| count(process.switch(sw)?.rules_dump(start, buf)))
    })
}

/// ipop.h: ends an upcall.
#[unsafe(no_mangle)]
pub extern "C" fn ipop_upcall_finish(sw: c_int, id: c_int, out: c_int) -> c_int {
    // The record's u32 comes back as the int of the same bits.
    run(|| with(|process| process.switch(sw)?.upcall_finish(id.cast_unsigned(), out).map(|()| 0)))
}

fn with_memory(port: Handle, body: impl FnOnce(&MemoryPort) -> Result<c_int>) -> Result<c_int> {
    with(|process| match &process.port(port)?.kind {
        PortKind::Memory(memory) => body(memory),
        _ => Err(Error::new(libc::EINVAL, format!("port {port} is no memory port"))),
    })
}

fn vlan_id(vlan: c_int) -> Result<u16> {
    u16::try_from(vlan).map_err(|_| Error::new(libc::EINVAL, format!("{vlan} is no VLAN id")))
}
