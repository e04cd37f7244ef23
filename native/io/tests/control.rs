// SPDX-License-Identifier: MIT
//! The control socket from both sides.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipop_io::{Control, control_call};
use support::{CTL_REQUEST, Folder, Records};

const WITHIN: Duration = Duration::from_secs(8);

struct Daemon {
    control: Arc<Control>,
    records: Records,
    folder: Folder,
}

impl Daemon {
    fn start() -> Self {
        let folder = Folder::new();
        let (queue, records) = Records::new();
        let control = Control::listen(queue, &folder.file("ctl")).unwrap();
        Self { control, records, folder }
    }

    fn path(&self) -> String {
        self.folder.file("ctl")
    }

    fn connect(&self) -> UnixStream {
        let socket = UnixStream::connect(self.path()).unwrap();
        socket.set_read_timeout(Some(WITHIN)).unwrap();
        socket
    }
}

fn all(mut socket: &UnixStream) -> String {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_request_and_its_answer_go_round() {
    let mut daemon = Daemon::start();
    let path = daemon.path();
    let caller = std::thread::spawn(move || control_call(&path, b"{\"ask\":\"status\"}", WITHIN));
    let request = daemon.records.next();
    assert_eq!((request.kind, request.payload.as_slice()), (CTL_REQUEST, &b"{\"ask\":\"status\"}"[..]));
    daemon.control.reply(request.handle, b"all is well\n").unwrap();
    assert_eq!(caller.join().unwrap().unwrap(), b"all is well\n");
    assert_eq!(daemon.control.reply(request.handle, b"again").unwrap_err().errno, libc::ENOENT);
}

#[test]
fn the_largest_answer_arrives_whole_and_a_larger_one_is_refused() {
    let mut daemon = Daemon::start();
    let path = daemon.path();
    let answer: Vec<u8> = (0..1 << 20).map(|i| (i % 251) as u8).collect();
    let caller = std::thread::spawn(move || control_call(&path, b"dump", WITHIN));
    let request = daemon.records.next();
    assert_eq!(daemon.control.reply(request.handle, &[0; (1 << 20) + 1]).unwrap_err().errno, libc::EMSGSIZE);
    daemon.control.reply(request.handle, &answer).unwrap();
    assert!(caller.join().unwrap().unwrap() == answer);
}

#[test]
fn the_longest_request_passes_and_a_longer_one_is_refused_with_a_reason() {
    let mut daemon = Daemon::start();
    let path = daemon.path();
    let caller = std::thread::spawn(move || control_call(&path, &[b'x'; 4096], WITHIN));
    let request = daemon.records.next();
    assert_eq!(request.payload.len(), 4096);
    daemon.control.reply(request.handle, b"ok").unwrap();
    assert_eq!(caller.join().unwrap().unwrap(), b"ok");
    let refusal = control_call(&daemon.path(), &[b'x'; 4097], WITHIN).unwrap();
    assert_eq!(
        String::from_utf8(refusal).unwrap(),
        "{\"error\":{\"code\":\"too-long\",\"text\":\"a request has at most 4096 bytes\"}}\n"
    );
    assert_eq!(daemon.records.within(Duration::from_millis(50)), None);
}

#[test]
fn the_ninth_connection_is_refused_and_one_that_leaves_makes_room() {
    let mut daemon = Daemon::start();
    let mut eight: Vec<UnixStream> = (0..8).map(|_| daemon.connect()).collect();
    let refusal = all(&daemon.connect());
    assert!(refusal.contains("\"busy\""), "{refusal}");
    drop(eight.pop());
    let deadline = Instant::now() + WITHIN;
    loop {
        let mut socket = daemon.connect();
        let _ = socket.write_all(b"hello\n");
        if let Some(request) = daemon.records.within(Duration::from_millis(100)) {
            daemon.control.reply(request.handle, b"welcome").unwrap();
            assert_eq!(all(&socket), "welcome");
            return;
        }
        assert!(Instant::now() < deadline, "no room after one had left");
    }
}

#[test]
fn a_slow_client_is_told_and_closed_after_five_seconds() {
    let mut daemon = Daemon::start();
    let mut socket = daemon.connect();
    let start = Instant::now();
    socket.write_all(b"never a newline").unwrap();
    let refusal = all(&socket);
    assert!(refusal.contains("\"timeout\""), "{refusal}");
    assert!((4900..6000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(daemon.records.within(Duration::ZERO), None);
}

#[test]
fn an_asker_who_leaves_is_forgotten() {
    let mut daemon = Daemon::start();
    let mut socket = daemon.connect();
    socket.write_all(b"hello\n").unwrap();
    let request = daemon.records.next();
    drop(socket);
    let deadline = Instant::now() + WITHIN;
    while daemon.control.reply(request.handle, b"too late").is_ok() {
        assert!(Instant::now() < deadline);
    }
}

/// Runs on a thread with the given user and groups; on Linux they belong to the thread, and end with it.
fn as_user<T: Send>(uid: u32, groups: &[u32], run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let become_user = || {
            // SAFETY: the bare system calls change this thread only; `groups` outlives the call.
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()), 0);
                assert_eq!(libc::syscall(libc::SYS_setresgid, uid, uid, uid), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
            }
            run()
        };
        scope.spawn(become_user).join().unwrap()
    })
}

#[test]
fn a_stranger_is_refused_even_if_the_files_mode_lets_him_in_and_a_member_of_its_group_is_not() {
    if !support::is_root() {
        support::skip("becoming another user needs root");
        return;
    }
    let mut daemon = Daemon::start();
    let path = daemon.path();
    let ask = || control_call(&path, b"status", WITHIN);
    assert_eq!(as_user(65534, &[], ask).unwrap_err().errno, libc::EACCES, "by the file's mode");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refusal = String::from_utf8(as_user(65534, &[], ask).unwrap()).unwrap();
    let text = "user 65534 is neither root nor in group 600 of the control socket";
    std::os::unix::fs::chown(&path, None, Some(600)).unwrap();
    let second = String::from_utf8(as_user(65534, &[601], ask).unwrap()).unwrap();
    assert!(refusal.contains("not-permitted") && second.contains(text), "{refusal}{second}");
    assert_eq!(daemon.records.within(Duration::from_millis(50)), None, "nothing was asked");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660)).unwrap();
    std::thread::scope(|scope| {
        let member = scope.spawn(|| as_user(65534, &[601, 600], ask));
        let request = daemon.records.next();
        daemon.control.reply(request.handle, b"welcome").unwrap();
        assert_eq!(member.join().unwrap().unwrap(), b"welcome");
    });
}

#[test]
fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    drop(UnixListener::bind(&path).unwrap());
    let (queue, _records) = Records::new();
    let first = Control::listen(queue.clone(), &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let error = Control::listen(queue.clone(), &path).unwrap_err();
    assert_eq!((error.errno, error.text), (libc::EADDRINUSE, format!("another ipop answers at '{path}' already")));
    first.stop();
    assert_eq!(folder.names(), [""; 0], "stopping removes the path");
    Control::listen(queue, &path).unwrap().stop();
}

#[test]
fn of_many_who_start_at_once_one_listens() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    let (queue, _records) = Records::new();
    // Many rounds, as two rarely meet in the moment that matters.
    for _ in 0..50 {
        drop(UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(8);
        let started: Vec<_> = std::thread::scope(|scope| {
            let listen = || {
                barrier.wait();
                Control::listen(queue.clone(), &path)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(listen)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(started.iter().filter(|result| result.is_ok()).count(), 1, "{started:?}");
        assert_eq!(folder.names(), ["ctl"]);
        drop(started);
        assert_eq!(folder.names(), [""; 0]);
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    std::fs::write(&path, "precious").unwrap();
    let (queue, _records) = Records::new();
    assert_eq!(Control::listen(queue, &path).unwrap_err().errno, libc::EEXIST);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_successor_keeps_its_socket_when_the_predecessor_stops() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    let (queue, _records) = Records::new();
    let first = Control::listen(queue.clone(), &path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = Control::listen(queue, &path).unwrap();
    first.stop();
    assert_eq!(folder.names(), ["ctl"]);
    second.stop();
}

#[test]
fn the_caller_is_told_why_there_is_no_answer() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    let error = control_call(&path, b"status", WITHIN).unwrap_err();
    assert_eq!((error.errno, error.text), (libc::ENOENT, format!("ipop is not running: there is no '{path}'")));
    drop(UnixListener::bind(&path).unwrap());
    let error = control_call(&path, b"status", WITHIN).unwrap_err();
    assert_eq!(
        (error.errno, error.text),
        (libc::ECONNREFUSED, format!("ipop is not running: nobody answers at '{path}'"))
    );
    std::fs::remove_file(&path).unwrap();
    let _silent = UnixListener::bind(&path).unwrap();
    let error = control_call(&path, b"status", Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.errno, libc::ETIMEDOUT, "{}", error.text);
}
