// SPDX-License-Identifier: MIT
//! The command line's side of the control socket.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ipop_base::{Error, Result};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys;

/// An answer has at most 1 MiB; its end must be seen too.
const MAX_ANSWER: u64 = (1 << 20) + 1;
const RETRY: Duration = Duration::from_millis(10);

/// Sends one request line (the newline is added) and reads the whole answer; blocks up to `timeout`. ENOENT: no daemon has been there;
/// ECONNREFUSED: it is dead; EACCES: not permitted; ETIMEDOUT; EMSGSIZE: the answer is over 1 MiB; EINVAL: a newline in the request.
pub fn control_call(path: &str, request: &[u8], timeout: Duration) -> Result<Vec<u8>> {
    if request.contains(&b'\n') {
        return Err(Error::new(libc::EINVAL, "a control request is one line"));
    }
    let deadline = Instant::now() + timeout;
    let attempt = || -> io::Result<Vec<u8>> {
        let mut socket = connect(path, deadline)?;
        send_line(&socket, request, deadline)?;
        receive(&mut socket, deadline)
    };
    attempt().map_err(|cause| explain(path, &cause))
}

fn connect(path: &str, deadline: Instant) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    loop {
        match socket.connect(&address) {
            Ok(()) => return Ok(socket.into()),
            // The listener's queue is full; poll does not tell when it no longer is.
            Err(cause) if cause.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::sleep(RETRY)
            }
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Err(timed_out()),
            Err(cause) => return Err(cause),
        }
    }
}

fn send_line(socket: &UnixStream, request: &[u8], deadline: Instant) -> io::Result<()> {
    let mut line = request.to_vec();
    line.push(b'\n');
    let mut sent = 0;
    while sent < line.len() {
        match sys::send(socket, &line[sent..]) {
            Ok(length) => sent += length,
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => wait(socket, libc::POLLOUT, deadline)?,
            // Refused before we had asked: the reason is there to read.
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

fn receive(socket: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    loop {
        match (&mut *socket).take(MAX_ANSWER - answer.len() as u64).read_to_end(&mut answer) {
            Ok(_) if answer.is_empty() => return Err(io::Error::from_raw_os_error(libc::ECONNRESET)),
            Ok(_) if answer.len() as u64 >= MAX_ANSWER => return Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
            Ok(_) => return Ok(answer),
            Err(cause) if cause.kind() == ErrorKind::WouldBlock => wait(socket, libc::POLLIN, deadline)?,
            // A refusal that overtook our request ends so, after its text.
            Err(cause) if cause.kind() == ErrorKind::ConnectionReset && !answer.is_empty() => return Ok(answer),
            Err(cause) => return Err(cause),
        }
    }
}

fn wait(socket: &UnixStream, events: i16, deadline: Instant) -> io::Result<()> {
    let mut fds = [sys::interest(socket, events)];
    sys::poll(&mut fds, Some(deadline))?;
    if fds[0].revents == 0 && Instant::now() >= deadline { Err(timed_out()) } else { Ok(()) }
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(libc::ETIMEDOUT)
}

fn explain(path: &str, cause: &io::Error) -> Error {
    let text = match cause.raw_os_error() {
        Some(libc::ENOENT) => format!("ipop is not running: there is no '{path}'"),
        Some(libc::ECONNREFUSED) => format!("ipop is not running: nobody answers at '{path}'"),
        Some(libc::EACCES) => {
            format!("not permitted to talk to ipop at '{path}': be root or in the group of that file")
        }
        Some(libc::ETIMEDOUT) => format!("ipop at '{path}' gave no whole answer in time"),
        Some(libc::EMSGSIZE) => format!("the answer of ipop at '{path}' is over 1 MiB"),
        Some(libc::ECONNRESET) => format!("ipop at '{path}' closed without an answer"),
        _ => return Error::io(&format!("cannot talk to ipop at '{path}'"), cause),
    };
    Error::new(cause.raw_os_error().unwrap_or(libc::EIO), text)
}
