// SPDX-License-Identifier: MIT
//! ipop.h and the Rust and TypeScript that follow it say the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ipop_base::{Drop, RecordType};

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The header without its comments.
fn header() -> String {
    let text = file("../include/ipop.h");
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    code + rest
}

fn declared_functions() -> BTreeSet<String> {
    let header = header();
    let names = header.lines().filter_map(|line| line.strip_prefix("int ipop_")?.split_once('('));
    names.map(|(name, _)| format!("ipop_{name}")).collect()
}

/// Name (without prefix) and number of each entry of an enum.
fn entries(name: &str, prefix: &str) -> Vec<(String, usize)> {
    let header = header();
    let body = header.split_once(&format!("enum {name} {{")).unwrap().1.split_once('}').unwrap().0;
    let mut next = 0;
    let entry = |entry: &str| {
        let (name, number) = entry.split_once('=').unwrap_or((entry, ""));
        let number = number.trim().parse().unwrap_or(next);
        next = number + 1;
        (name.trim().strip_prefix(prefix).unwrap().to_owned(), number)
    };
    body.split(',').filter(|entry| !entry.trim().is_empty()).map(entry).collect()
}

fn constant(name: &str) -> i32 {
    let header = header();
    let value = header.lines().find_map(|line| line.strip_prefix(&format!("#define {name} "))).unwrap();
    value.trim().trim_matches(['(', ')']).parse().unwrap()
}

/// `GuardDhcp` as `GUARD_DHCP`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (i, character) in name.chars().enumerate() {
        if i > 0 && character.is_uppercase() {
            out.push('_');
        }
        out.push(character.to_ascii_uppercase());
    }
    out
}

/// The library that cargo has just built for this test: beside it, or one folder up.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let places = [deps.join("libipop.so"), deps.parent().unwrap().join("libipop.so")];
    places.into_iter().find(|path| path.exists()).expect("cargo builds libipop.so with the tests")
}

#[test]
fn the_library_exports_what_the_header_declares_and_nothing_else() {
    let nm =
        Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(library()).output().unwrap();
    assert!(nm.status.success(), "{}", String::from_utf8_lossy(&nm.stderr));
    let exported: BTreeSet<String> = String::from_utf8(nm.stdout).unwrap().lines().map(str::to_owned).collect();
    let declared = declared_functions();
    assert!(declared.len() > 40, "the header was not understood: {declared:?}");
    assert_eq!(exported, declared);
}

#[test]
fn drop_reasons_have_the_header_s_names_and_order_in_rust_and_typescript() {
    use Drop::*;
    let ours = [
        GuardDhcp,
        GuardRa,
        GuardUnparsed,
        ReservedAddress,
        SourceGroup,
        SourceZero,
        SamePort,
        SplitHorizon,
        Policy,
        UpcallLimited,
        UpcallFull,
        UpcallTimeout,
        PortDisabled,
        NoPort,
        Malformed,
        LinkClosed,
        LinkFull,
        TapWrite,
        CarriageMalformed,
        FragmentTimeout,
        FragmentFull,
        FragmentMismatch,
        Oversize,
        SealInvalid,
        SealReplayed,
        SealEpoch,
        QueueEarly,
        CircuitBreaker,
    ];
    let mut expected: Vec<(String, usize)> =
        ours.iter().map(|why| (screaming(&format!("{why:?}")), *why as usize)).collect();
    expected.push(("COUNT".into(), Drop::COUNT));
    assert_eq!(entries("ipop_drop", "IPOP_DROP_"), expected);

    let typescript = file("../../src/native/datapath.ts");
    let list = typescript.split_once("DROP_NAMES = [").unwrap().1.split_once(']').unwrap().0;
    let names: Vec<String> =
        list.split(',').map(|name| name.trim().trim_matches('\'').to_owned()).filter(|name| !name.is_empty()).collect();
    let kebab: Vec<String> =
        expected[..Drop::COUNT].iter().map(|(name, _)| name.to_lowercase().replace('_', "-")).collect();
    assert_eq!(names, kebab);
}

#[test]
fn record_types_have_the_header_s_numbers() {
    use RecordType::*;
    let ours = [
        Upcall,
        PortGone,
        LinkLocal,
        LinkCandidate,
        LinkGathered,
        LinkUp,
        LinkLost,
        LinkMessage,
        StreamOpen,
        StreamData,
        StreamClosed,
        CtlRequest,
        Pbkdf2,
        Interfaces,
        Srv,
        LinkMoved,
    ];
    let expected: Vec<_> = ours.iter().map(|kind| (screaming(&format!("{kind:?}")), *kind as usize)).collect();
    // Rust's word ends in a digit, which starts no new word.
    assert_eq!(entries("ipop_record", "IPOP_REC_"), expected);
}

#[test]
fn misses_and_constants_are_the_header_s() {
    use ipop_datapath::{Miss, OUT_DROP, OUT_FLOOD, OUT_RULES, PortCounters};
    let misses = [("SOURCE", Miss::Source), ("MOVED", Miss::Moved), ("DESTINATION", Miss::Destination)];
    assert_eq!(entries("ipop_miss", "IPOP_MISS_"), misses.map(|(name, miss)| (name.to_owned(), miss as usize)));
    assert_eq!(constant("IPOP_ABI_VERSION"), ipop::ABI_VERSION);
    assert_eq!(
        (constant("IPOP_OUT_DROP"), constant("IPOP_OUT_FLOOD"), constant("IPOP_OUT_RULES")),
        (OUT_DROP, OUT_FLOOD, OUT_RULES)
    );
    assert_eq!((constant("IPOP_ROLE_OFFER"), constant("IPOP_ROLE_ANSWER")), (0, 1));
    assert_eq!(PortCounters::LEN, 8 * (5 + Drop::COUNT));
    let hashes = [constant("IPOP_SHA1"), constant("IPOP_SHA256")]
        .map(|n| ipop_io::HashAlgorithm::from_number(n).unwrap().digest_len());
    assert_eq!(hashes, [20, 32]);
}
