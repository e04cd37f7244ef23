// SPDX-License-Identifier: MIT
//! A stream's thread, from the name to STREAM_CLOSED.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use ipop_base::{Handle, RecordQueue, RecordType, TextMapWriter};
use rustls::ClientConnection;
use socket2::SockRef;

use super::failure::Failure;
use super::target::Target;
use super::{Shared, connect, starttls, tls};
use crate::sys;

/// One TLS record, and the most a STREAM_DATA record carries.
const PIECE: usize = 16 << 10;
/// For what was written before the close, close_notify, and the server's own end of file.
const CLOSE_WITHIN: Duration = Duration::from_millis(700);
/// STREAM_CLOSED must not get lost: an owner who never hears it waits for ever.
const TELL_WITHIN: Duration = Duration::from_secs(30);
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Opens the stream and moves bytes until it ends, then says why.
pub fn run(queue: &RecordQueue, handle: Handle, shared: &Shared, target: &Target) {
    let end = open(queue, handle, shared, target).and_then(|mut stream| stream.carry());
    let failure = end.err().unwrap_or_else(Failure::local);
    let stopping = {
        let mut outgoing = shared.lock();
        outgoing.open = false;
        outgoing.waiting.clear();
        outgoing.stopping
    };
    let payload = TextMapWriter::default().put("code", failure.code).put("text", &failure.text).bytes();
    let give_up = Instant::now() + if stopping { Duration::ZERO } else { TELL_WITHIN };
    while !queue.push(RecordType::StreamClosed, handle, &[&payload]) {
        if Instant::now() >= give_up || shared.lock().stopping {
            break;
        }
        shared.wake.clear();
        let _ = sys::poll(&mut [sys::interest(&shared.wake, libc::POLLIN)], Some(Instant::now() + TELL_EVERY));
    }
}

struct Stream<'a> {
    queue: &'a RecordQueue,
    handle: Handle,
    shared: &'a Shared,
    target: &'a Target,
    socket: TcpStream,
    tls: ClientConnection,
    piece: Vec<u8>,
}

fn open<'a>(
    queue: &'a RecordQueue,
    handle: Handle,
    shared: &'a Shared,
    target: &'a Target,
) -> Result<Stream<'a>, Failure> {
    // CAs first: a file that cannot be read is told at once, not after a connection.
    let tls = tls::client(target)?;
    let addresses = connect::resolve(target)?;
    let deadline = Instant::now() + target.timeout;
    let mut socket = connect::connect(target, &addresses, shared, deadline)?;
    if target.starttls {
        starttls::negotiate(target, &mut socket, shared, deadline)?;
    }
    let mut stream = Stream { queue, handle, shared, target, socket, tls, piece: vec![0; PIECE] };
    stream.handshake(deadline)?;
    Ok(stream)
}

impl Stream<'_> {
    fn handshake(&mut self, deadline: Instant) -> Result<(), Failure> {
        while self.tls.is_handshaking() {
            self.turn(Some(deadline))?;
            if self.shared.closing() {
                return Err(Failure::local());
            }
            if self.tls.is_handshaking() && Instant::now() >= deadline {
                let text = format!("no TLS answer from {} within {:?}", self.target.place(), self.target.timeout);
                return Err(Failure::new("timeout", text));
            }
        }
        let address = self.socket.peer_addr().map_err(|cause| self.broken(&cause))?;
        let payload = tls::describe(&self.tls, address)?;
        // Before the record: its reader may write at once.
        self.shared.lock().open = true;
        if !self.queue.push(RecordType::StreamOpen, self.handle, &[&payload]) {
            return Err(overrun());
        }
        Ok(())
    }

    /// Ends with the reason, Ok when its owner closed it.
    fn carry(&mut self) -> Result<(), Failure> {
        // What came in with the server's last handshake message waits in rustls, not in the socket.
        self.deliver()?;
        while !self.shared.closing() {
            self.turn(None)?;
        }
        self.close();
        Ok(())
    }

    /// Writes what can be written, waits, reads what has come.
    fn turn(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        self.flush()?;
        let events = libc::POLLIN | if self.tls.wants_write() { libc::POLLOUT } else { 0 };
        let mut fds = [sys::interest(&self.socket, events), sys::interest(&self.shared.wake, libc::POLLIN)];
        sys::poll(&mut fds, deadline).map_err(|cause| Failure::socket("cannot poll", &cause))?;
        if fds[1].revents != 0 {
            self.shared.wake.clear();
        }
        if fds[0].revents & !libc::POLLOUT != 0 {
            self.receive()?;
        }
        Ok(())
    }

    /// Hands waiting bytes to TLS piece by piece, never more than the socket takes: rustls itself holds 64 kB at most and refuses the rest.
    fn flush(&mut self) -> Result<(), Failure> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                    Err(cause) => return Err(self.broken(&cause)),
                }
            }
            let piece: Vec<u8> = {
                let mut outgoing = self.shared.lock();
                let length = outgoing.waiting.len().min(PIECE);
                outgoing.waiting.drain(..length).collect()
            };
            if piece.is_empty() {
                return Ok(());
            }
            let written = self.tls.writer().write_all(&piece);
            written.map_err(|cause| Failure::new("internal", format!("TLS takes no more bytes: {cause}")))?;
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let read = match self.tls.read_tls(&mut self.socket) {
            Ok(read) => read,
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(cause) => return Err(self.broken(&cause)),
        };
        // Not sticky. Without it a server's Nagle and our delayed acknowledgement wait 40 ms for each other in each login.
        let _ = SockRef::from(&self.socket).set_tcp_quickack(true);
        let handshaking = self.tls.is_handshaking();
        if let Err(cause) = self.tls.process_new_packets() {
            // The alert that tells the server; whether it arrives changes nothing here.
            let _ = self.tls.write_tls(&mut self.socket);
            return Err(Failure::tls(self.target, &cause, handshaking));
        }
        if read == 0 && handshaking {
            return Err(Failure::new("eof", format!("{} closed during the TLS handshake", self.target.place())));
        }
        if self.tls.is_handshaking() || handshaking { Ok(()) } else { self.deliver() }
    }

    fn deliver(&mut self) -> Result<(), Failure> {
        loop {
            match self.tls.reader().read(&mut self.piece) {
                Ok(0) => return Err(Failure::new("eof", format!("{} closed the stream", self.target.place()))),
                Ok(length) => {
                    if !self.queue.push(RecordType::StreamData, self.handle, &[&self.piece[..length]]) {
                        return Err(overrun());
                    }
                }
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
                    let text = format!("{} closed the connection without closing TLS", self.target.place());
                    return Err(Failure::new("eof", text));
                }
                Err(cause) => return Err(self.broken(&cause)),
            }
        }
    }

    /// Nobody hears about an error any more, so it only ends the attempt to be polite.
    fn close(&mut self) {
        let deadline = Instant::now() + CLOSE_WITHIN;
        let mut notified = false;
        loop {
            if self.flush().is_err() || Instant::now() >= deadline {
                return;
            }
            if !self.tls.wants_write() {
                if notified {
                    break;
                }
                self.tls.send_close_notify();
                notified = true;
                continue;
            }
            let _ = sys::poll(&mut [sys::interest(&self.socket, libc::POLLOUT)], Some(deadline));
        }
        // Closing with unread bytes would reset the connection and could take our last words with it.
        let _ = self.socket.shutdown(Shutdown::Write);
        while Instant::now() < deadline {
            let _ = sys::poll(&mut [sys::interest(&self.socket, libc::POLLIN)], Some(deadline));
            match self.socket.read(&mut self.piece) {
                Ok(0) => return,
                Err(cause) if cause.kind() != ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    fn broken(&self, cause: &std::io::Error) -> Failure {
        Failure::socket(&format!("connection to {} broke", self.target.place()), cause)
    }
}

/// A lost piece of a stream cannot be mended.
fn overrun() -> Failure {
    Failure::new("overflow", "the record queue is full: the runtime does not keep up with the server")
}
