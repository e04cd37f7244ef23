// SPDX-License-Identifier: MIT
//! STARTTLS (RFC 6120, 5): the few plain words before TLS. Nothing of them outlives the handshake: the stream begins anew inside TLS.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::time::Instant;

use socket2::SockRef;

use super::Shared;
use super::failure::Failure;
use super::opening::{NS_STREAM, Wanted, scan};
use super::target::Target;
use crate::sys;

const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// Many times what servers say before TLS.
const MAX_PLAIN: usize = 64 << 10;

/// Talks until the server waits for a TLS handshake on this socket.
pub fn negotiate(target: &Target, socket: &mut TcpStream, shared: &Shared, deadline: Instant) -> Result<(), Failure> {
    let mut plain = Plain { target, socket, shared, deadline, heard: Vec::new() };
    let name = target.name.to_str();
    // No `from`: who we are is nobody's business before TLS (RFC 6120, 4.7.1).
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{NS_STREAM}' to='{name}' version='1.0'>"
    );
    plain.say(header.as_bytes())?;
    plain.listen(Wanted::Features)?;
    plain.say(STARTTLS)?;
    let end = plain.listen(Wanted::Proceed)?;
    // Whoever put bytes there wants them to be taken for the server's own, inside TLS.
    let extra = plain.heard.len() - end;
    if extra > 0 {
        let text = format!("sent {extra} bytes after its consent to TLS; somebody may tamper with the connection");
        return Err(plain.refused(&text));
    }
    Ok(())
}

struct Plain<'a> {
    target: &'a Target,
    socket: &'a mut TcpStream,
    shared: &'a Shared,
    deadline: Instant,
    heard: Vec<u8>,
}

impl Plain<'_> {
    fn say(&self, words: &[u8]) -> Result<(), Failure> {
        let sent = sys::send(self.socket, words).map_err(|cause| self.broken(&cause))?;
        // The first bytes of a connection always fit.
        if sent == words.len() { Ok(()) } else { Err(Failure::new("internal", "the socket's buffer is full at once")) }
    }

    /// Reads until the server has said what is wanted. Returns where in `heard` that ends.
    fn listen(&mut self, wanted: Wanted) -> Result<usize, Failure> {
        loop {
            match scan(&self.heard, wanted) {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => self.read()?,
                Err(why) => return Err(self.refused(&why)),
            }
        }
    }

    fn read(&mut self) -> Result<(), Failure> {
        if self.heard.len() >= MAX_PLAIN {
            return Err(self.refused("says too much before TLS"));
        }
        let mut fds = [sys::interest(self.socket, libc::POLLIN), sys::interest(&self.shared.wake, libc::POLLIN)];
        sys::poll(&mut fds, Some(self.deadline)).map_err(|cause| Failure::socket("cannot poll", &cause))?;
        if self.shared.closing() {
            return Err(Failure::local());
        }
        if fds[1].revents != 0 {
            self.shared.wake.clear();
        }
        if fds[0].revents == 0 && Instant::now() >= self.deadline {
            let text = format!("no answer to STARTTLS from {} within {:?}", self.target.place(), self.target.timeout);
            return Err(Failure::new("timeout", text));
        }
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => Err(Failure::new("eof", format!("{} closed the connection before TLS", self.target.place()))),
            Ok(length) => {
                self.heard.extend(&piece[..length]);
                // Not sticky; see the pump.
                let _ = SockRef::from(&*self.socket).set_tcp_quickack(true);
                Ok(())
            }
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(cause) => Err(self.broken(&cause)),
        }
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new("starttls-refused", format!("{} {why}", self.target.place()))
    }

    fn broken(&self, cause: &std::io::Error) -> Failure {
        Failure::socket(&format!("connection to {} broke before TLS", self.target.place()), cause)
    }
}
