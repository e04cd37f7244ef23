// SPDX-License-Identifier: MIT
//! Small files, whole or not at all, and the host's name.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipop_base::{Error, Result};

/// Reads a file of at most `max` bytes; EFBIG when it is longer, EINVAL when it is not a file.
pub fn read(path: &str, max: usize) -> Result<Vec<u8>> {
    read_bounded(path, max).map_err(|cause| failed("read", path, &cause))
}

/// `read` with a bare cause, for callers with a sentence of their own.
pub(crate) fn read_bounded(path: &str, max: usize) -> io::Result<Vec<u8>> {
    // Not blocking: a FIFO of that name must not hang the daemon.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    read_open(&file, max)
}

/// Reads an open file from its start.
pub(crate) fn read_open(file: &File, max: usize) -> io::Result<Vec<u8>> {
    if file.metadata()?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if !file.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut data = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut data)?;
    if data.len() > max { Err(io::Error::from_raw_os_error(libc::EFBIG)) } else { Ok(data) }
}

/// Writes a file whole or not at all, mode 0600: after a crash or power cut the old or the new one is there. Makes the last folder of
/// the path (0700) if it is missing.
pub fn write_atomic(path: &str, data: &[u8]) -> Result<()> {
    let attempt = || -> io::Result<()> {
        let temporary = Temporary::write(path, data)?;
        std::fs::rename(&temporary.0, path)?;
        sync_folder(path)
    };
    attempt().map_err(|cause| failed("write", path, &cause))
}

/// Like `write_atomic`, but leaves a file alone that is there already: false. Of several processes at once exactly one gets true.
pub(crate) fn create_atomic(path: &str, data: &[u8]) -> io::Result<bool> {
    let temporary = Temporary::write(path, data)?;
    // A hard link, unlike a rename, never replaces.
    match std::fs::hard_link(&temporary.0, path) {
        Ok(()) => {
            drop(temporary);
            sync_folder(path)?;
            Ok(true)
        }
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// A synced file beside the one to be written; goes away when dropped, unless it was renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn write(path: &str, data: &[u8]) -> io::Result<Self> {
        let path = Path::new(path);
        let name = path.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        make_folder(&folder_of(path))?;
        sweep(&folder_of(path));
        let unique = ipop_base::next_handle();
        let beside = format!(".{}.{}-{unique}.tmp", name.to_string_lossy(), std::process::id());
        let temporary = folder_of(path).join(beside);
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
        let mut file = match open() {
            // Left by an earlier process of this id that was killed meanwhile.
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
                std::fs::remove_file(&temporary)?;
                open()?
            }
            other => other?,
        };
        let temporary = Self(temporary);
        file.write_all(data)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Removes what processes that are gone (a power cut, kill -9) left half written, or each of them would leave one more.
fn sweep(folder: &Path) {
    // A folder that cannot be read can be written all the same, and what stays is small.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(writer_of).is_some_and(is_gone) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The process that writes the temporary file of this name; None: it is none of ours.
fn writer_of(name: &str) -> Option<u32> {
    let (_, unique) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, handle) = unique.split_once('-')?;
    handle.parse::<u32>().ok().and(process.parse().ok())
}

fn is_gone(process: u32) -> bool {
    !Path::new(&format!("/proc/{process}")).exists()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(cause),
        // Else a power cut may take the folder away again, with all that was synced in it.
        Ok(()) => sync(&folder_of(folder)),
    }
}

/// So that a name in it survives a power cut too.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_folder(path: &str) -> io::Result<()> {
    sync(&folder_of(Path::new(path)))
}

/// The host's name, as in `hostname`.
pub fn host_name() -> Result<String> {
    let mut name = [0u8; 256];
    // SAFETY: pointer and length of a live array; one byte less keeps it terminated.
    if unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0 {
        return Err(Error::last_os("cannot read the host's name"));
    }
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(String::from_utf8_lossy(&name[..length]).into_owned())
}

fn failed(verb: &str, path: &str, cause: &io::Error) -> Error {
    let text = cause.to_string();
    let why = text.split(" (os error").next().unwrap_or(&text);
    let errno =
        cause.raw_os_error().unwrap_or(if cause.kind() == ErrorKind::InvalidInput { libc::EINVAL } else { libc::EIO });
    Error::new(errno, format!("cannot {verb} '{path}': {why}"))
}
