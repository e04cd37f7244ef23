// SPDX-License-Identifier: MIT
//! The socket file: made so that nobody ever sees it with a wrong mode, never in place of a live one; and who may talk to it.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipop_base::{Error, Result};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys;

const MODE: u32 = 0o660;
/// A peer in more groups than this is judged by the first ones.
const MAX_GROUPS: usize = 64;

/// A bound socket and its file, which is removed on drop if it is still ours.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    device: u64,
    inode: u64,
    group: u32,
}

impl Listener {
    /// Binds beside the path, then renames: the file appears whole, with its mode, or not at all.
    pub fn bind(path: &str) -> Result<Self> {
        let failed = |cause: &io::Error| Error::io(&format!("cannot listen at '{path}'"), cause);
        let target = Path::new(path);
        let folder = folder_of(target);
        match DirBuilder::new().mode(0o755).create(folder) {
            Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(failed(&cause)),
            _ => {}
        }
        let lock = lock_folder(folder).map_err(|cause| failed(&cause))?;
        refuse_live(path)?;
        let beside = folder.join(format!(".ipop-{}-{}", std::process::id(), ipop_base::next_handle()));
        let listener = Self::place(&beside, target).map_err(|cause| {
            let _ = std::fs::remove_file(&beside);
            failed(&cause)
        })?;
        drop(lock);
        Ok(listener)
    }

    fn place(beside: &Path, target: &Path) -> io::Result<Self> {
        let _ = std::fs::remove_file(beside);
        let socket = UnixListener::bind(beside)?;
        socket.set_nonblocking(true)?;
        std::fs::set_permissions(beside, Permissions::from_mode(MODE))?;
        std::fs::rename(beside, target)?;
        let file = std::fs::symlink_metadata(target)?;
        Ok(Self { socket, path: target.to_owned(), device: file.dev(), inode: file.ino(), group: file.gid() })
    }

    pub fn socket(&self) -> &UnixListener {
        &self.socket
    }

    /// Whether the peer is root, our own user, or in the socket's group; else the sentence to tell it.
    pub fn admit(&self, peer: &UnixStream) -> std::result::Result<(), String> {
        let group = self.file().map_or(self.group, |file| file.gid());
        let credentials = credentials(peer).map_err(|cause| format!("cannot tell who you are: {cause}"))?;
        // SAFETY: takes nothing, cannot fail.
        let own = unsafe { libc::geteuid() };
        if permitted(credentials.uid, credentials.gid, own, group, || groups(peer)) {
            return Ok(());
        }
        Err(format!("user {} is neither root nor in group {group} of the control socket", credentials.uid))
    }

    /// The file at our path, if it is ours.
    fn file(&self) -> Option<Metadata> {
        let file = std::fs::symlink_metadata(&self.path).ok()?;
        (file.dev() == self.device && file.ino() == self.inode).then_some(file)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.file().is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Two daemons that start at once must not both find the path free. The lock is held for a moment only and leaves nothing behind.
fn lock_folder(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    let mut left = 4;
    loop {
        match sys::try_lock(&folder) {
            Ok(()) => return Ok(folder),
            Err(cause) if cause.kind() != ErrorKind::WouldBlock || left == 0 => return Err(cause),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        left -= 1;
    }
}

/// EADDRINUSE when somebody listens there, EEXIST when it is not a socket.
fn refuse_live(path: &str) -> Result<()> {
    let failed = |cause: &io::Error| Error::io(&format!("cannot listen at '{path}'"), cause);
    match std::fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(&cause)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(Error::new(
                libc::EEXIST,
                format!("cannot listen at '{path}': it is there and is not a socket"),
            ));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(|cause| failed(&cause))?;
    let address = SockAddr::unix(path).map_err(|cause| failed(&cause))?;
    match probe.connect(&address) {
        Err(cause) if matches!(cause.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // Connected, or a listener whose queue is full, or one that we may not ask.
        _ => Err(Error::new(libc::EADDRINUSE, format!("another ipop answers at '{path}' already"))),
    }
}

fn permitted(uid: u32, gid: u32, own: u32, group: u32, others: impl FnOnce() -> Vec<u32>) -> bool {
    uid == 0 || uid == own || gid == group || others().contains(&group)
}

fn credentials(peer: &UnixStream) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: pointers to a live struct and its length.
    let result = unsafe {
        libc::getsockopt(
            peer.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

/// The peer process's supplementary groups as the kernel knows them (SO_PEERGROUPS, Linux 4.13); none when it does not tell.
fn groups(peer: &UnixStream) -> Vec<u32> {
    let mut groups = vec![0u32; MAX_GROUPS];
    let mut length = (MAX_GROUPS * size_of::<u32>()) as libc::socklen_t;
    // SAFETY: pointers to a live array of that many bytes and its length.
    let result = unsafe {
        libc::getsockopt(
            peer.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    groups.truncate(if result == 0 { length as usize / size_of::<u32>() } else { 0 });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_own_user_and_members_of_the_group_are_permitted_and_nobody_else() {
        let none = Vec::new;
        assert!(permitted(0, 0, 500, 600, none), "root");
        assert!(permitted(500, 1, 500, 600, none), "own user");
        assert!(permitted(501, 600, 500, 600, none), "primary group");
        assert!(permitted(501, 1, 500, 600, || vec![7, 600]), "supplementary group");
        assert!(!permitted(501, 1, 500, 600, || vec![7, 8]), "a stranger");
    }
}
