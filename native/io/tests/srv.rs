// SPDX-License-Identifier: MIT
//! SRV look-ups against name servers of our own on loopback.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipop_base::{TextMap, TextMapWriter};
use ipop_io::SrvLookups;
use simple_dns::rdata::{RData, SRV as SrvData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};
use support::{Records, SRV};

const NAME: &str = "_xmpp-client._tcp.example.org";

/// What a test server makes of one query: the datagrams it sends back.
type Answer = dyn Fn(&Packet<'_>) -> Vec<Vec<u8>> + Send + Sync;

/// Answers datagrams until the test ends.
fn serve(answer: impl Fn(&Packet<'_>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    serve_on(UdpSocket::bind("127.0.0.1:0").unwrap(), Arc::new(answer))
}

fn serve_on(socket: UdpSocket, answer: Arc<Answer>) -> SocketAddr {
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            for datagram in answer(&Packet::parse(&buffer[..length]).unwrap()) {
                socket.send_to(&datagram, from).unwrap();
            }
        }
    });
    address
}

fn reply(query: &Packet<'_>, records: &[(u16, u16, u16, &'static str)]) -> Packet<'static> {
    let mut reply = Packet::new_reply(query.id());
    reply.questions = query.questions.iter().map(|question| question.clone().into_owned()).collect();
    for &(priority, weight, port, target) in records {
        let data = SrvData { priority, weight, port, target: Name::new(target).unwrap() };
        let name = Name::new(NAME).unwrap().into_owned();
        reply.answers.push(ResourceRecord::new(name, CLASS::IN, 60, RData::SRV(data)));
    }
    reply
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec_compressed().unwrap()
}

/// Asks these servers and returns the record's map.
fn look_up(servers: &[SocketAddr], timeout_ms: u32) -> TextMap {
    let (queue, mut records) = Records::new();
    let lookups = SrvLookups::new(queue);
    let map = TextMapWriter::default().put("name", NAME).put("timeout_ms", timeout_ms);
    let map = servers.iter().fold(map, |map, server| map.put("server", server));
    let request = lookups.start(&TextMap::parse(&map.bytes()).unwrap()).unwrap();
    let record = records.next();
    assert_eq!((record.kind, record.handle), (SRV, request));
    record.map()
}

fn records(map: &TextMap) -> Vec<&str> {
    assert_eq!(map.get("code"), None, "{map:?}");
    map.all("record").collect()
}

#[test]
fn all_records_of_a_name_are_told_as_they_are() {
    let server = serve(|query| {
        assert_eq!(query.questions[0].qname.to_string(), NAME);
        assert!(query.has_flags(PacketFlag::RECURSION_DESIRED));
        vec![bytes(&reply(query, &[(5, 0, 5222, "a.example.org"), (10, 20, 443, "b.example.net")]))]
    });
    assert_eq!(records(&look_up(&[server], 2000)), ["5 0 5222 a.example.org", "10 20 443 b.example.net"]);
}

#[test]
fn a_target_of_the_root_is_told_as_a_dot() {
    let server = serve(|query| vec![bytes(&reply(query, &[(0, 0, 0, ".")]))]);
    assert_eq!(records(&look_up(&[server], 2000)), ["0 0 0 ."]);
}

#[test]
fn a_name_without_records_and_a_name_that_is_not_there_give_none() {
    for code in [RCODE::NoError, RCODE::NameError] {
        let server = serve(move |query| {
            let mut reply = reply(query, &[]);
            *reply.rcode_mut() = code;
            vec![bytes(&reply)]
        });
        assert!(records(&look_up(&[server], 2000)).is_empty());
    }
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let server = serve(|query| {
        let mut guess = reply(query, &[(0, 0, 1, "evil.example")]);
        guess.set_id(query.id().wrapping_add(1));
        let mut other = reply(query, &[(0, 0, 1, "evil.example")]);
        other.questions[0].qname = Name::new("_xmpp-client._tcp.example.com").unwrap();
        let mut question = reply(query, &[(0, 0, 1, "evil.example")]);
        question.remove_flags(PacketFlag::RESPONSE);
        let good = bytes(&reply(query, &[(0, 0, 5222, "good.example")]));
        vec![bytes(&guess), bytes(&other), bytes(&question), b"nonsense".to_vec(), good]
    });
    assert_eq!(records(&look_up(&[server], 2000)), ["0 0 5222 good.example"]);
}

#[test]
fn the_next_server_is_asked_when_one_fails() {
    let broken = serve(|query| {
        let mut reply = reply(query, &[]);
        *reply.rcode_mut() = RCODE::ServerFailure;
        vec![bytes(&reply)]
    });
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let good = serve(|query| vec![bytes(&reply(query, &[(0, 0, 5222, "good.example")]))]);
    assert_eq!(records(&look_up(&[broken, closed, good], 2000)), ["0 0 5222 good.example"]);
}

#[test]
fn a_lost_datagram_is_sent_again() {
    let lost = std::sync::atomic::AtomicBool::new(true);
    let server = serve(move |query| match lost.swap(false, std::sync::atomic::Ordering::Relaxed) {
        true => vec![],
        false => vec![bytes(&reply(query, &[(0, 0, 5222, "good.example")]))],
    });
    assert_eq!(records(&look_up(&[server], 600)), ["0 0 5222 good.example"]);
}

#[test]
fn an_answer_that_was_cut_is_fetched_by_tcp() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
    let server = serve_on(
        udp,
        Arc::new(|query| {
            let mut reply = reply(query, &[]);
            reply.set_flags(PacketFlag::TRUNCATION);
            vec![bytes(&reply)]
        }),
    );
    std::thread::spawn(move || {
        let (mut socket, _) = tcp.accept().unwrap();
        let mut length = [0; 2];
        socket.read_exact(&mut length).unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        socket.read_exact(&mut query).unwrap();
        let many: Vec<_> = (0..40).map(|i| (i, 0, 5222, "a-rather-long-name-of-a-server.example.org")).collect();
        let answer = bytes(&reply(&Packet::parse(&query).unwrap(), &many));
        socket.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
        socket.write_all(&answer).unwrap();
    });
    let map = look_up(&[server], 2000);
    let found = records(&map);
    assert_eq!((found.len(), found[31]), (32, "31 0 5222 a-rather-long-name-of-a-server.example.org"));
}

#[test]
fn servers_that_say_nothing_are_given_up_in_time_and_named() {
    let silent = serve(|_| vec![]);
    let start = Instant::now();
    let map = look_up(&[silent], 400);
    assert_eq!(map.get("code"), Some("dns"));
    assert_eq!(map.get("text").unwrap(), format!("cannot look up the servers of '{NAME}': {silent}: no answer"));
    assert!((300..900).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn nonsense_is_refused_at_once_and_so_is_a_ninth_look_up() {
    let (queue, _records) = Records::new();
    let lookups = SrvLookups::new(queue);
    let start = |text: &str| lookups.start(&TextMap::parse(text.as_bytes()).unwrap()).map_err(|error| error.errno);
    for wrong in
        ["name=", "name=a..b", "name=a b", "name=é", "name=a\nserver=x", "name=a\ntimeout_ms=0", "server=1.2.3.4:5"]
    {
        assert_eq!(start(wrong), Err(libc::EINVAL), "{wrong}");
    }
    assert_eq!(start(&format!("name={}", "a".repeat(64))), Err(libc::EINVAL));
    let silent = serve(|_| vec![]);
    for _ in 0..8 {
        start(&format!("name={NAME}\nserver={silent}")).unwrap();
    }
    assert_eq!(start(&format!("name={NAME}\nserver={silent}")), Err(libc::EAGAIN));
    let before = Instant::now();
    assert_eq!(lookups.stop(), 0, "all threads ended");
    assert!(before.elapsed() < Duration::from_secs(1));
}
