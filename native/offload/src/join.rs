// SPDX-License-Identifier: MIT
//! Frames of one flow that came in a row become one super-frame, gathered from where they lie.

use std::io::IoSlice;

use ipop_base::{Drop, Frame};

use crate::checksum::{complete, ip_is_right, verify};
use crate::headers::{Layout, Protocol, be16, be32};
use crate::mark::Mark;
use crate::template::{ACK, ECE, FIN, FLAGS, PSH, Template};
use crate::vnet::{Gso, Offload};

/// Frames in a super-frame, as many as a kernel makes of one.
const MAX_PIECES: usize = 64;
/// Bytes of a super-frame: the longest frame there is.
const MAX_LEN: usize = 65_535;
/// Longest payload that is joined: a jumbo frame's. A single longer frame the kernel would drop before a network card; of a super-frame
/// it asks no such thing, and there are cards that fail on it.
const MAX_SIZE: usize = 9_000;
/// Don't fragment (RFC 791): the identification means nothing then (RFC 6864, section 4.1).
const DF: u8 = 0x40;

/// Where frames go from here.
pub type Sink<'s> = dyn FnMut(&Frame<'_>) + 's;

/// Joins what arrives. Nothing overtakes anything: a frame goes on before the next that cannot be joined to it.
/// It lives for one batch of received frames and must be flushed at its end.
pub struct Join<'b> {
    /// Whether the tap takes UDP super-frames.
    uso: bool,
    train: Option<Train<'b>>,
    tail: [IoSlice<'b>; MAX_PIECES - 1],
}

/// The first of the frames that are kept, and what holds of all.
struct Train<'b> {
    first: &'b mut [u8],
    mark: Mark,
    layout: Layout,
    /// Once there is a second.
    template: Option<Template>,
    /// Payload of each but the last, and of all.
    size: usize,
    payload: usize,
    /// Frames.
    count: usize,
    /// TCP's sequence number that comes next.
    sequence: u32,
    /// PSH and FIN of the last.
    flags: u8,
}

/// A received frame that could be joined to others.
struct Piece<'b> {
    frame: &'b mut [u8],
    mark: Mark,
    layout: Layout,
}

impl<'b> Join<'b> {
    /// With nothing in it. `uso`: equal UDP datagrams are joined, too.
    pub fn new(uso: bool) -> Self {
        Self { uso, train: None, tail: [IoSlice::new(&[]); MAX_PIECES - 1] }
    }

    /// Takes a frame and its mark. What cannot wait goes to `sink`, in the order of arrival. Frames that are not to be joined go on as they are;
    /// only a checksum that is open elsewhere than in the TCP or UDP header of the frame is completed first.
    ///
    /// [`Drop::CarriageMalformed`]: the mark points outside of the frame.
    #[inline]
    pub fn add(&mut self, mark: Mark, frame: &'b mut [u8], sink: &mut Sink<'_>) -> Result<(), Drop> {
        let (mark, layout) = check(mark, frame)?;
        let Some(layout) = layout.filter(|layout| self.is_joinable(layout, frame)) else {
            self.flush(sink);
            emit_one(mark, frame, sink);
            return Ok(());
        };
        let piece = Piece { frame, mark, layout };
        let joined = self.train.as_mut().is_some_and(|train| train.takes(&piece));
        if joined {
            self.append(piece, sink)
        } else {
            self.start(piece, sink)
        }
        Ok(())
    }

    /// Hands on what is kept.
    #[inline]
    pub fn flush(&mut self, sink: &mut Sink<'_>) {
        if let Some(train) = self.train.take() {
            train.emit(&self.tail, sink);
        }
    }

    #[inline]
    fn is_joinable(&self, layout: &Layout, frame: &[u8]) -> bool {
        let suits = match layout.protocol {
            // A segment with CWR stays alone: whether all or the first of a super-frame have it differs between kernels.
            Protocol::Tcp => frame[layout.transport + FLAGS] & !(PSH | FIN | ECE) == ACK,
            Protocol::Udp => self.uso,
        };
        let size = (1..=MAX_SIZE).contains(&(frame.len() - layout.payload));
        suits && !layout.extended && size && layout.fills(frame, frame.len())
    }

    #[inline]
    fn start(&mut self, piece: Piece<'b>, sink: &mut Sink<'_>) {
        self.flush(sink);
        let Piece { frame: first, mark, layout } = piece;
        let size = first.len() - layout.payload;
        let mut train =
            Train { first, mark, layout, template: None, size, payload: 0, count: 0, sequence: 0, flags: 0 };
        let ends = train.count_in(None, size);
        self.train = Some(train);
        if ends {
            self.flush(sink);
        }
    }

    #[inline]
    fn append(&mut self, piece: Piece<'b>, sink: &mut Sink<'_>) {
        let Some(train) = &mut self.train else { return };
        let frame: &'b [u8] = piece.frame;
        let payload = &frame[train.layout.payload..];
        self.tail[train.count - 1] = IoSlice::new(payload);
        if train.count_in(Some(frame), payload.len()) {
            self.flush(sink);
        }
    }
}

/// The mark, if it is that of the frame's own TCP or UDP header, and where the headers are. Any other mark is a hole to write into what has
/// been checked: so its checksum is completed before anybody looks at the frame.
#[inline]
fn check(mark: Mark, frame: &mut [u8]) -> Result<(Mark, Option<Layout>), Drop> {
    let layout = Layout::of(frame);
    let own = |(protocol, start)| layout.is_some_and(|found| found.transport == start && found.protocol == protocol);
    if mark.start().is_none_or(own) {
        return Ok((mark, layout));
    }
    complete(frame, mark)?;
    Ok((Mark::none(), Layout::of(frame)))
}

/// A frame that is not joined.
#[inline]
fn emit_one(mark: Mark, frame: &[u8], sink: &mut Sink<'_>) {
    sink(&Frame { vnet: mark.vnet(), ..Frame::plain(frame) });
}

impl Train<'_> {
    /// Whether the piece belongs here and is next.
    #[inline]
    fn takes(&mut self, piece: &Piece<'_>) -> bool {
        let added = piece.frame.len() - piece.layout.payload;
        piece.layout == self.layout
            && added <= self.size
            && self.layout.payload + self.payload + added <= MAX_LEN
            && self.has_headers_of(piece.frame)
            && self.opened(piece)
    }

    /// All the same but what a super-frame gives each of its frames anew.
    #[inline]
    fn has_headers_of(&self, frame: &[u8]) -> bool {
        let (first, Layout { l3, v6, transport: at, protocol, payload, .. }) = (&*self.first, self.layout);
        let (ours, theirs) = (&first[..payload], &frame[..payload]);
        let same = |from: usize, to: usize| ours[from..to] == theirs[from..to];
        let ip = if v6 {
            same(l3, l3 + 4) && same(l3 + 6, at)
        } else {
            same(l3, l3 + 2) && same(l3 + 6, l3 + 10) && same(l3 + 12, at) && self.identification_follows(theirs)
        };
        let transport = match protocol {
            Protocol::Tcp => {
                let flags = !(PSH | FIN);
                be32(theirs, at + 4) == Some(self.sequence)
                    && same(at + 8, at + FLAGS)
                    && ours[at + FLAGS] & flags == theirs[at + FLAGS] & flags
                    && same(at + 14, at + 16)
                    && same(at + 18, payload)
            }
            Protocol::Udp => true,
        };
        ip && transport && same(0, l3) && same(at, at + 4)
    }

    #[inline]
    fn identification_follows(&self, headers: &[u8]) -> bool {
        let at = self.layout.l3 + 4;
        let next = be16(self.first, at).map(|id| id.wrapping_add(self.count as u16));
        headers[at + 2] & DF != 0 || be16(headers, at) == next
    }

    /// Whether the checksums of the piece, and of the first frame, are right or open: only then nothing is lost when all become open.
    #[inline]
    fn opened(&mut self, piece: &Piece<'_>) -> bool {
        let template = match self.template {
            Some(template) => template,
            None => {
                let template = Template::new(self.first, self.layout, self.layout.pseudo(self.first));
                if !is_right(&template, self.first, self.mark) {
                    return false;
                }
                *self.template.insert(template)
            }
        };
        is_right(&template, piece.frame, piece.mark)
    }

    /// Counts a frame in (none: the first) with its payload; true if no other may follow.
    #[inline]
    fn count_in(&mut self, frame: Option<&[u8]>, payload: usize) -> bool {
        self.count += 1;
        self.payload += payload;
        if self.layout.protocol == Protocol::Tcp {
            let headers = frame.unwrap_or(self.first);
            let at = self.layout.transport;
            self.flags = headers[at + FLAGS] & (PSH | FIN);
            self.sequence = be32(headers, at + 4).unwrap_or_default().wrapping_add(payload as u32);
        }
        self.count == MAX_PIECES || payload < self.size || self.flags != 0
    }

    #[inline]
    fn emit(self, tail: &[IoSlice<'_>], sink: &mut Sink<'_>) {
        let Some(template) = self.template.filter(|_| self.count > 1) else {
            return emit_one(self.mark, self.first, sink);
        };
        template.write(self.first, self.payload, 0);
        let Layout { transport, protocol, payload, v6, .. } = self.layout;
        let gso = match protocol {
            Protocol::Tcp if v6 => Gso::Tcp6,
            Protocol::Tcp => Gso::Tcp4,
            Protocol::Udp => Gso::Udp,
        };
        if protocol == Protocol::Tcp {
            self.first[transport + FLAGS] |= self.flags;
        }
        let open = Some((transport as u16, protocol.checksum_offset() as u16));
        let vnet = Offload { gso: Some(gso), headers: payload as u16, size: self.size as u16, open }.vnet();
        sink(&Frame { vnet, bytes: self.first, tail: &tail[..self.count - 1], segments: self.count as u16 });
    }
}

/// Whether the checksums of a frame with this template are right, that of TCP or UDP perhaps open.
#[inline]
fn is_right(template: &Template, frame: &[u8], mark: Mark) -> bool {
    let layout = &template.layout;
    let open = || be16(frame, layout.checksum()) == Some(template.open(frame.len() - layout.transport));
    ip_is_right(frame, layout) && if mark.is_none() { verify(frame, layout) } else { open() }
}
