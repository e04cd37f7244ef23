// SPDX-License-Identifier: MIT
//! One question to the name servers: over UDP, and over TCP when the answer was cut (RFC 1035, 4.2; RFC 7766).

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use crate::crypto;

/// Each server is asked so often: a datagram may get lost.
const ROUNDS: usize = 2;
/// How soon a look-up notices that the process stops.
const TICK: Duration = Duration::from_millis(100);
/// Nobody runs more servers; also bounds the record.
const MAX_RECORDS: usize = 32;
/// More than any UDP answer without EDNS, which we do not ask for.
const UDP_BYTES: usize = 4096;

/// One SRV record; shown as `priority weight port target`, the target without its final dot but for the root, which is `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

impl fmt::Display for Srv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.priority, self.weight, self.port, self.target)
    }
}

pub struct Asker<'a> {
    pub name: &'a str,
    pub stopping: &'a AtomicBool,
    /// For all servers and rounds together.
    pub deadline: Instant,
}

/// Whether DNS can hold this name, as text without escapes.
pub fn is_name(name: &str) -> bool {
    let fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(fine) && !name.contains("..") && Name::new(name).is_ok()
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
        self.read(id, &answer)
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
                Ok(length) if self.belongs(id, &buffer[..length]) => return Ok(buffer[..length].to_vec()),
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

    /// Whether a message answers our query: somebody else's guess is no answer.
    fn belongs(&self, id: u16, message: &[u8]) -> bool {
        let Ok(packet) = Packet::parse(message) else { return false };
        let Ok(name) = Name::new(self.name) else { return false };
        let asked = |question: &Question<'_>| {
            question.qtype == QTYPE::TYPE(TYPE::SRV)
                && question.qclass == QCLASS::CLASS(CLASS::IN)
                && question.qname.to_string().eq_ignore_ascii_case(&name.to_string())
        };
        packet.id() == id && packet.has_flags(PacketFlag::RESPONSE) && packet.questions.iter().all(asked)
    }

    fn read(&self, id: u16, answer: &[u8]) -> Result<Vec<Srv>, String> {
        if !self.belongs(id, answer) {
            return Err("answers something else".to_owned());
        }
        let packet = Packet::parse(answer).map_err(|cause| cause.to_string())?;
        match packet.rcode() {
            RCODE::NoError | RCODE::NameError => {}
            other => return Err(format!("answers {other:?}")),
        }
        // Also those at the end of a CNAME: the server has followed it, and DNS without DNSSEC vouches for neither.
        let records = packet.answers.iter().filter_map(|answer| match &answer.rdata {
            RData::SRV(srv) => record(srv),
            _ => None,
        });
        Ok(records.take(MAX_RECORDS).collect())
    }
}

/// None: a target that no host can have.
fn record(srv: &simple_dns::rdata::SRV<'_>) -> Option<Srv> {
    let target = srv.target.to_string();
    let target = if target.is_empty() { ".".to_owned() } else { target };
    if target != "." && !is_name(&target) {
        return None;
    }
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
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
