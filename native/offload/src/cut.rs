// SPDX-License-Identifier: MIT
//! One (super-)frame of a tap becomes frames that fit a datagram.

use std::io::IoSlice;

use ipop_base::{Drop, Frame};

use crate::checksum::{complete_at, ip_is_right, lies_in, verify};
use crate::headers::{ETHERNET_HEADER, Layout, Protocol, be32};
use crate::mark::Mark;
use crate::template::{ACK, CWR, FIN, FLAGS, PSH, Template, pseudo_of_open};
use crate::vnet::{Gso, Offload};

/// What IP's length fields can say of a super-frame.
const MAX_IP: usize = 65_535;

/// The frames that one frame becomes, one after the other.
#[derive(Debug)]
pub struct Cut<'a> {
    frame: Frame<'a>,
    /// Bytes of `frame`, tail included.
    len: usize,
    room: usize,
    way: Way<'a>,
}

#[derive(Debug)]
enum Way<'a> {
    Done,
    /// As it is; where its open checksum is (start, offset).
    Whole(Option<(usize, usize)>),
    Segments(Segments<'a>),
}

#[derive(Debug)]
struct Segments<'a> {
    template: Template,
    mark: Mark,
    payload: Payload<'a>,
    /// Payload of each but the last.
    size: usize,
    /// Payload that went already, and that is left.
    done: usize,
    left: usize,
    /// How many went already.
    index: u16,
}

impl<'a> Cut<'a> {
    /// Cuts a frame that a tap gave. `room`: bytes of the longest frame that a datagram holds. TCP is cut to what fits, also a single segment;
    /// UDP super-frames into their datagrams, all else stays whole: what then does not fit is longer than `room`.
    ///
    /// [`Drop::Malformed`]: no Ethernet header, or a virtio header that does not describe this frame.
    #[inline]
    pub fn new(frame: &Frame<'a>, room: usize) -> Result<Self, Drop> {
        let len = frame.len();
        let offload = Offload::read(&frame.vnet)?;
        let open = offload.open.map(|(start, offset)| (usize::from(start), usize::from(offset)));
        let lies = open.is_none_or(|(start, offset)| lies_in(frame.bytes, start, offset));
        if frame.bytes.len() < ETHERNET_HEADER || !lies {
            return Err(Drop::Malformed);
        }
        let way = match offload.gso {
            Some(gso) => Way::Segments(super_frame(frame, len, open, gso, offload.size.into(), room)?),
            None if len > room => long_segment(frame, len, open, room).map_or(Way::Whole(open), Way::Segments),
            None => Way::Whole(open),
        };
        Ok(Self { frame: *frame, len, room, way })
    }

    /// Length of the next frame in bytes; none after the last. Longer than `room`: it must travel in pieces.
    #[inline]
    pub fn next_len(&self) -> Option<usize> {
        match &self.way {
            Way::Done => None,
            Way::Whole(_) => Some(self.len),
            Way::Segments(segments) => Some(segments.next_len()),
        }
    }

    /// Writes the next frame to the beginning of `out` and says what is open in it: nothing, if it is longer than `room`. `out` has at least
    /// [`Self::next_len`] bytes (panics otherwise); nothing is written after the last frame.
    #[inline]
    pub fn write_next(&mut self, out: &mut [u8]) -> Mark {
        let Some(len) = self.next_len() else { return Mark::none() };
        let out = &mut out[..len];
        let may_be_open = len <= self.room;
        match &mut self.way {
            Way::Done => Mark::none(),
            Way::Whole(open) => {
                let open = *open;
                self.way = Way::Done;
                Payload { now: self.frame.bytes, later: self.frame.tail }.read(out);
                open.map_or(Mark::none(), |open| settle(out, open, may_be_open))
            }
            Way::Segments(segments) => {
                segments.write(self.frame.bytes, out);
                let layout = segments.template.layout;
                let mark = segments.mark;
                if segments.left == 0 {
                    self.way = Way::Done;
                }
                if may_be_open && !mark.is_none() {
                    return mark;
                }
                settle(out, (layout.transport, layout.protocol.checksum_offset()), false)
            }
        }
    }
}

/// Says by a mark what is open; where that cannot be, completes it.
fn settle(out: &mut [u8], (start, offset): (usize, usize), may_be_open: bool) -> Mark {
    let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|protocol| protocol.checksum_offset() == offset);
    let mark = protocol.filter(|_| may_be_open).and_then(|protocol| Mark::open(protocol, start));
    mark.unwrap_or_else(|| {
        // That it lies in the frame was asked at first.
        complete_at(out, start, offset).unwrap_or_default();
        Mark::none()
    })
}

/// A super-frame, by its virtio header.
fn super_frame<'a>(
    frame: &Frame<'a>,
    len: usize,
    open: Option<(usize, usize)>,
    gso: Gso,
    size: usize,
    room: usize,
) -> Result<Segments<'a>, Drop> {
    let layout = Layout::of(frame.bytes).ok_or(Drop::Malformed)?;
    let described = match gso {
        Gso::Tcp4 => layout.protocol == Protocol::Tcp && !layout.v6,
        Gso::Tcp6 => layout.protocol == Protocol::Tcp && layout.v6,
        Gso::Udp => layout.protocol == Protocol::Udp,
    };
    if !described || len == layout.payload || len - layout.l3 > MAX_IP {
        return Err(Drop::Malformed);
    }
    let pseudo = match open {
        Some(open) if is_at(&layout, open) => pseudo_of_open(frame.bytes, &layout, len - layout.transport),
        None if !layout.routed => layout.pseudo(frame.bytes),
        _ => return Err(Drop::Malformed),
    };
    let size = match room.checked_sub(layout.payload) {
        Some(fits) if layout.protocol == Protocol::Tcp && fits > 0 => size.min(fits),
        _ => size,
    };
    Ok(Segments::new(frame, len, layout, pseudo, size))
}

/// A TCP segment that is longer than the room. None where cutting it would change what it says.
fn long_segment<'a>(frame: &Frame<'a>, len: usize, open: Option<(usize, usize)>, room: usize) -> Option<Segments<'a>> {
    let layout = Layout::of(frame.bytes).filter(|layout| layout.protocol == Protocol::Tcp)?;
    let fits = room.checked_sub(layout.payload).filter(|fits| *fits > 0)?;
    let ordinary = frame.bytes[layout.transport + FLAGS] & !(ACK | PSH | FIN) == 0;
    if !ordinary || len == layout.payload || !layout.fills(frame.bytes, len) || !ip_is_right(frame.bytes, &layout) {
        return None;
    }
    // What is wrong must stay wrong.
    let pseudo = match open {
        Some(open) => is_at(&layout, open).then(|| pseudo_of_open(frame.bytes, &layout, len - layout.transport))?,
        None => (frame.tail.is_empty() && verify(frame.bytes, &layout)).then(|| layout.pseudo(frame.bytes))?,
    };
    // Pieces of one length: a batch of datagrams, and what the other side joins, ends at one that is shorter.
    let payload = len - layout.payload;
    Some(Segments::new(frame, len, layout, pseudo, payload.div_ceil(payload.div_ceil(fits))))
}

/// Whether an open checksum is that of the layout.
fn is_at(layout: &Layout, (start, offset): (usize, usize)) -> bool {
    start == layout.transport && offset == layout.protocol.checksum_offset()
}

impl<'a> Segments<'a> {
    fn new(frame: &Frame<'a>, len: usize, layout: Layout, pseudo: u32, size: usize) -> Self {
        Self {
            template: Template::new(frame.bytes, layout, pseudo),
            mark: Mark::open(layout.protocol, layout.transport).unwrap_or_default(),
            payload: Payload { now: &frame.bytes[layout.payload..], later: frame.tail },
            size,
            done: 0,
            left: len - layout.payload,
            index: 0,
        }
    }

    #[inline]
    fn next_len(&self) -> usize {
        self.template.layout.payload + self.size.min(self.left)
    }

    /// `out` is as long as the next frame, `bytes` begin with the headers of all.
    #[inline]
    fn write(&mut self, bytes: &[u8], out: &mut [u8]) {
        let layout = self.template.layout;
        let (headers, payload) = out.split_at_mut(layout.payload);
        headers.copy_from_slice(&bytes[..layout.payload]);
        self.payload.read(payload);
        self.left -= payload.len();
        if layout.protocol == Protocol::Tcp {
            let at = layout.transport;
            let sequence = be32(bytes, at + 4).unwrap_or_default().wrapping_add(self.done as u32);
            headers[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            // The end is pushed or finished once, and a congestion window reduced once (RFC 3168, 6.1.2).
            let not_here = if self.left > 0 { PSH | FIN } else { 0 } | if self.index > 0 { CWR } else { 0 };
            headers[at + FLAGS] &= !not_here;
        }
        self.template.write(headers, payload.len(), self.index);
        self.done += payload.len();
        self.index = self.index.wrapping_add(1);
    }
}

/// Bytes that lie in pieces, read from front to back.
#[derive(Debug)]
struct Payload<'a> {
    now: &'a [u8],
    later: &'a [IoSlice<'a>],
}

impl Payload<'_> {
    /// Fills `out`; there are as many bytes as that.
    #[inline]
    fn read(&mut self, mut out: &mut [u8]) {
        loop {
            let length = out.len().min(self.now.len());
            let (from, rest) = self.now.split_at(length);
            let (to, unfilled) = out.split_at_mut(length);
            to.copy_from_slice(from);
            (self.now, out) = (rest, unfilled);
            match self.later.split_first() {
                Some((next, later)) if !out.is_empty() => (self.now, self.later) = (next, later),
                _ => return,
            }
        }
    }
}
