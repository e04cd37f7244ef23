// SPDX-License-Identifier: MIT
//! The ABI as a C caller sees it, from start to stop. One test function: the state is the process's own.

use std::ffi::c_int;

use ipop::*;

fn last_error() -> String {
    let mut text = [0u8; 1024];
    // SAFETY: the array is as long as said.
    let length = unsafe { ipop_last_error(text.as_mut_ptr(), 1024) };
    String::from_utf8(text[..length as usize].to_vec()).unwrap()
}

fn write(port: c_int, frame: &[u8]) -> c_int {
    // SAFETY: the slice is as long as said.
    unsafe { ipop_memory_write(port, frame.as_ptr(), frame.len() as c_int) }
}

fn read(port: c_int) -> Vec<u8> {
    let mut buf = vec![0; 2048];
    // SAFETY: the vector is as long as said.
    let length = unsafe { ipop_memory_read(port, buf.as_mut_ptr(), 2048) };
    assert!(length >= 0, "{}", last_error());
    buf[..length as usize].to_vec()
}

fn set_rule(sw: c_int, last: u8, out: c_int) -> c_int {
    // SAFETY: six bytes are readable.
    unsafe { ipop_rule_set(sw, [2, 0, 0, 0, 0, last].as_ptr(), 0, out) }
}

fn frame(to: u8, from: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5];
    frame.resize(60, 7);
    frame
}

/// The counters of the process, as in ipop.h.
fn counters() -> [u64; 5] {
    let mut counters = [[0u8; 8]; 5];
    // SAFETY: the array is as long as said.
    assert_eq!(unsafe { ipop_process_counters(counters.as_flattened_mut().as_mut_ptr(), 40) }, 40);
    counters.map(u64::from_le_bytes)
}

/// Threads alive, by the process's own counters.
fn threads() -> u64 {
    counters()[2]
}

/// The same, once threads that were joined have left the kernel's list too, which is a little later.
fn settled_threads() -> u64 {
    let mut last = threads();
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let now = threads();
        if now == last {
            return now;
        }
        last = now;
    }
    last
}

#[test]
fn a_process_starts_forwards_reports_and_stops_whole_twice() {
    for _ in 0..2 {
        assert_eq!(ipop_switch_open(), -libc::ENOTCONN);
        assert_eq!(last_error(), "ipop_start was not called");
        assert_eq!(ipop_stop(), 0);
        assert_eq!(ipop_start(), 0, "{}", last_error());
        assert_eq!(ipop_start(), -libc::EALREADY);
        let idle = settled_threads();

        let sw = ipop_switch_open();
        let (lan, link) = (ipop_memory_open(sw, 0), ipop_memory_open(sw, 1));
        assert!(sw > 0 && lan > sw && link > lan);
        assert_eq!((ipop_port_enable(lan, 1), ipop_port_enable(link, 1)), (0, 0));

        // A rule carries; without one there is an upcall, and its end lets the frame go.
        assert_eq!((set_rule(sw, 1, lan), set_rule(sw, 2, link)), (0, 0));
        assert_eq!(write(lan, &frame(2, 1)), 0);
        assert_eq!(read(link), frame(2, 1));
        assert_eq!(write(link, &frame(3, 2)), 0);
        let mut records = vec![0u8; 65536 + 16];
        // SAFETY: the vector is as long as said.
        let length = unsafe { ipop_poll(records.as_mut_ptr(), records.len() as c_int) };
        assert!(length > 16 && records[0] == 1, "no upcall: {length}");
        let id = u32::from_le_bytes(records[16..20].try_into().unwrap());
        assert_eq!(ipop_upcall_finish(sw, id.cast_signed(), lan), 0);
        assert_eq!(read(lan), frame(3, 2));

        // What is refused is named.
        assert_eq!((set_rule(sw, 9, 12345), set_rule(9999, 9, 0)), (-libc::ENOENT, -libc::ENOENT));
        assert_eq!(last_error(), "there is no switch 9999");
        assert_eq!(ipop_link_close(lan), -libc::ENOENT);
        assert_eq!(ipop_port_close(lan), 0);
        assert_eq!(ipop_port_close(lan), -libc::ENOENT);
        assert_eq!(last_error(), format!("there is no port {lan}"));

        assert_eq!(ipop_switch_close(sw), 0);
        assert_eq!(ipop_port_enable(link, 1), -libc::ENOENT);
        assert!(settled_threads() <= idle, "threads of the switch are left");
        assert_eq!(ipop_stop(), 0);
    }
}

#[test]
fn functions_without_state_need_no_start() {
    let mut out = [0u8; 64];
    // SAFETY: every array is as long as said.
    unsafe {
        assert_eq!(ipop_hash(2, b"abc".as_ptr(), 3, out.as_mut_ptr(), 64), 32);
        assert_eq!(out[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(ipop_hash(2, b"abc".as_ptr(), 3, out.as_mut_ptr(), 31), -libc::ENOSPC);
        assert_eq!(ipop_hash(3, b"abc".as_ptr(), 3, out.as_mut_ptr(), 64), -libc::EINVAL);
        assert_eq!(ipop_random(out.as_mut_ptr(), -1), -libc::EINVAL);
        assert!(ipop_host_name(out.as_mut_ptr(), 64) > 0);
        assert_eq!(ipop_verify(out.as_ptr(), b"abc".as_ptr(), 3, out.as_ptr()), 0);
    }
}
