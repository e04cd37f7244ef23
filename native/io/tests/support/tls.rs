// SPDX-License-Identifier: MIT
//! A CA, certificates of all kinds, and a TLS server that does as it is told.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

pub const NAME: &str = "xmpp.example";
pub type TlsStream = StreamOwned<ServerConnection, TcpStream>;

pub struct Ca(CertifiedIssuer<'static, KeyPair>);

pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub pem: String,
    key: KeyPair,
}

fn named(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name.push(DnType::CommonName, common_name);
}

impl Ca {
    pub fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        named(&mut params, common_name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for one name, valid between two years.
    pub fn issue(&self, name: &str, from: i32, until: i32) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        named(&mut params, name);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let made = params.signed_by(&key, &self.0).unwrap();
        Certificate { der: made.der().clone(), pem: made.pem(), key }
    }
}

/// Signed by itself, as of a CA or not.
pub fn self_signed(is_ca: IsCa) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.is_ca = is_ca;
    named(&mut params, NAME);
    let made = params.self_signed(&key).unwrap();
    Certificate { der: made.der().clone(), pem: made.pem(), key }
}

pub struct Server {
    pub port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Takes one connection and does with its socket what `serve` does.
    pub fn plain(serve: impl FnOnce(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            serve(socket);
        });
        Self { port, thread: Some(thread) }
    }

    /// Takes one TLS connection of the given versions.
    pub fn tls(
        certificate: &Certificate,
        versions: &[&'static SupportedProtocolVersion],
        alpn: Option<&str>,
        serve: impl FnOnce(TlsStream) + Send + 'static,
    ) -> Self {
        let mut config = Arc::unwrap_or_clone(server_config(certificate, versions, Check::Yes));
        config.alpn_protocols = alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        Self::plain(move |socket| serve(StreamOwned::new(connection, socket)))
    }

    /// As `tls`, but does not check that certificate and key belong together.
    pub fn tls_unchecked(
        certificate: &Certificate,
        version: &'static SupportedProtocolVersion,
        serve: impl FnOnce(TlsStream) + Send + 'static,
    ) -> Self {
        let connection = ServerConnection::new(server_config(certificate, &[version], Check::No)).unwrap();
        Self::plain(move |socket| serve(StreamOwned::new(connection, socket)))
    }

    /// Talks plainly first: reads as many bytes as each word of `script` asks for, then answers with its text; then TLS.
    pub fn starttls(
        certificate: &Certificate,
        script: Vec<(&'static str, String)>,
        serve: impl FnOnce(TlsStream) + Send + 'static,
    ) -> Self {
        let connection = ServerConnection::new(server_config(certificate, rustls::ALL_VERSIONS, Check::Yes)).unwrap();
        Self::plain(move |mut socket| {
            for (until, answer) in script {
                read_until(&mut socket, until);
                socket.write_all(answer.as_bytes()).unwrap();
            }
            serve(StreamOwned::new(connection, socket));
        })
    }

    /// Waits for its end; panics when an assertion in `serve` failed.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

enum Check {
    Yes,
    No,
}

fn server_config(
    certificate: &Certificate,
    versions: &[&'static SupportedProtocolVersion],
    check: Check,
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(certificate.key.serialize_der()).into();
    let chain = vec![certificate.der.clone()];
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth();
    let config = match check {
        Check::Yes => builder.with_single_cert(chain, key).unwrap(),
        Check::No => {
            let key = provider.key_provider.load_private_key(key).unwrap();
            builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
        }
    };
    Arc::new(config)
}

fn read_until(socket: &mut TcpStream, end: &str) {
    let mut heard = Vec::new();
    while !heard.ends_with(end.as_bytes()) {
        let mut byte = [0];
        socket.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
}
