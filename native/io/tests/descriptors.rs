// SPDX-License-Identifier: MIT
//! The control socket when the process has no descriptor left. Alone in its program: the limit is the whole process's.

mod support;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipop_io::Control;
use socket2::{Domain, SockAddr, Socket, Type};
use support::{CTL_REQUEST, Folder, Records};

const WITHIN: Duration = Duration::from_secs(8);
const LIMIT: libc::rlim_t = 64;

fn cpu() -> Duration {
    // SAFETY: getrusage fills the struct that is read after it.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut used), 0);
        used
    };
    let span = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    span(used.ru_utime) + span(used.ru_stime)
}

fn lower_limit() {
    // SAFETY: both calls have a live struct.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = LIMIT;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
    }
}

fn connect(socket: Socket, path: &str) -> UnixStream {
    socket.connect(&SockAddr::unix(path).unwrap()).unwrap();
    let stream = UnixStream::from(socket);
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
}

#[test]
fn without_descriptors_one_at_a_time_is_still_answered_and_the_others_wait_quietly() {
    let folder = Folder::new();
    let (queue, mut records) = Records::new();
    let path = folder.file("ctl");
    let control = Control::listen(queue, &path).unwrap();
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let (first, second, warm) = (socket(), socket(), socket());
    // Its reserve is there before it takes the first.
    let mut warm = connect(warm, &path);
    warm.write_all(b"{}\n").unwrap();
    control.reply(records.next().handle, b"yes\n").unwrap();
    warm.read_to_string(&mut String::new()).unwrap();
    drop(warm);
    lower_limit();
    let mut held: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert_eq!(File::open("/dev/null").unwrap_err().raw_os_error(), Some(libc::EMFILE));

    let mut first = connect(first, &path);
    first.write_all(b"{\"command\":\"status\"}\n").unwrap();
    let asked = records.next();
    assert_eq!(asked.kind, CTL_REQUEST, "taken by the reserve");
    let before = cpu();
    let mut second = connect(second, &path);
    second.write_all(b"{\"command\":\"fdb\"}\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "there is nothing to take it by");
    let used = cpu() - before;
    assert!(used < Duration::from_millis(60), "waiting took {used:?} of CPU");

    control.reply(asked.handle, b"all is well\n").unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "all is well\n");
    drop(first);
    held.pop();
    let asked = records.next();
    assert_eq!(asked.payload, b"{\"command\":\"fdb\"}");
    control.reply(asked.handle, b"it too\n").unwrap();
    second.set_read_timeout(Some(WITHIN)).unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "it too\n");
}
