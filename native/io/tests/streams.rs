// SPDX-License-Identifier: MIT
//! TLS streams against a real server: what passes, and what is said when something does not.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipop_base::{Handle, TextMap, TextMapWriter};
use ipop_io::Streams;
use rcgen::IsCa;
use rustls::version::{TLS12, TLS13};
use support::{Folder, Records, STREAM_CLOSED, STREAM_DATA, STREAM_OPEN};
use tls::{Ca, Certificate, NAME, Server, TlsStream};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

struct Client {
    streams: Arc<Streams>,
    records: Records,
    folder: Folder,
}

impl Client {
    fn new() -> Self {
        let (queue, records) = Records::new();
        Self { streams: Streams::new(queue), records, folder: Folder::new() }
    }

    /// Settings for a port, trusting `ca`; more lines come last and the first value of a key counts, so they are put first.
    fn config(&self, port: u16, ca: &str, first: &[(&str, &str)]) -> TextMap {
        let file = self.folder.file("ca.pem");
        std::fs::write(&file, ca).unwrap();
        let map = first.iter().fold(TextMapWriter::default(), |map, (key, value)| map.put(key, value));
        let map = map.put("host", "127.0.0.1").put("port", port).put("name", NAME).put("ca", file);
        TextMap::parse(&map.bytes()).unwrap()
    }

    fn open(&self, port: u16, ca: &str) -> Handle {
        self.streams.open(&self.config(port, ca, &[])).unwrap()
    }

    /// Opens and waits for STREAM_OPEN.
    fn opened(&mut self, port: u16, ca: &str) -> (Handle, TextMap) {
        let stream = self.open(port, ca);
        let record = self.records.next();
        assert_eq!((record.kind, record.handle), (STREAM_OPEN, stream), "{}", String::from_utf8_lossy(&record.payload));
        (stream, record.map())
    }

    /// Reads on until STREAM_CLOSED: code and text, and the data that came before.
    fn closed(&mut self) -> (String, String, Vec<u8>) {
        let mut data = Vec::new();
        loop {
            let record = self.records.next();
            match record.kind {
                STREAM_DATA => {
                    assert!(record.payload.len() <= 16 << 10);
                    data.extend(record.payload);
                }
                STREAM_CLOSED => {
                    let map = record.map();
                    return (map.need("code").unwrap().to_owned(), map.need("text").unwrap().to_owned(), data);
                }
                other => assert_eq!(other, STREAM_OPEN),
            }
        }
    }

    /// How opening `config` fails.
    fn failure(&mut self, config: &TextMap) -> (String, String) {
        self.streams.open(config).unwrap();
        let (code, text, _) = self.closed();
        (code, text)
    }

    /// How opening fails at a server with this certificate, whose handshake fails too.
    fn refuses(&mut self, certificate: &Certificate, ca: &str) -> (String, String) {
        let server = Server::tls(certificate, BOTH, None, |mut tls| {
            tls.read_exact(&mut [0]).unwrap_err();
        });
        let config = self.config(server.port, ca, &[]);
        let failure = self.failure(&config);
        server.join();
        failure
    }
}

fn good() -> (Ca, Certificate) {
    let ca = Ca::new("Test CA");
    let certificate = ca.issue(NAME, 2020, 2100);
    (ca, certificate)
}

fn is(failure: &(String, String), code: &str, text: &str) {
    assert!(failure.0 == code && failure.1.contains(text), "{failure:?} is not {code}: ...{text}...");
}

fn login(version: &'static rustls::SupportedProtocolVersion, told: &str) {
    let (ca, certificate) = good();
    let (exporter, their_exporter) = std::sync::mpsc::channel();
    let server = Server::tls(&certificate, &[version], Some("xmpp-client"), move |mut tls| {
        let mut hello = [0u8; 5];
        tls.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        assert_eq!(tls.conn.alpn_protocol(), Some(&b"xmpp-client"[..]));
        assert_eq!(tls.conn.server_name(), Some(NAME));
        let key = tls.conn.export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap();
        exporter.send(key.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).unwrap();
        tls.write_all(b"welcome").unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    });
    let mut client = Client::new();
    let config = client.config(server.port, &ca.pem(), &[("alpn", "xmpp-client")]);
    let stream = client.streams.open(&config).unwrap();
    let open = client.records.next();
    assert_eq!((open.kind, open.handle), (STREAM_OPEN, stream));
    client.streams.write(stream, b"hello").unwrap();
    let (code, text, data) = client.closed();
    assert_eq!(data, b"welcome");
    assert_eq!((code.as_str(), text), ("eof", format!("'127.0.0.1' port {} closed the stream", server.port)));
    assert_eq!(open.map().need("tls").unwrap(), told);
    assert_eq!(open.map().need("address").unwrap(), format!("127.0.0.1:{}", server.port));
    assert_eq!(open.map().need("exporter").unwrap(), their_exporter.recv().unwrap());
    assert_eq!(client.streams.write(stream, b"late").unwrap_err().errno, libc::ENOTCONN);
    client.streams.close(stream).unwrap();
    server.join();
}

#[test]
fn bytes_pass_both_ways_over_tls_1_3_and_both_sides_export_the_same_key() {
    login(&TLS13, "TLSv1.3");
}

#[test]
fn bytes_pass_both_ways_over_tls_1_2_and_both_sides_export_the_same_key() {
    login(&TLS12, "TLSv1.2");
}

#[test]
fn a_certificate_for_another_name_is_refused_and_its_name_told() {
    let ca = Ca::new("Test CA");
    let failure = Client::new().refuses(&ca.issue("other.example", 2020, 2100), &ca.pem());
    is(&failure, "tls-name", "certificate is for 'other.example', not for 'xmpp.example'");
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused() {
    let (_, certificate) = good();
    let failure = Client::new().refuses(&certificate, &Ca::new("Another CA").pem());
    is(&failure, "tls-unknown-ca", "certificate of 'xmpp.example' is signed by a CA that is not trusted here");
}

#[test]
fn the_systems_cas_do_not_count_for_a_certificate_of_ours() {
    let (_, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| drop(tls.read_exact(&mut [0])));
    let mut client = Client::new();
    let config = client.config(server.port, "", &[("ca", "")]);
    let failure = client.failure(&config);
    assert!(["tls-unknown-ca", "ca-file"].contains(&failure.0.as_str()), "{failure:?}");
}

#[test]
fn an_expired_certificate_is_told_with_its_day() {
    let ca = Ca::new("Test CA");
    let failure = Client::new().refuses(&ca.issue(NAME, 2019, 2020), &ca.pem());
    is(&failure, "tls-expired", "certificate of 'xmpp.example' expired on 2020-01-01 (this router's clock says 2");
}

#[test]
fn a_certificate_that_is_not_valid_yet_makes_ask_for_the_clock() {
    let ca = Ca::new("Test CA");
    let failure = Client::new().refuses(&ca.issue(NAME, 2099, 2100), &ca.pem());
    is(&failure, "tls-not-yet-valid", "is not valid before 2099-01-01; is this router's clock right (now 2");
}

#[test]
fn a_self_signed_certificate_is_refused_until_its_file_is_the_ca() {
    let certificate = self_signed_server();
    let failure = Client::new().refuses(&certificate, &Ca::new("Another CA").pem());
    is(&failure, "tls-self-signed", "is signed by itself; name its file as CA to trust it");
    let server = Server::tls(&certificate, BOTH, None, |mut tls| drop(tls.read_exact(&mut [0])));
    Client::new().opened(server.port, &certificate.pem);
}

fn self_signed_server() -> Certificate {
    tls::self_signed(IsCa::ExplicitNoCa)
}

#[test]
fn a_cas_own_certificate_is_refused_as_a_servers_even_when_trusted() {
    let certificate = tls::self_signed(IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let failure = Client::new().refuses(&certificate, &certificate.pem);
    is(&failure, "tls-self-signed", "is that of a CA (CA:TRUE), which no server may use");
}

/// `sha256:` of a certificate, as an independent look at it gives it.
fn fingerprint(certificate: &Certificate) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, &certificate.der);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_pinned_certificate_is_accepted_whoever_signed_it_whatever_its_name_and_dates() {
    let ca = Ca::new("Another CA");
    let unconstrained = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificates =
        [self_signed_server(), tls::self_signed(unconstrained), ca.issue("other.example", 2019, 2020), good().1];
    for (certificate, version) in certificates.iter().zip([&TLS12, &TLS13].into_iter().cycle()) {
        let server = Server::tls(certificate, &[version], None, |mut tls| drop(tls.read_exact(&mut [0])));
        let mut client = Client::new();
        // The authorities do not even have to be there.
        let pin = fingerprint(certificate);
        let config = client.config(server.port, "", &[("pin", &pin.to_uppercase()), ("ca", "/nonexistent")]);
        client.streams.open(&config).unwrap();
        assert_eq!(client.records.next().kind, STREAM_OPEN);
    }
}

#[test]
fn any_other_certificate_is_refused_and_its_fingerprint_told_even_when_a_trusted_ca_signed_it() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| drop(tls.read_exact(&mut [0])));
    let mut client = Client::new();
    let config = client.config(server.port, &ca.pem(), &[("pin", &fingerprint(&good().1))]);
    let accept = format!("option pin 'sha256:{}'", fingerprint(&certificate));
    is(&client.failure(&config), "tls-pin", &accept);
}

#[test]
fn who_presents_the_pinned_certificate_without_its_key_is_refused() {
    for version in [&TLS12, &TLS13] {
        let (real, mut thief) = (self_signed_server(), self_signed_server());
        thief.der = real.der.clone();
        let server = Server::tls_unchecked(&thief, version, |mut tls| drop(tls.read_exact(&mut [0])));
        let mut client = Client::new();
        let config = client.config(server.port, "", &[("pin", &fingerprint(&real))]);
        is(&client.failure(&config), "tls-protocol", "BadSignature");
    }
}

#[test]
fn what_is_not_trusted_is_told_with_its_fingerprint() {
    let certificate = self_signed_server();
    let accept = format!("option pin 'sha256:{}'", fingerprint(&certificate));
    is(&Client::new().refuses(&certificate, &Ca::new("Another CA").pem()), "tls-self-signed", &accept);
    let (_, certificate) = good();
    let accept = format!("option pin 'sha256:{}'", fingerprint(&certificate));
    is(&Client::new().refuses(&certificate, &Ca::new("Another CA").pem()), "tls-unknown-ca", &accept);
}

#[test]
fn a_server_without_tls_is_told_from_its_answer() {
    let server = Server::plain(|mut socket| {
        let _ = socket.read(&mut [0; 1024]);
        socket.write_all(b"<?xml version='1.0'?><stream:stream>").unwrap();
        let _ = socket.read(&mut [0; 1024]);
    });
    let mut client = Client::new();
    let config = client.config(server.port, &good().0.pem(), &[]);
    is(&client.failure(&config), "tls-protocol", "does not answer in TLS; direct TLS is usually on port 5223");
}

#[test]
fn a_server_that_refuses_our_protocol_ends_with_its_alert() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, Some("http/1.1"), |mut tls| drop(tls.read_exact(&mut [0])));
    let mut client = Client::new();
    let config = client.config(server.port, &ca.pem(), &[("alpn", "xmpp-client")]);
    is(&client.failure(&config), "tls-alert", "NoApplicationProtocol");
}

#[test]
fn a_server_that_closes_in_the_handshake_is_an_eof() {
    let server = Server::plain(|mut socket| drop(socket.read(&mut [0; 4096])));
    let mut client = Client::new();
    let config = client.config(server.port, &good().0.pem(), &[]);
    is(&client.failure(&config), "eof", "closed during the TLS handshake");
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new();
    let port = listener.local_addr().unwrap().port();
    let config = client.config(port, &good().0.pem(), &[("timeout_ms", "300")]);
    let start = Instant::now();
    let stream = client.streams.open(&config).unwrap();
    assert_eq!(client.streams.write(stream, b"early").unwrap_err().errno, libc::ENOTCONN, "not open yet");
    let (code, text, _) = client.closed();
    is(&(code, text), "timeout", "within 300ms");
    assert!((300..900).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn a_closed_port_is_refused() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut client = Client::new();
    let config = client.config(port, &good().0.pem(), &[]);
    let text = format!("cannot connect to '127.0.0.1' port {port}: 127.0.0.1: Connection refused");
    assert_eq!(client.failure(&config), ("refused".to_owned(), text));
}

#[test]
fn the_next_address_is_tried_when_one_refuses() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| drop(tls.read_exact(&mut [0])));
    let mut client = Client::new();
    // Both ::1 and 127.0.0.1 on most machines; the server has only the second.
    let config = client.config(server.port, &ca.pem(), &[("host", "localhost")]);
    client.streams.open(&config).unwrap();
    assert_eq!(client.records.next().kind, STREAM_OPEN);
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    let mut client = Client::new();
    let config = client.config(5223, &good().0.pem(), &[("host", "no..such..name")]);
    is(&client.failure(&config), "dns", "cannot resolve 'no..such..name': ");
}

#[test]
fn a_network_without_a_route_is_unreachable() {
    if !support::is_root() {
        support::skip("a network namespace needs root");
        return;
    }
    let run = || {
        // SAFETY: concerns this thread only, which ends with the test.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        let mut client = Client::new();
        let config = client.config(5223, &good().0.pem(), &[("host", "192.0.2.1")]);
        is(&client.failure(&config), "unreachable", "192.0.2.1: Network is unreachable");
    };
    std::thread::spawn(run).join().unwrap();
}

#[test]
fn a_ca_file_that_is_missing_or_empty_is_told_before_connecting() {
    let mut client = Client::new();
    let config = client.config(9, "", &[("ca", "/nonexistent/ca.pem")]);
    is(&client.failure(&config), "ca-file", "cannot read CA file '/nonexistent/ca.pem': No such file or directory");
    let config = client.config(9, "nothing", &[]);
    is(&client.failure(&config), "ca-file", "holds no certificate in PEM form");
}

#[test]
fn settings_that_cannot_be_are_refused_at_once() {
    let client = Client::new();
    let wrong = |key, value| client.streams.open(&client.config(1, "", &[(key, value)])).unwrap_err();
    assert_eq!(wrong("port", "0").text, "port '0' is not a number of 1 to 65535");
    assert_eq!(wrong("port", "http").errno, libc::EINVAL);
    assert_eq!(wrong("timeout_ms", "-1").errno, libc::EINVAL);
    assert_eq!(wrong("tls", "yes").text, "tls 'yes' is not direct or starttls");
    for (digits, count) in [("ab", 1), ("g", 64), ("+1", 32), ("é", 32), ("a", 65)] {
        let pin = digits.repeat(count);
        let error = client.streams.open(&client.config(1, "", &[("pin", &pin)])).unwrap_err();
        assert_eq!(error.text, format!("pin '{pin}' is not a SHA-256 of 64 hex digits"));
    }
    assert_eq!(wrong("name", "a b").text, "name 'a b' is not a domain name in ASCII or an address");
    assert_eq!(client.streams.open(&TextMap::default()).unwrap_err().text, "'name' is missing");
}

#[test]
fn a_reset_of_the_connection_is_told() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| {
        tls.read_exact(&mut [0]).unwrap();
        socket2::SockRef::from(&tls.sock).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let mut client = Client::new();
    let (stream, _) = client.opened(server.port, &ca.pem());
    client.streams.write(stream, b"x").unwrap();
    let (code, text, _) = client.closed();
    is(&(code, text), "reset", "broke: Connection reset by peer");
    server.join();
}

#[test]
fn a_connection_that_ends_without_closing_tls_is_an_eof_that_says_so() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| tls.read_exact(&mut [0]).unwrap());
    let mut client = Client::new();
    let (stream, _) = client.opened(server.port, &ca.pem());
    client.streams.write(stream, b"x").unwrap();
    let (code, text, _) = client.closed();
    is(&(code, text), "eof", "closed the connection without closing TLS");
    server.join();
}

#[test]
fn three_hundred_kilobytes_in_one_write_arrive_whole_and_so_do_they_back() {
    let (ca, certificate) = good();
    let sent: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let expected = sent.clone();
    let server = Server::tls(&certificate, BOTH, None, move |mut tls| {
        let mut got = vec![0; expected.len()];
        tls.read_exact(&mut got).unwrap();
        assert!(got == expected);
        tls.write_all(&got).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    });
    let mut client = Client::new();
    let (stream, _) = client.opened(server.port, &ca.pem());
    client.streams.write(stream, &sent).unwrap();
    let (code, _, data) = client.closed();
    assert_eq!((code.as_str(), data == sent), ("eof", true));
    server.join();
}

#[test]
fn a_slow_reader_makes_the_writer_wait_at_one_mebibyte_and_loses_nothing() {
    let (ca, certificate) = good();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (count, counted) = std::sync::mpsc::channel();
    let server = Server::tls(&certificate, BOTH, None, move |mut tls: TlsStream| {
        tls.read_exact(&mut [0]).unwrap();
        wait.recv().unwrap();
        let mut got = Vec::new();
        tls.read_to_end(&mut got).unwrap();
        count.send(got).unwrap();
    });
    let mut client = Client::new();
    let (stream, _) = client.opened(server.port, &ca.pem());
    client.streams.write(stream, b"x").unwrap();
    // First the sockets' own buffers fill, some megabytes, then ours.
    let mut accepted = Vec::new();
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < Duration::from_millis(300) {
        let piece = vec![(accepted.len() >> 16) as u8; 1 << 16];
        match client.streams.write(stream, &piece) {
            Ok(()) => {
                accepted.extend(piece);
                idle_since = Instant::now();
            }
            Err(error) => assert_eq!(error.errno, libc::EAGAIN, "{}", error.text),
        }
        assert!(accepted.len() < 64 << 20, "it never had to wait");
    }
    go.send(()).unwrap();
    // Room comes again as the reader reads; then everything that was accepted must arrive.
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.streams.write(stream, &vec![7; 1 << 20]).is_err() {
        assert!(Instant::now() < deadline, "it stayed full");
        std::thread::yield_now();
    }
    accepted.extend(vec![7; 1 << 20]);
    while client.streams.write(stream, &vec![8; 1 << 20]).is_err() {
        assert!(Instant::now() < deadline, "it stayed full");
        std::thread::yield_now();
    }
    accepted.extend(vec![8; 1 << 20]);
    client.streams.close(stream).unwrap();
    assert!(counted.recv_timeout(Duration::from_secs(10)).unwrap() == accepted);
    assert_eq!(client.closed().0, "local");
    server.join();
}

#[test]
fn a_runtime_that_does_not_read_loses_the_stream_and_is_told_so_and_what_it_got_has_no_hole() {
    let (ca, certificate) = good();
    let pattern = |length: usize| (0..length).map(|i| (i % 251) as u8).collect::<Vec<u8>>();
    let piece = pattern(251 << 8);
    // Goes on until we close.
    let server = Server::tls(&certificate, BOTH, None, move |mut tls| while tls.write_all(&piece).is_ok() {});
    let mut client = Client::new();
    client.opened(server.port, &ca.pem());
    server.join();
    let (code, text, data) = client.closed();
    is(&(code, text), "overflow", "the record queue is full");
    // 4 MiB in the queue, and up to 64 KiB that came out of it together with STREAM_OPEN.
    assert!((3 << 20..(4 << 20) + (64 << 10)).contains(&data.len()), "{}", data.len());
    assert!(data == pattern(data.len()), "a piece is missing");
}

#[test]
fn what_was_written_before_the_close_arrives_and_tls_is_closed_properly() {
    let (ca, certificate) = good();
    let server = Server::tls(&certificate, BOTH, None, |mut tls| {
        let mut got = Vec::new();
        // Fails unless close_notify came.
        tls.read_to_end(&mut got).unwrap();
        assert_eq!(got, [b"x".repeat(100_000).as_slice(), b"</stream:stream>"].concat());
    });
    let mut client = Client::new();
    let (stream, _) = client.opened(server.port, &ca.pem());
    client.streams.write(stream, &b"x".repeat(100_000)).unwrap();
    client.streams.write(stream, b"</stream:stream>").unwrap();
    client.streams.close(stream).unwrap();
    assert_eq!(client.streams.write(stream, b"late").unwrap_err().errno, libc::ENOTCONN);
    let (code, text, _) = client.closed();
    assert_eq!((code.as_str(), text.as_str()), ("local", "closed by us"));
    server.join();
}

#[test]
fn the_seventeenth_stream_is_refused_and_stopping_ends_all_within_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = Client::new();
    let config = client.config(silent.local_addr().unwrap().port(), &good().0.pem(), &[]);
    let streams: Vec<Handle> = (0..16).map(|_| client.streams.open(&config).unwrap()).collect();
    let error = client.streams.open(&config).unwrap_err();
    assert_eq!((error.errno, error.text.as_str()), (libc::EAGAIN, "there are 16 streams already"));
    let start = Instant::now();
    assert_eq!(client.streams.stop(), 0, "threads left behind");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut ended: Vec<Handle> = (0..16).map(|_| client.records.next()).map(|record| record.handle).collect();
    ended.sort_unstable();
    assert_eq!(ended, streams);
}
