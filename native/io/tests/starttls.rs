// SPDX-License-Identifier: MIT
//! STARTTLS against a scripted server: what passes, and what is refused before any password could be sent.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use ipop_base::{TextMap, TextMapWriter};
use ipop_io::Streams;
use support::{Folder, Records, STREAM_CLOSED, STREAM_DATA, STREAM_OPEN};
use tls::{Ca, Certificate, NAME, Server};

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' id='1' from='xmpp.example' version='1.0'>";
const OFFER: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
    <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
/// Ends of what the client says.
const OPENED: &str = "version='1.0'>";
const ASKED: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

struct Client {
    records: Records,
    streams: std::sync::Arc<Streams>,
    folder: Folder,
}

impl Client {
    /// Opens a stream by STARTTLS that trusts `ca`.
    fn open(port: u16, ca: &str, timeout_ms: u32) -> Self {
        let (queue, records) = Records::new();
        let client = Self { streams: Streams::new(queue), records, folder: Folder::new() };
        let file = client.folder.file("ca.pem");
        std::fs::write(&file, ca).unwrap();
        let map = TextMapWriter::default().put("host", "127.0.0.1").put("port", port).put("name", NAME);
        let map = map.put("ca", file).put("tls", "starttls").put("timeout_ms", timeout_ms);
        client.streams.open(&TextMap::parse(&map.bytes()).unwrap()).unwrap();
        client
    }

    /// Why it ended, without ever having been open.
    fn failure(mut self) -> (String, String) {
        let record = self.records.next();
        assert_eq!(record.kind, STREAM_CLOSED, "{}", String::from_utf8_lossy(&record.payload));
        (record.map().need("code").unwrap().to_owned(), record.map().need("text").unwrap().to_owned())
    }
}

fn good() -> (Ca, Certificate) {
    let ca = Ca::new("Test CA");
    let certificate = ca.issue(NAME, 2020, 2100);
    (ca, certificate)
}

/// How a server that says this after our header is refused; it must not hear anything more of us.
fn refusal(says: &str) -> (String, String) {
    let says = says.to_owned();
    let server = Server::plain(move |mut socket| {
        let mut header = vec![0; 4096];
        let length = socket.read(&mut header).unwrap();
        assert!(header[..length].ends_with(OPENED.as_bytes()));
        socket.write_all(says.as_bytes()).unwrap();
        assert_eq!(socket.read(&mut header).unwrap_or(0), 0, "nothing more is said");
    });
    let failure = Client::open(server.port, &good().0.pem(), 5000).failure();
    server.join();
    failure
}

#[test]
fn the_stream_is_open_once_tls_is_and_no_plain_byte_comes_out_of_it() {
    let (ca, certificate) = good();
    let script = vec![(OPENED, format!("{HEADER}{OFFER}")), (ASKED, PROCEED.to_owned())];
    let server = Server::starttls(&certificate, script, |mut tls| {
        let mut hello = [0u8; 5];
        tls.read_exact(&mut hello).unwrap();
        assert_eq!((&hello, tls.conn.server_name()), (b"hello", Some(NAME)));
        tls.write_all(b"inside").unwrap();
        tls.flush().unwrap();
        drop(tls.read(&mut [0]));
    });
    let mut client = Client::open(server.port, &ca.pem(), 5000);
    let open = client.records.next();
    assert_eq!(open.kind, STREAM_OPEN, "{}", String::from_utf8_lossy(&open.payload));
    assert_eq!(open.map().need("exporter").unwrap().len(), 64);
    client.streams.write(open.handle, b"hello").unwrap();
    let data = client.records.next();
    assert_eq!((data.kind, data.payload.as_slice()), (STREAM_DATA, &b"inside"[..]));
    client.streams.close(open.handle).unwrap();
    server.join();
}

#[test]
fn a_server_that_speaks_byte_by_byte_is_understood() {
    let (ca, certificate) = good();
    let mut script: Vec<(&str, String)> = format!("{HEADER}{OFFER}").chars().map(|c| ("", c.to_string())).collect();
    script[0].0 = OPENED;
    script.push((ASKED, PROCEED[..9].to_owned()));
    script.push(("", PROCEED[9..].to_owned()));
    let server = Server::starttls(&certificate, script, |mut tls| drop(tls.read(&mut [0])));
    let mut client = Client::open(server.port, &ca.pem(), 5000);
    assert_eq!(client.records.next().kind, STREAM_OPEN);
}

#[test]
fn certificates_are_checked_as_with_direct_tls() {
    let (_, certificate) = good();
    let script = vec![(OPENED, format!("{HEADER}{OFFER}")), (ASKED, PROCEED.to_owned())];
    let server = Server::starttls(&certificate, script, |mut tls| drop(tls.read(&mut [0])));
    assert_eq!(Client::open(server.port, &Ca::new("Another CA").pem(), 5000).failure().0, "tls-unknown-ca");
}

#[test]
fn bytes_behind_the_consent_are_refused() {
    for injected in ["<message/>", " ", "\u{16}\u{3}\u{3}"] {
        let (ca, certificate) = good();
        let script = vec![(OPENED, format!("{HEADER}{OFFER}")), (ASKED, format!("{PROCEED}{injected}"))];
        let server = Server::starttls(&certificate, script, |mut tls| drop(tls.read(&mut [0])));
        let (code, text) = Client::open(server.port, &ca.pem(), 5000).failure();
        assert_eq!(code, "starttls-refused");
        assert!(text.contains(&format!("sent {} bytes after its consent to TLS", injected.len())), "{text}");
    }
}

#[test]
fn a_server_without_starttls_is_refused_whatever_else_it_offers() {
    let plain = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
    let (code, text) = refusal(&format!("{HEADER}{plain}"));
    assert_eq!(code, "starttls-refused");
    assert!(text.contains("offers no STARTTLS, and no password is sent without TLS"), "{text}");
}

#[test]
fn a_server_that_ends_the_stream_is_quoted() {
    let error =
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
    let (code, text) = refusal(&format!("{HEADER}{error}"));
    assert_eq!(code, "starttls-refused");
    assert!(text.contains("before TLS: host-unknown"), "{text}");
}

#[test]
fn a_port_of_something_else_is_told() {
    let (code, text) = refusal("220 mail.example ESMTP\r\n");
    assert_eq!(code, "starttls-refused");
    assert!(text.contains("does not answer as an XMPP server"), "{text}");
}

#[test]
fn a_refusal_after_the_offer_is_told() {
    let (ca, certificate) = good();
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>".to_owned();
    let script = vec![(OPENED, format!("{HEADER}{OFFER}")), (ASKED, failure)];
    let server = Server::starttls(&certificate, script, |_| ());
    let (code, text) = Client::open(server.port, &ca.pem(), 5000).failure();
    assert_eq!(code, "starttls-refused");
    assert!(text.contains("refused to start TLS"), "{text}");
}

#[test]
fn endless_talk_before_tls_is_cut() {
    let (code, text) = refusal(&format!("{HEADER}<stream:features>{}", "<x/>".repeat(20_000)));
    assert_eq!(code, "starttls-refused");
    assert!(text.contains("says too much before TLS"), "{text}");
}

#[test]
fn silence_before_tls_ends_in_time() {
    let server = Server::plain(|mut socket| {
        let mut heard = Vec::new();
        drop(socket.read_to_end(&mut heard));
    });
    let start = Instant::now();
    let (code, text) = Client::open(server.port, &good().0.pem(), 300).failure();
    assert_eq!(code, "timeout");
    assert!(text.contains("no answer to STARTTLS"), "{text}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_hangs_up_before_tls_is_an_eof() {
    let server = Server::plain(|mut socket| {
        let mut heard = [0; 4096];
        drop(socket.read(&mut heard));
    });
    let (code, text) = Client::open(server.port, &good().0.pem(), 5000).failure();
    assert_eq!(code, "eof");
    assert!(text.contains("closed the connection before TLS"), "{text}");
}
