// SPDX-License-Identifier: MIT

use ipop_base::VnetHeader;

use super::*;
use crate::report::UNREPORTED_MAX;

fn sender() -> Sender {
    Sender::new(|| 0x1234, true)
}

fn frame(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

fn packets(sender: &mut Sender, frame: &Frame<'_>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut output = |packet: &[u8]| {
        out.push(packet.to_vec());
        Ok(())
    };
    sender.frame(frame, 5, &mut output).unwrap();
    out
}

fn receive(receiver: &mut Receiver, packets: &[Vec<u8>], drops: &DropCounters) -> Vec<Vec<u8>> {
    let received = packets.iter().filter_map(|packet| match receiver.packet(&mut packet.clone(), 5, drops).0 {
        Received::Frame(mark, bytes) => {
            checksum::complete(bytes, mark).unwrap();
            Some(bytes.to_vec())
        }
        Received::Joined(bytes) => Some(bytes),
        _ => None,
    });
    received.collect()
}

#[test]
fn frames_of_every_length_cross_and_no_packet_exceeds_1184_bytes() {
    let (mut sender, mut receiver, drops) = (sender(), Receiver::new(0), DropCounters::default());
    for len in (14..2000).chain([9000, 65535]) {
        let bytes = frame(len);
        let packets = packets(&mut sender, &Frame::plain(&bytes));
        assert!(packets.iter().all(|packet| packet.len() <= 1184), "{len}");
        assert_eq!(packets.len() == 1, len <= 1168, "{len}");
        assert_eq!(receive(&mut receiver, &packets, &drops), [bytes]);
    }
    assert_eq!(drops.all().iter().sum::<u64>(), 0);
}

#[test]
fn frames_that_cannot_be_carried_are_refused_with_their_reason() {
    let mut output = |_: &[u8]| Ok(());
    let long = frame(fragment::MAX_PIECE * fragment::MAX_PIECES + 1);
    assert_eq!(sender().frame(&Frame::plain(&long), 0, &mut output), Err(Drop::Oversize));
    assert_eq!(sender().frame(&Frame::plain(&long[..13]), 0, &mut output), Err(Drop::Malformed));
}

#[test]
fn an_open_checksum_travels_open_and_its_mark_with_it() {
    let mut bytes = vec![0u8; 14 + 20 + 8 + 3];
    bytes[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
    bytes[16..18].copy_from_slice(&31u16.to_be_bytes());
    bytes[23] = 17;
    bytes[34..36].copy_from_slice(&[0x12, 0x34]);
    bytes[38..40].copy_from_slice(&11u16.to_be_bytes());
    bytes[40..42].copy_from_slice(&[0xab, 0xcd]);
    bytes[42..45].copy_from_slice(&[1, 2, 3]);
    let mut vnet = [0u8; 10];
    vnet[0] = 1;
    vnet[6..8].copy_from_slice(&34u16.to_ne_bytes());
    vnet[8..10].copy_from_slice(&6u16.to_ne_bytes());
    let sent = Frame { vnet: VnetHeader(vnet), ..Frame::plain(&bytes) };
    let mut out = packets(&mut sender(), &sent);
    let (mut receiver, drops) = (Receiver::new(0), DropCounters::default());
    let Received::Frame(mark, received) = receiver.packet(&mut out[0], 5, &drops).0 else { panic!("no frame") };
    assert_eq!((mark, &received[..]), (Mark::udp(34).unwrap(), &bytes[..]));
    vnet[6..8].copy_from_slice(&500u16.to_ne_bytes());
    let broken = Frame { vnet: VnetHeader(vnet), ..sent };
    assert_eq!(sender().frame(&broken, 0, &mut |_| Ok(())), Err(Drop::Malformed));
}

#[test]
fn garbage_is_counted_and_what_follows_still_arrives() {
    let (mut receiver, drops) = (Receiver::new(0), DropCounters::default());
    let good = packets(&mut sender(), &Frame::plain(&frame(60)));
    let head = &good[0][..12];
    let payloads: [&[u8]; 8] =
        [&[], &[1], &[1, 0, 9], &[1, 1, 0, 0], &[0, 0], &[2, 0, 0, 0, 0, 0, 0, 2], &[3, 0, 1], &[4, 0]];
    for payload in payloads {
        receiver.packet(&mut [head, payload].concat(), 0, &drops);
    }
    receiver.packet(&mut [0xff; 40], 0, &drops);
    assert_eq!(drops.get(Drop::CarriageMalformed), 9);
    assert_eq!(receive(&mut receiver, &good, &drops), [frame(60)]);
}

#[test]
fn a_report_confirms_what_was_sent_so_that_the_ssrc_stays() {
    let (mut sender, mut receiver, drops) = (sender(), Receiver::new(0), DropCounters::default());
    let bytes = frame(60);
    for _ in 0..UNREPORTED_MAX * 3 {
        let mut due = false;
        let mut output = |packet: &[u8]| {
            due = receiver.packet(&mut packet.to_vec(), 0, &drops).1;
            Ok(())
        };
        sender.frame(&Frame::plain(&bytes), 0, &mut output).unwrap();
        if due {
            let report = receiver.report(0);
            let mut wire = Vec::new();
            let mut output = |packet: &[u8]| {
                wire.extend_from_slice(packet);
                Ok(())
            };
            Sender::new(|| 7, true).report(&report, 0, &mut output).unwrap();
            let mut fresh = Receiver::new(0);
            let (received, _) = fresh.packet(&mut wire, 0, &drops);
            assert_eq!(received, Received::Report(report));
            sender.reported(&report);
        }
    }
    assert_eq!(sender.ssrc_changes(), 0);
}

#[test]
fn a_sender_without_reports_ends_exhausted() {
    let mut sender = Sender::new(|| 1, true);
    let bytes = frame(60);
    for _ in 0..=crate::report::SSRC_CHANGES_MAX {
        sender.frame(&Frame::plain(&bytes), 0, &mut |_| Ok(())).unwrap();
        sender.progress.skip(UNREPORTED_MAX);
    }
    assert!(!sender.is_exhausted());
    assert_eq!(sender.frame(&Frame::plain(&bytes), 0, &mut |_| Ok(())), Err(Drop::LinkClosed));
    assert!(sender.is_exhausted());
}
