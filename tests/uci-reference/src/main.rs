// SPDX-License-Identifier: MIT
//! What the real libuci makes of a configuration file. Reads a file's bytes as one line of hex digits, answers with one line: `refused`, or
//! tokens of hex digits, each `s TYPE NAME` (NAME `-` when anonymous), `o NAME VALUE` or `l NAME VALUE...`; an empty token is `.`.

use std::ffi::{CStr, c_char, c_void};
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::ptr;

use libuci_sys::{
    uci_alloc_context, uci_element, uci_free_context, uci_import, uci_list, uci_option,
    uci_option_type_UCI_TYPE_STRING, uci_section,
};

fn main() {
    let stdin = std::io::stdin().lock();
    let mut stdout = std::io::stdout().lock();
    for line in stdin.lines() {
        let Some(bytes) = line.ok().and_then(|line| unhex(&line)) else { return };
        let answer = import(&bytes).unwrap_or_else(|| "refused".into());
        writeln!(stdout, "{answer}").and_then(|()| stdout.flush()).expect("the reader is there");
    }
}

fn import(bytes: &[u8]) -> Option<String> {
    // SAFETY: the file and the context are this function's own and live until it ends; libuci keeps the lists it hands out well formed.
    unsafe {
        let file = libc::tmpfile();
        assert!(!file.is_null(), "no temporary file");
        assert_eq!(libc::fwrite(bytes.as_ptr().cast::<c_void>(), 1, bytes.len(), file), bytes.len());
        libc::rewind(file);
        let context = uci_alloc_context();
        let mut package = ptr::null_mut();
        // As uci_load does, strict by default.
        let code = uci_import(context, file.cast(), c"ipop".as_ptr(), &raw mut package, true);
        let text = (code == 0)
            .then(|| if package.is_null() { String::new() } else { sections(&raw const (*package).sections) });
        uci_free_context(context);
        libc::fclose(file);
        text
    }
}

unsafe fn sections(list: *const uci_list) -> String {
    let mut text = String::new();
    // SAFETY: a package's list holds sections, a section's list options, and each begins with its element.
    unsafe {
        for element in elements(list) {
            let section = element.cast::<uci_section>();
            let name = if (*section).anonymous { "-".into() } else { hex((*element).name) };
            let _ = write!(text, "s {} {name} ", hex((*section).type_));
            for element in elements(&raw const (*section).options) {
                let option = element.cast::<uci_option>();
                if (*option).type_ == uci_option_type_UCI_TYPE_STRING {
                    let _ = write!(text, "o {} {} ", hex((*element).name), hex((*option).v.string));
                } else {
                    let _ = write!(text, "l {} ", hex((*element).name));
                    for item in elements(&raw const (*option).v.list) {
                        let _ = write!(text, "{} ", hex((*item).name));
                    }
                }
            }
        }
    }
    text
}

/// The list is a ring through its head; `list` is an element's first member.
unsafe fn elements(head: *const uci_list) -> Vec<*mut uci_element> {
    let mut all = Vec::new();
    // SAFETY: every `next` of a ring is valid.
    unsafe {
        let mut at = (*head).next;
        while !ptr::eq(at, head) {
            all.push(at.cast::<uci_element>());
            at = (*at).next;
        }
    }
    all
}

unsafe fn hex(text: *const c_char) -> String {
    // SAFETY: libuci's strings end with a zero.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    if bytes.is_empty() { ".".into() } else { bytes.iter().map(|byte| format!("{byte:02x}")).collect() }
}

fn unhex(line: &str) -> Option<Vec<u8>> {
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(line.get(at..at + 2)?, 16).ok()).collect()
}
