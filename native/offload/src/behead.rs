// SPDX-License-Identifier: MIT
//! A super-frame loses its first segment, as a queue would have dropped it.

use ipop_base::{Drop, VnetHeader};

use crate::headers::{Layout, Protocol, be32};
use crate::template::{Template, pseudo_of_open};
use crate::vnet::{Gso, Offload};

/// Takes the first segment off a TCP super-frame, in place: what is left begins at the returned offset, with the same virtio header. So
/// its sender learns of congestion by what follows, and repeats one segment; without the whole frame it might wait for a timer.
///
/// [`Drop::Malformed`]: it is no TCP super-frame of two segments or more, or its virtio header does not describe it. Nothing is changed then.
pub fn behead(vnet: &VnetHeader, bytes: &mut [u8]) -> Result<usize, Drop> {
    let Offload { gso: Some(Gso::Tcp4 | Gso::Tcp6), size, open: Some((start, offset)), .. } = Offload::read(vnet)?
    else {
        return Err(Drop::Malformed);
    };
    let (size, open) = (usize::from(size), (usize::from(start), usize::from(offset)));
    let layout = Layout::of(bytes).filter(|layout| layout.protocol == Protocol::Tcp).ok_or(Drop::Malformed)?;
    let is_described = open == (layout.transport, layout.protocol.checksum_offset());
    let left = bytes.len().saturating_sub(layout.payload + size);
    if !is_described || left == 0 || bytes.len() - layout.transport > usize::from(u16::MAX) {
        return Err(Drop::Malformed);
    }
    let pseudo = pseudo_of_open(bytes, &layout, bytes.len() - layout.transport);
    let template = Template::new(bytes, layout, pseudo);
    let at = layout.transport + 4;
    let sequence = be32(bytes, at).ok_or(Drop::Malformed)?.wrapping_add(size as u32);
    bytes.copy_within(..layout.payload, size);
    let headers = &mut bytes[size..size + layout.payload];
    headers[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
    template.write(headers, left, 1);
    Ok(size)
}
