// SPDX-License-Identifier: MIT
//! Whom a stream trusts: the system's CAs, or one file's; and a verifier that knows a self-signed certificate when it sees one.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore, SignatureScheme};

use super::failure::{Failure, plain};
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

/// The certificate is signed by itself and not trusted: not just "unknown CA" for the person who made it.
#[derive(Debug)]
pub struct SelfSigned;

impl fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("self-signed")
    }
}

impl std::error::Error for SelfSigned {}

/// webpki's verifier; only the name of one error differs.
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
        match result {
            Err(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) if is_self_signed(end_entity) => {
                Err(CertificateError::Other(OtherError(Arc::new(SelfSigned))).into())
            }
            other => other,
        }
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
