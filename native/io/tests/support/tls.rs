// SPDX-License-Identifier: MIT
//! A CA, certificates of all kinds, and a TLS server that does as it is told.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
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
        let key = PrivatePkcs8KeyDer::from(certificate.key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der.clone()], key.into())
            .unwrap();
        config.alpn_protocols = alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        Self::plain(move |socket| serve(StreamOwned::new(connection, socket)))
    }

    /// Waits for its end; panics when an assertion in `serve` failed.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}
