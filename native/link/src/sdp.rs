// SPDX-License-Identifier: MIT
//! Session descriptions, composed and read here only: what two nodes tell each other is four strings, all else is fixed.

use ipop_base::{Error, Result, TextMap, TextMapWriter};

/// Name of the media section; candidates belong to it.
pub const MEDIA_ID: &str = "video";
/// Largest message of the control channel, in bytes.
pub const MAX_MESSAGE: usize = 16 * 1024;

/// What one side of a link tells the other (RFC 8839 ufrag and pwd, RFC 8122 fingerprint, RFC 8842 setup).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// ICE user name fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// SHA-256 of the DTLS certificate: 32 upper-case hex pairs with colons.
    pub fingerprint: String,
    /// actpass, active or passive.
    pub setup: String,
}

impl Description {
    /// Reads the seam's text map. EINVAL for anything that is not exactly of the form, since it goes into a session description.
    pub fn from_map(map: &TextMap) -> Result<Self> {
        Self {
            ufrag: map.need("ufrag")?.to_owned(),
            pwd: map.need("pwd")?.to_owned(),
            fingerprint: map.need("fingerprint")?.to_ascii_uppercase(),
            setup: map.need("setup")?.to_owned(),
        }
        .checked()
    }

    /// Reads a session description made by libdatachannel. EINVAL when one of the four is missing or malformed.
    pub fn from_sdp(sdp: &str) -> Result<Self> {
        let attribute = |name: &str| {
            let value = sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
            value
                .map(|text| text.trim().to_owned())
                .ok_or_else(|| invalid(format!("no '{name}' in the local description")))
        };
        let fingerprint = attribute("fingerprint")?;
        let fingerprint = fingerprint.strip_prefix("sha-256 ").ok_or_else(|| invalid("fingerprint is not sha-256"))?;
        let fingerprint = fingerprint.to_ascii_uppercase();
        Self { ufrag: attribute("ice-ufrag")?, pwd: attribute("ice-pwd")?, fingerprint, setup: attribute("setup")? }
            .checked()
    }

    /// The seam's text map.
    pub fn to_map(&self) -> Vec<u8> {
        TextMapWriter::default()
            .put("ufrag", &self.ufrag)
            .put("pwd", &self.pwd)
            .put("fingerprint", &self.fingerprint)
            .put("setup", &self.setup)
            .bytes()
    }

    /// The session description that libdatachannel is given for the peer: one media section and one for the control channel.
    pub fn to_sdp(&self) -> String {
        let Self { ufrag, pwd, fingerprint, setup } = self;
        let payload_type = crate::rtp::PAYLOAD_TYPE;
        format!(
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {MEDIA_ID} 0\r\n\
             a=setup:{setup}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {payload_type}\r\nc=IN IP4 0.0.0.0\r\na=mid:{MEDIA_ID}\r\na=sendrecv\r\n\
             a=rtcp-mux\r\na=rtpmap:{payload_type} H264/90000\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
             a=sctp-port:5000\r\na=max-message-size:{MAX_MESSAGE}\r\n"
        )
    }

    fn checked(self) -> Result<Self> {
        let is_ice = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        // RFC 8839, section 5.4: at least 4 and 22, at most 256 ice-chars.
        if !(4..=256).contains(&self.ufrag.len()) || !is_ice(&self.ufrag) {
            return Err(invalid("'ufrag' is not 4 to 256 ICE characters"));
        }
        if !(22..=256).contains(&self.pwd.len()) || !is_ice(&self.pwd) {
            return Err(invalid("'pwd' is not 22 to 256 ICE characters"));
        }
        let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        if self.fingerprint.split(':').count() != 32 || !self.fingerprint.split(':').all(is_pair) {
            return Err(invalid("'fingerprint' is not 32 hex pairs with colons"));
        }
        if !["actpass", "active", "passive"].contains(&self.setup.as_str()) {
            return Err(invalid(format!("'setup' is '{}', not actpass, active or passive", self.setup)));
        }
        Ok(self)
    }
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(libc::EINVAL, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            ufrag: "aB+/".into(),
            pwd: "0123456789abcdefghijkl".into(),
            fingerprint: ["AB"; 32].join(":"),
            setup: "actpass".into(),
        }
    }

    fn with(key: &str, value: &str) -> Result<Description> {
        let map = String::from_utf8(description().to_map()).unwrap();
        let lines = map.lines().map(|line| if line.starts_with(key) { format!("{key}={value}") } else { line.into() });
        Description::from_map(&TextMap::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())?)
    }

    #[test]
    fn a_description_reads_back_from_the_seam_and_from_its_session_description() {
        let description = description();
        assert_eq!(Description::from_map(&TextMap::parse(&description.to_map()).unwrap()), Ok(description.clone()));
        assert_eq!(Description::from_sdp(&description.to_sdp()), Ok(description));
    }

    #[test]
    fn a_lower_case_fingerprint_is_the_same_fingerprint() {
        assert_eq!(with("fingerprint", &["ab"; 32].join(":")).unwrap(), description());
    }

    #[test]
    fn nothing_but_the_exact_form_gets_into_a_session_description() {
        for (key, value) in [
            ("ufrag", "abc"),
            ("ufrag", "ab c"),
            ("ufrag", "ab\rcd"),
            ("pwd", "short"),
            ("pwd", "0123456789abcdefghijk\u{e9}"),
            ("fingerprint", "AB:CD"),
            ("fingerprint", &["A:"; 32].join(":")),
            ("setup", "holdconn"),
        ] {
            assert_eq!(with(key, value).unwrap_err().errno, libc::EINVAL, "{key}={value}");
        }
        let long = "a".repeat(257);
        assert!(with("ufrag", &long).is_err() && with("pwd", &long).is_err());
    }

    #[test]
    fn a_local_description_without_a_fingerprint_is_refused() {
        let sdp = description().to_sdp().replace("sha-256", "sha-1");
        assert_eq!(Description::from_sdp(&sdp).unwrap_err().text, "fingerprint is not sha-256");
    }
}
