// SPDX-License-Identifier: MIT
//! The identity file: made once, kept private, never overwritten; signatures as in RFC 8032. And the other small files.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use ipop_io::{Identity, files, verify};
use support::Folder;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn write(path: &str, data: &[u8], mode: u32) {
    std::fs::write(path, data).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_key_is_made_once_privately_and_is_the_same_ever_after() {
    let folder = Folder::new();
    let path = folder.file("keys/identity");
    let first = Identity::open(&path).unwrap();
    let second = Identity::open(&path).unwrap();
    assert_eq!(first.public_key(), second.public_key());
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&folder.file("keys"))), (0o600, 0o700));
    assert_eq!(std::fs::read_dir(folder.file("keys")).unwrap().count(), 1, "no temporary file is left");
    assert!(verify(&first.public_key(), b"offer", &second.sign(b"offer")));
    assert!(!verify(&first.public_key(), b"other", &second.sign(b"offer")));
}

#[test]
fn many_who_start_at_once_end_with_one_key() {
    let folder = Folder::new();
    let path = folder.file("identity");
    let barrier = Barrier::new(12);
    let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            Identity::open(&path).unwrap().public_key()
        };
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(folder.names(), ["identity"]);
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let folder = Folder::new();
    let path = folder.file("identity");
    Identity::open(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let error = Identity::open(&path).unwrap_err();
    assert_eq!(error.errno, libc::EPERM);
    assert!(error.text.ends_with(&format!("(mode 0640): run chmod 600 {path}")), "{}", error.text);
}

#[test]
fn a_corrupted_key_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    for (name, content) in [("empty", &b""[..]), ("text", b"hello"), ("long", &[0x30; 5000])] {
        let path = folder.file(name);
        write(&path, content, 0o600);
        let error = Identity::open(&path).unwrap_err();
        assert_eq!(error.errno, libc::EBADMSG, "{name}: {}", error.text);
        assert_eq!(std::fs::read(&path).unwrap(), content, "{name}");
    }
}

#[test]
fn a_folder_in_place_of_the_key_and_a_missing_grandparent_are_told() {
    let folder = Folder::new();
    let error = Identity::open(folder.path().to_str().unwrap()).unwrap_err();
    assert_eq!(error.errno, libc::EISDIR, "{}", error.text);
    let error = Identity::open(&folder.file("a/b/identity")).unwrap_err();
    assert_eq!(error.errno, libc::ENOENT, "{}", error.text);
}

#[test]
fn signatures_are_those_of_rfc_8032_also_from_a_key_without_its_public_half() {
    let folder = Folder::new();
    let path = folder.file("identity");
    // Section 7.1, test 2, as PKCS#8 version 1 (RFC 8410 section 7).
    let mut der = bytes("302e020100300506032b657004220420");
    der.extend(bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
    write(&path, &der, 0o600);
    let identity = Identity::open(&path).unwrap();
    assert_eq!(
        identity.public_key().to_vec(),
        bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    );
    let signature = bytes(concat!(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    ));
    assert_eq!(identity.sign(&[0x72]).to_vec(), signature);
    assert!(verify(&identity.public_key(), &[0x72], &signature));
    assert!(!verify(&[0; 31], &[0x72], &signature), "a key of the wrong length");
}

#[test]
fn a_file_is_written_whole_privately_and_with_its_folder() {
    let folder = Folder::new();
    let path = folder.file("state/boot");
    files::write_atomic(&path, b"1").unwrap();
    files::write_atomic(&path, b"22").unwrap();
    assert_eq!(files::read(&path, 2).unwrap(), b"22");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.file("state")).unwrap().count(), 1);
}

#[test]
fn half_written_files_of_processes_that_are_gone_are_swept_and_all_others_are_left() {
    let folder = Folder::new();
    let alive = format!(".boot.{}-999999.tmp", std::process::id());
    // Above the kernel's highest process id.
    for name in [".boot.4194305-1.tmp", ".identity.key.4194305-2.tmp", "boot.4194305-1.tmp", ".notes.tmp", &alive] {
        write(&folder.file(name), b"half", 0o600);
    }
    files::write_atomic(&folder.file("boot"), b"1").unwrap();
    let mut left = folder.names();
    left.sort();
    assert_eq!(left, [alive.as_str(), ".notes.tmp", "boot", "boot.4194305-1.tmp"]);
}

#[test]
fn a_file_that_is_too_long_missing_or_no_file_is_told_with_its_name() {
    let folder = Folder::new();
    let path = folder.file("long");
    write(&path, b"123", 0o600);
    let error = files::read(&path, 2).unwrap_err();
    assert_eq!((error.errno, error.text), (libc::EFBIG, format!("cannot read '{path}': File too large")));
    let missing = folder.file("missing");
    let error = files::read(&missing, 2).unwrap_err();
    assert_eq!(
        (error.errno, error.text),
        (libc::ENOENT, format!("cannot read '{missing}': No such file or directory"))
    );
    assert_eq!(files::read(folder.path().to_str().unwrap(), 2).unwrap_err().errno, libc::EISDIR);
    let fifo = folder.file("fifo");
    let name = std::ffi::CString::new(fifo.clone()).unwrap();
    // SAFETY: a live, terminated string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(files::read(&fifo, 2).unwrap_err().errno, libc::EINVAL, "does not hang on a FIFO");
}

#[test]
fn the_host_has_a_name() {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(files::host_name().unwrap(), name.trim_end());
}
