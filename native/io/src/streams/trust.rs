// SPDX-License-Identifier: MIT
//! Whom a stream trusts: the system's CAs, one file's, or a single pinned certificate; and the fingerprint of what it does not trust.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore, SignatureScheme};

use super::failure::{Failure, plain};
use crate::crypto::{self, HashAlgorithm};
use crate::files;

/// A system's whole CA bundle is a quarter of this.
const MAX_CA_BYTES: usize = 1 << 20;

/// The CAs of a PEM file, or the system's.
pub fn roots(ca: Option<&str>) -> Result<RootCertStore, Failure> {
    let roots = match ca {
        Some(path) => file_roots(path)?,
        None => system_roots()?,
    };
    Ok(roots)
}

fn file_roots(path: &str) -> Result<RootCertStore, Failure> {
    let wrong = |what: String| Failure::new("ca-file", what);
    let pem = files::read_bounded(path, MAX_CA_BYTES)
        .map_err(|cause| wrong(format!("cannot read CA file '{path}': {}", plain(&cause))))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|cause| wrong(format!("CA file '{path}' is not PEM: {cause}")))?;
        roots
            .add(certificate)
            .map_err(|cause| wrong(format!("CA file '{path}' holds a certificate that cannot be used: {cause}")))?;
    }
    if roots.is_empty() {
        return Err(wrong(format!("CA file '{path}' holds no certificate in PEM form")));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Failure> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        let text = format!(
            "this system has no CA certificates{why}; install them (ca-bundle, ca-certificates) or name a CA file"
        );
        return Err(Failure::new("ca-file", text));
    }
    Ok(roots)
}

/// Why a certificate is not trusted, where webpki's own errors do not say enough, and its fingerprint, by which it could be.
#[derive(Debug)]
pub struct Untrusted {
    pub why: Why,
    /// SHA-256 of the certificate, 64 hex digits.
    pub fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    UnknownAuthority,
    /// Not just "unknown authority" for the person who made it.
    SelfSigned,
    /// The certificate of an authority, used as a server's own.
    AuthorityAsServer,
    /// Another one is pinned.
    NotThePinned,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.why, self.fingerprint)
    }
}

impl std::error::Error for Untrusted {}

fn untrusted(why: Why, certificate: &CertificateDer<'_>) -> TlsError {
    let fingerprint = hex(crypto::hash(HashAlgorithm::Sha256, certificate).as_slice());
    CertificateError::Other(OtherError(Arc::new(Untrusted { why, fingerprint }))).into()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// webpki's verifier; only the names of some errors differ.
#[derive(Debug)]
pub struct Verifier(Arc<WebPkiServerVerifier>);

impl Verifier {
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, Failure> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map(Self)
            .map_err(|cause| Failure::new("internal", format!("cannot make a certificate verifier: {cause}")))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let result = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let why = match &result {
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) if is_self_signed(end_entity) => {
                Why::SelfSigned
            }
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => Why::UnknownAuthority,
            Err(TlsError::InvalidCertificate(CertificateError::Other(other)))
                if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
            {
                Why::AuthorityAsServer
            }
            _ => return result,
        };
        Err(untrusted(why, end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn is_self_signed(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|parsed| parsed.issuer() == parsed.subject())
}

/// Accepts one certificate, by its SHA-256: authorities, name and dates do not count. The server still proves that it has the key.
#[derive(Debug)]
pub struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    pub fn new(pin: [u8; 32], provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if crypto::hash(HashAlgorithm::Sha256, end_entity) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(untrusted(Why::NotThePinned, end_entity))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
