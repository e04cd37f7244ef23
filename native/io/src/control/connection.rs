// SPDX-License-Identifier: MIT
//! One control connection: a request line in, an answer out, each within its time.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ipop_base::{Handle, next_handle};

use crate::sys;

/// Without the newline.
const MAX_REQUEST: usize = 4096;
/// For each of: the whole request, the answer, sending it.
const WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    Reading(Vec<u8>),
    Asked,
    Sending { data: Vec<u8>, sent: usize },
}

/// What a turn came to.
pub enum Step {
    Wait,
    /// The request line, once.
    Request(Vec<u8>),
    Close,
}

#[derive(Debug)]
pub struct Connection {
    handle: Handle,
    socket: UnixStream,
    state: State,
    deadline: Instant,
}

impl Connection {
    /// `socket` does not block.
    pub fn new(socket: UnixStream) -> Self {
        Self { handle: next_handle(), socket, state: State::Reading(Vec::new()), deadline: Instant::now() + WITHIN }
    }

    pub fn handle(&self) -> Handle {
        self.handle
    }

    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }

    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    pub fn interest(&self) -> libc::pollfd {
        let events = match self.state {
            State::Reading(_) => libc::POLLIN,
            // A hang-up is told also without asking for anything.
            State::Asked => 0,
            State::Sending { .. } => libc::POLLOUT,
        };
        sys::interest(&self.socket, events)
    }

    /// Begins to send the answer; the connection closes after it.
    pub fn answer(&mut self, data: Vec<u8>) {
        self.state = State::Sending { data, sent: 0 };
        self.deadline = Instant::now() + WITHIN;
    }

    /// One line of JSON, as far as the socket takes it at once; the caller closes.
    pub fn refuse(&mut self, code: &str, text: &str) {
        // Unread bytes would turn our closing into a reset, which overtakes the answer.
        let _ = self.socket.read(&mut [0u8; MAX_REQUEST + 1]);
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        let _ =
            sys::send(&self.socket, format!("{{\"error\":{{\"code\":\"{code}\",\"text\":\"{text}\"}}}}\n").as_bytes());
    }

    /// Does what can be done now without waiting.
    pub fn step(&mut self, now: Instant, hung_up: bool) -> Step {
        let step = match &mut self.state {
            State::Reading(_) => self.read(),
            State::Asked if hung_up => Step::Close,
            State::Asked => Step::Wait,
            State::Sending { .. } => self.send(),
        };
        if matches!(step, Step::Wait) && now >= self.deadline {
            match self.state {
                State::Reading(_) => self.refuse("timeout", "no whole request line came within 5 s"),
                State::Asked => self.refuse("timeout", "ipop gave no answer within 5 s"),
                State::Sending { .. } => {}
            }
            return Step::Close;
        }
        step
    }

    fn read(&mut self) -> Step {
        let State::Reading(line) = &mut self.state else { return Step::Wait };
        let mut piece = [0u8; MAX_REQUEST + 1];
        match self.socket.read(&mut piece) {
            Ok(0) => return Step::Close,
            Ok(length) => line.extend_from_slice(&piece[..length]),
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Step::Wait,
            Err(_) => return Step::Close,
        }
        let end = line.iter().position(|&byte| byte == b'\n');
        if end.unwrap_or(line.len()) > MAX_REQUEST {
            self.refuse("too-long", "a request has at most 4096 bytes");
            return Step::Close;
        }
        let Some(end) = end else { return Step::Wait };
        line.truncate(end);
        let line = std::mem::take(line);
        self.state = State::Asked;
        self.deadline = Instant::now() + WITHIN;
        Step::Request(line)
    }

    fn send(&mut self) -> Step {
        let State::Sending { data, sent } = &mut self.state else { return Step::Wait };
        while *sent < data.len() {
            match sys::send(&self.socket, &data[*sent..]) {
                Ok(length) => *sent += length,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(_) => return Step::Close,
            }
        }
        Step::Close
    }
}
