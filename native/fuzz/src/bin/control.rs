// SPDX-License-Identifier: MIT
//! A control connection: whatever pieces the bytes come in, its request is the first line, or it is refused in one line of JSON.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use ipop_fuzz::Choices;
use ipop_io_parts::connection::{Connection, Step};

ipop_fuzz::target!(check);

const MAX_REQUEST: usize = 4096;

fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (mut peer, socket) = UnixStream::pair().expect("a pair of sockets");
    peer.set_nonblocking(true).and_then(|()| socket.set_nonblocking(true)).expect("sockets that do not block");
    let (mut connection, now) = (Connection::new(socket), Instant::now());
    let (mut sent, mut end) = (Vec::new(), None);
    while !choices.done() && end.is_none() && sent.len() < 3 * MAX_REQUEST {
        let piece = piece(&mut choices);
        if piece.is_empty() {
            continue;
        }
        peer.write_all(&piece).expect("the other end reads");
        sent.extend(piece);
        // Up to 4 097 bytes a turn.
        for _ in 0..3 {
            match connection.step(now, false) {
                Step::Wait => {}
                step => {
                    end = Some(step);
                    break;
                }
            }
        }
    }
    let line = sent.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let whole = sent.contains(&b'\n') && line.len() <= MAX_REQUEST;
    match end {
        None => assert!(!sent.contains(&b'\n') && sent.len() <= MAX_REQUEST),
        Some(Step::Request(request)) => {
            assert!(whole);
            assert_eq!(request, line);
            answer(&mut connection, &mut peer, &mut choices, now);
        }
        Some(Step::Close) => {
            assert!(line.len() > MAX_REQUEST, "a good request is not refused");
            drop(connection);
            assert!(read(&mut peer).starts_with(b"{\"error\":{\"code\":\"too-long\""));
        }
        Some(Step::Wait) => unreachable!(),
    }
}

/// The answer comes whole, whatever it holds.
fn answer(connection: &mut Connection, peer: &mut UnixStream, choices: &mut Choices<'_>, now: Instant) {
    let answer = choices.rest().to_vec();
    connection.answer(answer.clone());
    assert!(matches!(connection.step(now, false), Step::Close));
    assert_eq!(read(peer), answer);
}

fn read(peer: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match peer.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(cause) => assert_eq!(cause.kind(), ErrorKind::WouldBlock),
    }
    bytes
}

fn piece(choices: &mut Choices<'_>) -> Vec<u8> {
    if choices.byte() & 3 > 0 {
        return choices.bytes(200).to_vec();
    }
    vec![choices.one_of(&[b'x', b'"', 0, 0xff]); choices.up_to(MAX_REQUEST + 2)]
}
