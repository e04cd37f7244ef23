// SPDX-License-Identifier: MIT
//! The TLS side of a stream: its configuration, and what is worth telling once it is open.

use std::sync::Arc;

use ipop_base::TextMapWriter;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};

use super::failure::Failure;
use super::target::Target;
use super::trust::{self, Pinned, Verifier, hex};

/// A client that has not said anything yet. Reads the CAs, so it takes some milliseconds.
pub fn client(target: &Target) -> Result<ClientConnection, Failure> {
    let internal = |cause: rustls::Error| Failure::new("internal", format!("cannot set up TLS: {cause}"));
    let provider = Arc::new(default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match target.pin {
        Some(pin) => Arc::new(Pinned::new(pin, provider.clone())),
        None => Arc::new(Verifier::new(trust::roots(target.ca.as_deref())?, provider.clone())?),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(internal)?
        // "dangerous" as the verifier is ours: webpki's in all but the names of some errors, or one that knows a single certificate.
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = target.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    ClientConnection::new(Arc::new(config), target.name.clone()).map_err(internal)
}

/// Payload of STREAM_OPEN.
pub fn describe(client: &ClientConnection, address: std::net::SocketAddr) -> Result<Vec<u8>, Failure> {
    let version = match client.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    // RFC 9266 section 2: the context is empty, which TLS 1.2 distinguishes from none.
    let exporter = client
        .export_keying_material([0u8; 32], b"EXPORTER-Channel-Binding", Some(b""))
        .map_err(|cause| Failure::new("internal", format!("cannot derive the channel binding: {cause}")))?;
    Ok(TextMapWriter::default().put("address", address).put("tls", version).put("exporter", hex(&exporter)).bytes())
}
