// SPDX-License-Identifier: MIT
//! One rtnetlink socket for requests that are answered at once.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ipop_base::{Error, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::sys;

/// The kernel cuts a dump into messages of at most this.
const BUFFER: usize = 32 << 10;
/// The kernel answers while the request is made; this only keeps a fault from hanging the runtime.
const WITHIN: Duration = Duration::from_millis(100);

/// A socket of the calling thread's network namespace.
pub struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    pub fn open() -> Result<Self> {
        let open = || -> std::io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|cause| Error::io("cannot open a netlink socket", &cause))?;
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER), sequence: 0 })
    }

    /// A question with one answer. `what` begins the sentence when the kernel refuses.
    pub fn request(&mut self, message: RouteNetlinkMessage, what: &str) -> Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_REQUEST, what)
    }

    /// A question with a list for an answer.
    pub fn dump(&mut self, message: RouteNetlinkMessage, what: &str) -> Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_DUMP, what)
    }

    /// A command.
    pub fn acknowledged(&mut self, message: RouteNetlinkMessage, what: &str) -> Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK, what).map(drop)
    }

    fn exchange(&mut self, message: RouteNetlinkMessage, flags: u16, what: &str) -> Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|cause| Error::io(what, &cause))?;
        let deadline = Instant::now() + WITHIN;
        let mut answers = Vec::new();
        // A lone answer to a question without ACK ends by itself; a dump by Done, a command by its acknowledgement.
        let single = flags == NLM_F_REQUEST;
        loop {
            self.receive(deadline).map_err(|cause| Error::io(what, &cause))?;
            if collect(&self.buffer, self.sequence, flags & NLM_F_DUMP != 0, &mut answers, what)?
                || (single && !answers.is_empty())
            {
                return Ok(answers);
            }
        }
    }

    fn receive(&mut self, deadline: Instant) -> std::io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() != std::io::ErrorKind::WouldBlock => return Err(cause),
                Err(_) if Instant::now() >= deadline => return Err(std::io::Error::from_raw_os_error(libc::ETIMEDOUT)),
                Err(_) => sys::poll(&mut [sys::interest(&self.socket.as_raw_fd(), libc::POLLIN)], Some(deadline))?,
            }
        }
    }
}

/// Collects the messages of one datagram that answer request `sequence`; true: that was the last. EBADMSG: cut short, or (but in a
/// list) not understood; else the errno of a refusal.
pub fn collect(
    datagram: &[u8],
    sequence: u32,
    list: bool,
    answers: &mut Vec<RouteNetlinkMessage>,
    what: &str,
) -> Result<bool> {
    let mut rest = datagram;
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if !(16..=rest.len()).contains(&length) {
            return Err(Error::new(libc::EBADMSG, format!("{what}: the kernel's answer is cut short")));
        }
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&rest[..length]) {
            Ok(message) if message.header.sequence_number != sequence => {}
            Ok(message) => match message.payload {
                NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(refusal) => match refusal.code {
                    None => return Ok(true),
                    Some(_) => return Err(Error::io(what, &refusal.to_io())),
                },
                _ => {}
            },
            // In a list, one entry that cannot be parsed (of a newer kernel, say) costs that entry only.
            Err(_) if list => {}
            Err(cause) => return Err(Error::new(libc::EBADMSG, format!("{what}: {cause}"))),
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    Ok(false)
}
