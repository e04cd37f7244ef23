// SPDX-License-Identifier: MIT
//! The guard before OpenSSL: a datagram goes through unchanged and once, or not at all; it stays out exactly when one of its DTLS records is
//! sealed but too short to be.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_fuzz::Choices;
use ipop_link_parts::let_through;

ipop_fuzz::target!(check);

fn check(data: &[u8]) {
    judge(data, is_forged(data));
    let mut choices = Choices::new(data);
    let (mut datagram, mut forged) = (Vec::new(), false);
    while !choices.done() && datagram.len() < 2000 {
        let (kind, epoch, length) = (20 + choices.up_to(5) as u8, choices.word() % 3, choices.up_to(40) as u16);
        forged |= epoch > 0 && length < 24;
        datagram.extend([kind, 0xfe, choices.one_of(&[0xfd, 0xff])]);
        datagram.extend(epoch.to_be_bytes());
        datagram.extend(choices.filled::<6>());
        datagram.extend(length.to_be_bytes());
        datagram.resize(datagram.len() + usize::from(length), choices.byte());
    }
    judge(&datagram, forged);
}

fn judge(datagram: &[u8], forged: bool) {
    let (result, passed) = let_through(datagram);
    let expected: &[&[u8]] = if forged || datagram.is_empty() { &[] } else { &[datagram] };
    assert_eq!(passed, expected);
    assert_eq!(result, datagram.len() as i32, "a datagram that is kept out counts as taken");
}

/// By offsets instead of slices. Whoever does not begin as a DTLS record is left alone, also behind good records.
fn is_forged(datagram: &[u8]) -> bool {
    let mut at = 0;
    while at + 13 <= datagram.len() {
        if datagram[at] < 20 || datagram[at] > 25 || datagram[at + 1] != 254 {
            return false;
        }
        let epoch = datagram[at + 3] as u32 * 256 + datagram[at + 4] as u32;
        let length = datagram[at + 11] as usize * 256 + datagram[at + 12] as usize;
        if epoch != 0 && length < 24 {
            return true;
        }
        at += 13 + length;
    }
    false
}
