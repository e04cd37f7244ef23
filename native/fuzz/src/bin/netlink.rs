// SPDX-License-Identifier: MIT
//! The kernel's answers: whatever bytes come, the reading ends, and messages of other requests are nobody's.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_fuzz::Choices;
use ipop_io_parts::netlink::collect;
use ipop_io_parts::watch::any_matters;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

ipop_fuzz::target!(check);

const SEQUENCE: u32 = 7;

fn check(data: &[u8]) {
    raw(data);
    built(&mut Choices::new(data));
}

fn raw(data: &[u8]) {
    // Routes are 24 (new) and 25 (gone); without either in the bytes, the first message matters whatever it is.
    if data.len() >= 16 && !data.windows(2).any(|kind| [24, 25].contains(&u16::from_ne_bytes([kind[0], kind[1]]))) {
        assert!(any_matters(data));
    }
    assert!(data.len() >= 16 || !any_matters(data));
    for list in [false, true] {
        let mut answers = Vec::new();
        let result = collect(data, SEQUENCE, list, &mut answers, "cannot read");
        assert!(answers.len() <= data.len() / 16);
        assert!(result.is_ok_and(|last| !last) || data.len() >= 16);
        // No message of this number: nothing at all comes of the bytes.
        let mut strangers = Vec::new();
        let foreign = collect(data, 0xdead_beef, list, &mut strangers, "cannot read");
        if !data.windows(4).any(|four| four == 0xdead_beef_u32.to_ne_bytes()) {
            assert!(strangers.is_empty() && !matches!(foreign, Ok(true)));
        }
    }
}

/// Good messages, of ours and of others: ours come out as they went in.
fn built(choices: &mut Choices<'_>) {
    let (mut datagram, mut ours) = (Vec::new(), Vec::new());
    while !choices.done() && datagram.len() < 8000 {
        let content = message(choices);
        let mut message = NetlinkMessage::from(content.clone());
        message.header.sequence_number = choices.one_of(&[SEQUENCE, SEQUENCE, 6]);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        datagram.extend(bytes);
        if message.header.sequence_number == SEQUENCE && matches!(message.payload, NetlinkPayload::InnerMessage(_)) {
            ours.push(content);
        }
    }
    let mut answers = Vec::new();
    assert_eq!(collect(&datagram, SEQUENCE, true, &mut answers, "cannot read"), Ok(false));
    assert_eq!(answers, ours);
}

fn message(choices: &mut Choices<'_>) -> RouteNetlinkMessage {
    if choices.byte() & 1 == 0 {
        let mut link = LinkMessage::default();
        link.header.index = choices.word().into();
        let name: String = choices.bytes(15).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
        link.attributes.push(LinkAttribute::IfName(name));
        link.attributes.push(LinkAttribute::Mtu(choices.word().into()));
        link.attributes.push(LinkAttribute::Controller(choices.byte().into()));
        RouteNetlinkMessage::NewLink(link)
    } else {
        let mut address = AddressMessage::default();
        address.header.family = netlink_packet_route::AddressFamily::Inet;
        address.header.index = choices.byte().into();
        address.attributes.push(AddressAttribute::Local(std::net::Ipv4Addr::from(choices.filled::<4>()).into()));
        RouteNetlinkMessage::NewAddress(address)
    }
}
