// SPDX-License-Identifier: MIT
//! Frames made, received and cut by the plainest means, to compare with. Nothing here uses the crate's own parsing or sums.
#![allow(dead_code, reason = "each test file uses its part")]

use ipop_base::{Drop, Frame, VnetHeader};
use ipop_offload::{Cut, Join, Mark};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;
pub const ECE: u8 = 64;
pub const CWR: u8 = 128;

/// A TCP segment or UDP datagram on Ethernet, to be built with right lengths and checksums.
#[derive(Debug, Clone)]
pub struct Packet {
    /// EtherTypes of VLAN tags, from outside in.
    pub tags: Vec<u16>,
    pub v6: bool,
    /// IPv4: words of options; IPv6: extension headers (protocol numbers), 8 bytes each.
    pub ip_options: usize,
    pub extensions: Vec<u8>,
    pub tos: u8,
    /// Or hop limit.
    pub ttl: u8,
    pub df: bool,
    pub id: u16,
    pub protocol: u8,
    pub tcp_options: usize,
    pub flags: u8,
    pub sequence: u32,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn new(protocol: u8, v6: bool, payload: usize) -> Self {
        Self {
            tags: vec![],
            v6,
            ip_options: 0,
            extensions: vec![],
            tos: 0,
            ttl: 64,
            df: false,
            id: 0xfff0,
            protocol,
            tcp_options: 3,
            flags: ACK,
            sequence: 0xffff_f000,
            payload: (0..payload).map(|n| (n * 7 + n / 251) as u8).collect(),
        }
    }

    /// With the first bytes of payload such that the checksum comes out as zero.
    pub fn with_zero_checksum(mut self) -> Self {
        self.payload[..2].fill(0);
        let rest = get(&self.bytes(), self.transport() + self.field());
        self.payload[..2].copy_from_slice(&rest.to_be_bytes());
        self
    }

    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub fn transport(&self) -> usize {
        self.l3() + if self.v6 { 40 + 8 * self.extensions.len() } else { 20 + 4 * self.ip_options }
    }

    pub fn headers(&self) -> usize {
        self.transport() + if self.protocol == TCP { 20 + 4 * self.tcp_options } else { 8 }
    }

    pub fn mark(&self) -> Mark {
        let at = self.transport();
        if self.protocol == TCP { Mark::tcp(at).unwrap() } else { Mark::udp(at).unwrap() }
    }

    /// As on a wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = self.open_bytes();
        complete(&mut frame, self.transport(), self.field());
        frame
    }

    /// With an open checksum.
    pub fn open_bytes(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for (n, tag) in self.tags.iter().enumerate() {
            frame.extend_from_slice(&tag.to_be_bytes());
            frame.extend_from_slice(&[0x60, 7 + n as u8]);
        }
        frame.extend_from_slice(if self.v6 { &[0x86, 0xdd] } else { &[8, 0] });
        let transport = self.transport_bytes();
        self.push_ip(&mut frame, transport.len());
        assert_eq!(frame.len(), self.transport());
        frame.extend_from_slice(&transport);
        let pseudo = pseudo(&frame, self.l3(), self.v6, self.protocol, transport.len());
        put(&mut frame, self.transport() + self.field(), slow_sum(&pseudo));
        frame
    }

    /// A super-frame as a kernel gives it to a tap, with its virtio header.
    pub fn super_frame(&self, size: u16) -> (VnetHeader, Vec<u8>) {
        let gso = match (self.protocol, self.v6) {
            (TCP, false) => 1,
            (TCP, true) => 4,
            _ => 5,
        };
        let gso = if self.flags & CWR != 0 && self.protocol == TCP { gso | 0x80 } else { gso };
        (vnet(1, gso, self.headers(), size, self.transport(), self.field()), self.open_bytes())
    }

    pub fn open_vnet(&self) -> VnetHeader {
        vnet(1, 0, 0, 0, self.transport(), self.field())
    }

    pub fn field(&self) -> usize {
        if self.protocol == TCP { 16 } else { 6 }
    }

    fn transport_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xc0, 0x01, 0x14, 0x51];
        if self.protocol == TCP {
            bytes.extend_from_slice(&self.sequence.to_be_bytes());
            bytes.extend_from_slice(&[
                1,
                2,
                3,
                4,
                ((5 + self.tcp_options) << 4) as u8,
                self.flags,
                0x20,
                0,
                0,
                0,
                0,
                0,
            ]);
            bytes.extend((0..4 * self.tcp_options).map(|n| n as u8));
        } else {
            bytes.extend_from_slice(&((8 + self.payload.len()) as u16).to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    fn push_ip(&self, frame: &mut Vec<u8>, length: usize) {
        let l3 = frame.len();
        if self.v6 {
            let length = (length + 8 * self.extensions.len()) as u16;
            let first = self.extensions.first().copied().unwrap_or(self.protocol);
            frame.extend_from_slice(&[0x60 | self.tos >> 4, self.tos << 4, 0x12, 0x34]);
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&[first, self.ttl]);
            frame.extend((0..32).map(|n| 0xfd - n));
            for n in 0..self.extensions.len() {
                let next = self.extensions.get(n + 1).copied().unwrap_or(self.protocol);
                frame.extend_from_slice(&[next, 0, 1, 4, 0, 0, 0, 0]);
            }
            return;
        }
        let length = (20 + 4 * self.ip_options + length) as u16;
        frame.extend_from_slice(&[0x45 + self.ip_options as u8, self.tos]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.id.to_be_bytes());
        frame.extend_from_slice(&[if self.df { 0x40 } else { 0 }, 0, self.ttl, self.protocol, 0, 0]);
        frame.extend_from_slice(&[10, 9, 0, 1, 10, 9, 0, 2]);
        frame.extend((0..4 * self.ip_options).map(|_| 1));
        let sum = !slow_sum(&frame[l3..]);
        put(frame, l3 + 10, sum);
    }
}

pub fn vnet(flags: u8, gso: u8, headers: usize, size: u16, start: usize, offset: usize) -> VnetHeader {
    let mut header = [flags, gso, 0, 0, 0, 0, 0, 0, 0, 0];
    for (at, value) in [(2, headers as u16), (4, size), (6, start as u16), (8, offset as u16)] {
        header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    VnetHeader(header)
}

pub fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// RFC 1071 as it is written.
pub fn slow_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

pub fn complete(frame: &mut [u8], start: usize, offset: usize) {
    let sum = !slow_sum(&frame[start..]);
    put(frame, start + offset, if sum == 0 { 0xffff } else { sum });
}

pub fn pseudo(frame: &[u8], l3: usize, v6: bool, protocol: u8, length: usize) -> Vec<u8> {
    let addresses = if v6 { &frame[l3 + 8..l3 + 40] } else { &frame[l3 + 12..l3 + 20] };
    [addresses, &(length as u32).to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

pub fn l3_of(frame: &[u8]) -> (u16, usize) {
    let mut at = 12;
    while matches!(get(frame, at), 0x8100 | 0x88a8 | 0x9100) {
        at += 4;
    }
    (get(frame, at), at + 2)
}

/// What a receiver's stack reads of a frame that it takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub flags: u8,
    pub sequence: u32,
    pub payload: Vec<u8>,
}

/// Takes a TCP or UDP frame as a stack does, with every length and checksum checked.
pub fn receive(frame: &[u8]) -> Result<Received, String> {
    let (kind, l3) = l3_of(frame);
    let ip = &frame[l3..];
    let (mut protocol, mut at, end) = match kind {
        0x0800 => (ip[9], usize::from(ip[0] & 15) * 4, usize::from(get(ip, 2))),
        0x86dd => (ip[6], 40, 40 + usize::from(get(ip, 4))),
        _ => return Err("not IP".into()),
    };
    if kind == 0x0800 && slow_sum(&ip[..at]) != 0xffff {
        return Err("IPv4 checksum".into());
    }
    while kind == 0x86dd && protocol != TCP && protocol != UDP {
        (protocol, at) = (ip[at], at + 8 * (1 + usize::from(ip[at + 1])));
    }
    if end != ip.len() {
        return Err(format!("IP length {end}, frame has {}", ip.len()));
    }
    let segment = &ip[at..];
    let whole = [&pseudo(frame, l3, kind == 0x86dd, protocol, segment.len()), segment].concat();
    if slow_sum(&whole) != 0xffff {
        return Err("checksum".into());
    }
    if protocol == UDP {
        let fits = usize::from(get(segment, 4)) == segment.len();
        return fits
            .then(|| Received { flags: 0, sequence: 0, payload: segment[8..].to_vec() })
            .ok_or("UDP length".into());
    }
    let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
    let payload = segment[usize::from(segment[12] >> 4) * 4..].to_vec();
    Ok(Received { flags: segment[13], sequence, payload })
}

/// What goes on the wire of a (super-)frame: cut by gso_size as Linux' software does it, checksums completed.
pub fn on_the_wire(frame: &Frame<'_>) -> Vec<Vec<u8>> {
    let bytes = frame.to_vec();
    let [flags, gso, _, _, s0, s1, a0, a1, o0, o1] = frame.vnet.0;
    let [size, start, offset] = [[s0, s1], [a0, a1], [o0, o1]].map(|pair| usize::from(u16::from_ne_bytes(pair)));
    if gso == 0 {
        let mut frame = bytes;
        if flags & 1 != 0 {
            complete(&mut frame, start, offset);
        }
        return vec![frame];
    }
    assert!(flags & 1 != 0, "a super-frame has an open checksum");
    let udp = gso & 0x7f == 5;
    let headers = start + if udp { 8 } else { usize::from(bytes[start + 12] >> 4) * 4 };
    let (l3, v6) = (l3_of(&bytes).1, l3_of(&bytes).0 == 0x86dd);
    let total = bytes.len() - start;
    let mut frames = Vec::new();
    for (n, payload) in bytes[headers..].chunks(size).enumerate() {
        let mut frame = [&bytes[..headers], payload].concat();
        let length = headers - start + payload.len();
        if v6 {
            put(&mut frame, l3 + 4, (start - l3 - 40 + length) as u16);
        } else {
            let id = get(&bytes, l3 + 4).wrapping_add(n as u16);
            put(&mut frame, l3 + 2, (start - l3 + length) as u16);
            put(&mut frame, l3 + 4, id);
            put(&mut frame, l3 + 10, 0);
            let sum = !slow_sum(&frame[l3..start]);
            put(&mut frame, l3 + 10, sum);
        }
        if udp {
            put(&mut frame, start + 4, length as u16);
        } else {
            let first = u32::from_be_bytes(bytes[start + 4..start + 8].try_into().unwrap());
            let sequence = first.wrapping_add((n * size) as u32);
            frame[start + 4..start + 8].copy_from_slice(&sequence.to_be_bytes());
            let last = headers + (n + 1) * size >= bytes.len();
            frame[start + 13] &= if last { 0xff } else { !(PSH | FIN) } & if n > 0 { !CWR } else { 0xff };
        }
        // The field holds the pseudo-header's sum with the super-frame's length.
        let field = get(&bytes, start + offset).to_be_bytes();
        let sum = slow_sum(&[field, (!(total as u16)).to_be_bytes(), (length as u16).to_be_bytes()].concat());
        put(&mut frame, start + offset, sum);
        complete(&mut frame, start, offset);
        frames.push(frame);
    }
    frames
}

/// All frames of a cut with their marks.
pub fn cut(frame: &Frame<'_>, room: usize) -> Result<Vec<(Mark, Vec<u8>)>, Drop> {
    let mut cut = Cut::new(frame, room)?;
    let mut frames = Vec::new();
    while let Some(length) = cut.next_len() {
        let mut out = vec![0xee; length + 1];
        let mark = cut.write_next(&mut out);
        assert_eq!(out.pop(), Some(0xee), "wrote beyond the length it said");
        assert!(length <= room || mark.is_none(), "a frame that goes in pieces has no open checksum");
        frames.push((mark, out));
    }
    Ok(frames)
}

/// The frame as on a wire, by its mark.
pub fn completed((mark, frame): &(Mark, Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.clone();
    if let Some((protocol, at)) = mark.start() {
        complete(&mut frame, at, protocol.checksum_offset());
    }
    frame
}

/// A super-frame or frame that came out of a join, in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub vnet: VnetHeader,
    pub segments: u16,
    pub bytes: Vec<u8>,
}

impl Joined {
    pub fn on_the_wire(&self) -> Vec<Vec<u8>> {
        on_the_wire(&Frame { vnet: self.vnet, bytes: &self.bytes, tail: &[], segments: self.segments })
    }
}

/// What comes out when these frames go in, in one batch.
pub fn join(frames: &[(Mark, Vec<u8>)], uso: bool) -> Vec<Joined> {
    let mut buffers = frames.to_vec();
    let mut out = Vec::new();
    let mut sink = |frame: &Frame<'_>| {
        assert!(frame.len() <= 65_535 && frame.tail.len() < 64);
        out.push(Joined { vnet: frame.vnet, segments: frame.segments, bytes: frame.to_vec() });
    };
    let mut join = Join::new(uso);
    for (mark, frame) in &mut buffers {
        let _ = join.add(*mark, frame, &mut sink);
    }
    join.flush(&mut sink);
    join.flush(&mut sink);
    out
}
