// SPDX-License-Identifier: MIT
//! One question to the name servers: over UDP, and over TCP when the answer was cut (RFC 1035, 4.2; RFC 7766).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, TYPE};

use super::answer::{self, Srv};
use crate::crypto;

/// Each server is asked so often: a datagram may get lost.
const ROUNDS: usize = 2;
/// How soon a look-up notices that the process stops.
const TICK: Duration = Duration::from_millis(100);
/// More than any UDP answer without EDNS, which we do not ask for.
const UDP_BYTES: usize = 4096;

pub struct Asker<'a> {
    pub name: &'a str,
    pub stopping: &'a AtomicBool,
    /// For all servers and rounds together.
    pub deadline: Instant,
}

impl Asker<'_> {
    /// The records there are, none when the name has none. Err: no server gave an answer, in words.
    pub fn ask(&self, servers: &[SocketAddr]) -> Result<Vec<Srv>, String> {
        let mut refusals: Vec<String> = Vec::new();
        let tries = servers.len() * ROUNDS;
        for (index, server) in servers.iter().cycle().take(tries).enumerate() {
            let rest = self.deadline.saturating_duration_since(Instant::now());
            let until = Instant::now() + rest / (tries - index) as u32;
            match self.ask_one(*server, until) {
                Ok(records) => return Ok(records),
                Err(why) => {
                    let text = format!("{server}: {why}");
                    if !refusals.contains(&text) {
                        refusals.push(text);
                    }
                }
            }
            if self.stopping.load(Ordering::Acquire) {
                break;
            }
        }
        Err(format!("cannot look up the servers of '{}': {}", self.name, refusals.join("; ")))
    }

    fn ask_one(&self, server: SocketAddr, until: Instant) -> Result<Vec<Srv>, String> {
        let mut id = [0u8; 2];
        crypto::random(&mut id).map_err(|error| error.text)?;
        let id = u16::from_be_bytes(id);
        let query = self.query(id)?;
        let answer = self.by_udp(server, id, &query, until).map_err(|cause| plain(&cause))?;
        let cut = Packet::parse(&answer).is_ok_and(|packet| packet.has_flags(PacketFlag::TRUNCATION));
        let answer = if cut { self.by_tcp(server, &query, until).map_err(|cause| plain(&cause))? } else { answer };
        answer::read(self.name, id, &answer)
    }

    fn query(&self, id: u16) -> Result<Vec<u8>, String> {
        let name = Name::new(self.name).map_err(|cause| cause.to_string())?;
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(name, TYPE::SRV.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().map_err(|cause| cause.to_string())
    }

    /// The datagram that answers the query; others are passed over until the time is up.
    fn by_udp(&self, server: SocketAddr, id: u16, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        // Only this server's datagrams come in, and a closed port is told.
        socket.connect(server)?;
        socket.send(query)?;
        let mut buffer = [0u8; UDP_BYTES];
        loop {
            socket.set_read_timeout(Some(self.tick(until)?))?;
            match socket.recv(&mut buffer) {
                Ok(length) if answer::belongs(self.name, id, &buffer[..length]) => return Ok(buffer[..length].to_vec()),
                Ok(_) => {}
                Err(cause) if is_pause(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
    }

    fn by_tcp(&self, server: SocketAddr, query: &[u8], until: Instant) -> io::Result<Vec<u8>> {
        let rest = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut socket = TcpStream::connect_timeout(&server, rest)?;
        socket.set_write_timeout(Some(rest))?;
        let length = (query.len() as u16).to_be_bytes();
        socket.write_all(&[&length[..], query].concat())?;
        let mut length = [0u8; 2];
        self.read_exact(&mut socket, &mut length, until)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.read_exact(&mut socket, &mut answer, until)?;
        Ok(answer)
    }

    fn read_exact(&self, socket: &mut TcpStream, mut rest: &mut [u8], until: Instant) -> io::Result<()> {
        while !rest.is_empty() {
            socket.set_read_timeout(Some(self.tick(until)?))?;
            match socket.read(rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => rest = &mut rest[length..],
                Err(cause) if is_pause(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    /// How long to wait next; TimedOut when the time is up.
    fn tick(&self, until: Instant) -> io::Result<Duration> {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() || self.stopping.load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        Ok(rest.min(TICK))
    }
}

fn is_pause(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
        && cause.raw_os_error() != Some(libc::ETIMEDOUT)
}

fn plain(cause: &io::Error) -> String {
    match cause.raw_os_error() {
        Some(libc::ETIMEDOUT) => "no answer".to_owned(),
        _ => cause.to_string().split(" (os error").next().unwrap_or_default().to_owned(),
    }
}
