// SPDX-License-Identifier: MIT
//! What a name server says to a question for SRV records (RFC 1035, RFC 2782): bytes in, no I/O.

use std::fmt;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

/// Nobody runs more servers; also bounds the record.
const MAX_RECORDS: usize = 32;

/// One SRV record; shown as `priority weight port target`, the target without its final dot but for the root, which is `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

impl fmt::Display for Srv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.priority, self.weight, self.port, self.target)
    }
}

/// Whether DNS can hold this name, as text without escapes.
pub fn is_name(name: &str) -> bool {
    let fine = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(fine) && !name.contains("..") && Name::new(name).is_ok()
}

/// Whether a message answers our query: somebody else's guess is no answer.
pub fn belongs(name: &str, id: u16, message: &[u8]) -> bool {
    let Ok(packet) = Packet::parse(message) else { return false };
    let Ok(name) = Name::new(name) else { return false };
    let asked = |question: &Question<'_>| {
        question.qtype == QTYPE::TYPE(TYPE::SRV)
            && question.qclass == QCLASS::CLASS(CLASS::IN)
            && question.qname.to_string().eq_ignore_ascii_case(&name.to_string())
    };
    packet.id() == id && packet.has_flags(PacketFlag::RESPONSE) && packet.questions.iter().all(asked)
}

/// The records of an answer, none when the name has none. Err: it is no answer, or the server refuses, in words.
pub fn read(name: &str, id: u16, answer: &[u8]) -> Result<Vec<Srv>, String> {
    if !belongs(name, id, answer) {
        return Err("answers something else".to_owned());
    }
    let packet = Packet::parse(answer).map_err(|cause| cause.to_string())?;
    match packet.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        other => return Err(format!("answers {other:?}")),
    }
    // Also those at the end of a CNAME: the server has followed it, and DNS without DNSSEC vouches for neither.
    let records = packet.answers.iter().filter_map(|answer| match &answer.rdata {
        RData::SRV(srv) => record(srv),
        _ => None,
    });
    Ok(records.take(MAX_RECORDS).collect())
}

/// None: a target that no host can have.
fn record(srv: &simple_dns::rdata::SRV<'_>) -> Option<Srv> {
    let target = srv.target.to_string();
    let target = if target.is_empty() { ".".to_owned() } else { target };
    if target != "." && !is_name(&target) {
        return None;
    }
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
}
