// SPDX-License-Identifier: MIT
//! Why a stream ended: the codes of ipop.h, each with a sentence for people.

use std::io;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError, OtherError};

use super::target::Target;
use super::trust::{Untrusted, Why};

/// Code (STREAM_CLOSED codes of ipop.h) and sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: &'static str,
    pub text: String,
}

impl Failure {
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// ipop_stream_close.
    pub fn local() -> Self {
        Self::new("local", "closed by us")
    }

    /// A socket's error; `what` says what was tried.
    pub fn socket(what: &str, cause: &io::Error) -> Self {
        Self::new(socket_code(cause), format!("{what}: {}", plain(cause)))
    }

    /// What rustls refused, `handshake`: during the handshake.
    pub fn tls(target: &Target, cause: &TlsError, handshake: bool) -> Self {
        let place = target.place();
        match cause {
            TlsError::InvalidCertificate(wrong) => certificate(&target.name.to_str(), wrong),
            TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
                Self::new("tls-protocol", format!("{place} speaks neither TLS 1.2 nor TLS 1.3"))
            }
            TlsError::AlertReceived(alert) => {
                Self::new("tls-alert", format!("{place} ended TLS with the alert {alert:?}"))
            }
            TlsError::InvalidMessage(_) if handshake => Self::new(
                "tls-protocol",
                format!("{place} does not answer in TLS; direct TLS is usually on port 5223, 5222 is for STARTTLS"),
            ),
            other => Self::new("tls-protocol", format!("TLS with {place} failed: {other}")),
        }
    }
}

/// The code of a socket's error.
pub fn socket_code(cause: &io::Error) -> &'static str {
    match cause.raw_os_error() {
        Some(libc::ECONNREFUSED) => "refused",
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => "reset",
        Some(libc::ETIMEDOUT) => "timeout",
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::EADDRNOTAVAIL
            | libc::EACCES
            | libc::EPERM
            | libc::EINVAL
            | libc::EAFNOSUPPORT
            | libc::ENONET,
        ) => "unreachable",
        _ => "internal",
    }
}

/// The system's words without std's "(os error N)".
pub fn plain(cause: &io::Error) -> String {
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn certificate(name: &str, wrong: &CertificateError) -> Failure {
    match wrong {
        CertificateError::NotValidYetContext { time, not_before } => Failure::new(
            "tls-not-yet-valid",
            format!(
                "certificate of '{name}' is not valid before {}; is this router's clock right (now {})?",
                date(not_before),
                date(time)
            ),
        ),
        CertificateError::NotValidYet => Failure::new(
            "tls-not-yet-valid",
            format!("certificate of '{name}' is not valid yet; is this router's clock right?"),
        ),
        CertificateError::ExpiredContext { time, not_after } => Failure::new(
            "tls-expired",
            format!("certificate of '{name}' expired on {} (this router's clock says {})", date(not_after), date(time)),
        ),
        CertificateError::Expired => Failure::new("tls-expired", format!("certificate of '{name}' has expired")),
        CertificateError::NotValidForNameContext { presented, .. } => {
            Failure::new("tls-name", format!("certificate is for {}, not for '{name}'", names(presented)))
        }
        CertificateError::NotValidForName => Failure::new("tls-name", format!("certificate is not for '{name}'")),
        CertificateError::Other(other) => other_certificate(name, other),
        other => Failure::new("tls-protocol", format!("certificate of '{name}' is refused: {other}")),
    }
}

fn other_certificate(name: &str, other: &OtherError) -> Failure {
    let Some(Untrusted { why, fingerprint }) = other.0.downcast_ref() else {
        return Failure::new("tls-protocol", format!("certificate of '{name}' is refused: {other}"));
    };
    let accept = format!("to accept exactly this one, if it is the right one: option pin 'sha256:{fingerprint}'");
    match why {
        Why::UnknownAuthority => Failure::new(
            "tls-unknown-ca",
            format!("certificate of '{name}' is signed by a CA that is not trusted here; {accept}"),
        ),
        Why::SelfSigned => Failure::new(
            "tls-self-signed",
            format!("certificate of '{name}' is signed by itself; name its file as CA to trust it; {accept}"),
        ),
        Why::AuthorityAsServer => Failure::new(
            "tls-self-signed",
            format!(
                "certificate of '{name}' is that of a CA (CA:TRUE), which no server may use, even if trusted; make one with \
                 basicConstraints CA:FALSE and subjectAltName DNS:{name}; {accept}"
            ),
        ),
        Why::NotThePinned => Failure::new(
            "tls-pin",
            format!(
                "certificate of '{name}' is not the one of option pin: it was renewed, or somebody sits in between; {accept}"
            ),
        ),
    }
}

/// At most four names; a big host's certificate may have a hundred. They look like `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let mut quoted: Vec<String> =
        presented.iter().take(4).map(|name| format!("'{}'", name.split('"').nth(1).unwrap_or(name))).collect();
    match presented.len() {
        0 => return "no name".to_owned(),
        count if count > 4 => quoted.push(format!("{} more", count - 4)),
        _ => {}
    }
    quoted.join(", ")
}

/// A day in UTC, ISO 8601.
fn date(time: &UnixTime) -> String {
    let (year, month, day) = civil(Duration::from_secs(time.as_secs()).as_secs() / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_turns_of_the_year() {
        let day = |seconds| date(&UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(951_782_400), "2000-02-29");
        assert_eq!(day(951_868_800), "2000-03-01");
        assert_eq!(day(1_798_761_599), "2026-12-31");
        assert_eq!(day(1_798_761_600), "2027-01-01");
        assert_eq!(day(4_107_542_400), "2100-03-01");
    }

    #[test]
    fn a_certificate_with_many_names_is_told_by_four_of_them() {
        let many: Vec<String> = (0..7).map(|i| format!("DnsName(\"{i}.example\")")).collect();
        assert_eq!(names(&many), "'0.example', '1.example', '2.example', '3.example', 3 more");
    }
}
