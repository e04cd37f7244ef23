// SPDX-License-Identifier: MIT
//! Answers of name servers: only an answer to our own question counts, targets are names that a host can have, and records come as they are.
#![cfg_attr(feature = "libfuzzer", no_main)]

use ipop_fuzz::Choices;
use ipop_io_parts::answer::{belongs, is_name, read};
use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, Question, ResourceRecord, TYPE};

ipop_fuzz::target!(check);

const NAME: &str = "_xmpp-client._tcp.example.org";
const ID: u16 = 0x1234;

fn check(data: &[u8]) {
    raw(data);
    // Most of what is random has another number: give it ours.
    if data.len() > 2 {
        raw(&[&ID.to_be_bytes(), &data[2..]].concat());
    }
    built(&mut Choices::new(data));
}

fn raw(data: &[u8]) {
    let records = read(NAME, ID, data);
    let Ok(records) = records else { return };
    assert!(belongs(NAME, ID, data));
    assert!(data[..2] == ID.to_be_bytes() && data[2] & 0x80 != 0, "a number or a flag that is not an answer's");
    assert!(records.len() <= 32);
    for record in records {
        let text = record.to_string();
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(words.len(), 4, "{text:?}");
        assert!(words[..3].iter().all(|word| word.parse::<u16>().is_ok()), "{text:?}");
        assert!(words[3] == "." || is_name(words[3]), "{text:?}");
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
}

fn built(choices: &mut Choices<'_>) {
    let mut reply = Packet::new_reply(ID);
    let asked = choices.one_of(&[NAME, NAME, NAME, "_XMPP-client._tcp.example.ORG", "_xmpp-client._tcp.example.net"]);
    reply.questions.push(Question::new(Name::new(asked).unwrap(), TYPE::SRV.into(), CLASS::IN.into(), false));
    let mut wanted = Vec::new();
    while !choices.done() && reply.answers.len() < 40 {
        let (priority, weight, port) = (choices.word(), choices.word(), choices.word());
        let target = choices.one_of(&["a.example.org", "xn--bcher-kva.example", ".", "x_y.example", "1.2.3.4"]);
        let data = SRV { priority, weight, port, target: Name::new(target).unwrap() };
        reply.answers.push(ResourceRecord::new(Name::new(NAME).unwrap(), CLASS::IN, 60, RData::SRV(data)));
        wanted.push(format!("{priority} {weight} {port} {target}"));
    }
    wanted.truncate(32);
    let bytes = reply.build_bytes_vec_compressed().unwrap();
    let read = read(NAME, ID, &bytes).map(|records| records.iter().map(ToString::to_string).collect::<Vec<_>>());
    if asked.eq_ignore_ascii_case(NAME) {
        assert_eq!(read, Ok(wanted));
    } else {
        assert!(read.is_err(), "an answer to another question");
    }
}
