// SPDX-License-Identifier: MIT
//! What an XMPP server says before TLS, read as it comes: bytes in, no I/O.

use quick_xml::errors::IllFormedError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{Error as XmlError, NsReader};

/// Namespace of the stream element.
pub const NS_STREAM: &str = "http://etherx.jabber.org/streams";
const NS_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `<stream:features/>` that offer STARTTLS.
    Features,
    /// `<proceed/>`.
    Proceed,
}

/// A first-level element of the stream while it is read.
#[derive(Default)]
struct Top {
    name: Option<(String, String)>,
    /// A child of this name was seen: STARTTLS is offered.
    starttls: bool,
    first_child: Option<String>,
}

/// Where in `heard` the wanted element ends; None: not all of it has come. Err: it will not come, and why.
pub fn scan(heard: &[u8], wanted: Wanted) -> Result<Option<usize>, String> {
    if heard.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'<') {
        return Err("does not answer as an XMPP server; a port for direct TLS needs option tls 'direct'".to_owned());
    }
    let whole = match std::str::from_utf8(heard) {
        Ok(text) => text,
        Err(cut) => std::str::from_utf8(&heard[..cut.valid_up_to()]).unwrap_or_default(),
    };
    let mut reader = NsReader::from_str(whole);
    let mut depth = 0;
    let mut top = Top::default();
    loop {
        let (namespace, event) = match reader.read_resolved_event() {
            Ok(read) => read,
            Err(XmlError::IllFormed(IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_))) => {
                return Err("sends no well-formed XML".to_owned());
            }
            // Cut in the midst of something, as far as one can tell.
            Err(_) => return Ok(None),
        };
        match event {
            Event::Eof => return Ok(None),
            Event::Start(start) => {
                top.enter(depth, namespace_of(&namespace), &start)?;
                depth += 1;
                continue;
            }
            Event::Empty(start) => top.enter(depth, namespace_of(&namespace), &start)?,
            Event::End(_) => depth -= 1,
            Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {
                return Err("sends XML that no stream may have (RFC 6120, 11.1)".to_owned());
            }
            _ => continue,
        }
        match depth {
            0 => return Err("ended the stream before TLS".to_owned()),
            1 if std::mem::take(&mut top).is(wanted)? => return Ok(Some(reader.buffer_position() as usize)),
            _ => {}
        }
    }
}

impl Top {
    fn enter(&mut self, depth: usize, namespace: &str, start: &BytesStart<'_>) -> Result<(), String> {
        let local = start.local_name().as_ref().to_owned();
        match depth {
            0 if (namespace, local.as_str()) == (NS_STREAM, "stream") => {}
            0 => return Err("does not answer as an XMPP server".to_owned()),
            1 => self.name = Some((namespace.to_owned(), local)),
            2 => {
                self.starttls |= (namespace, local.as_str()) == (NS_TLS, "starttls");
                self.first_child.get_or_insert(local);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the element, now complete, is what is wanted.
    fn is(self, wanted: Wanted) -> Result<bool, String> {
        let (namespace, local) = self.name.unwrap_or_default();
        match (namespace.as_str(), local.as_str()) {
            (NS_STREAM, "features") if wanted == Wanted::Features && !self.starttls => {
                Err("offers no STARTTLS, and no password is sent without TLS".to_owned())
            }
            (NS_STREAM, "features") => Ok(wanted == Wanted::Features),
            (NS_TLS, "proceed") => Ok(wanted == Wanted::Proceed),
            (NS_TLS, "failure") => Err("refused to start TLS".to_owned()),
            (NS_STREAM, "error") => {
                // A condition is a short word; anything else is not worth repeating.
                let said = self.first_child.filter(|word| word.len() <= 40).unwrap_or_default();
                Err(format!("ended the stream before TLS: {said}"))
            }
            _ => Ok(false),
        }
    }
}

fn namespace_of<'a>(resolved: &ResolveResult<'a>) -> &'a str {
    match resolved {
        ResolveResult::Bound(Namespace(name)) => name,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams' id='é' version='1.0'>";
    const FEATURES: &str =
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";

    #[test]
    fn every_prefix_of_good_features_waits_for_more() {
        let text = format!("{HEADER}\n{FEATURES}");
        for end in 0..text.len() {
            assert_eq!(scan(&text.as_bytes()[..end], Wanted::Features), Ok(None), "{end}");
        }
        assert_eq!(scan(text.as_bytes(), Wanted::Features), Ok(Some(text.len())));
    }

    #[test]
    fn proceed_is_found_behind_the_features_and_its_end_is_exact() {
        let text = format!("{HEADER}{FEATURES}<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        for end in 0..text.len() {
            assert_eq!(scan(&text.as_bytes()[..end], Wanted::Proceed), Ok(None), "{end}");
        }
        let longer = format!("{text}<injected/>");
        assert_eq!(scan(longer.as_bytes(), Wanted::Proceed), Ok(Some(text.len())));
    }

    #[test]
    fn names_count_only_in_their_namespaces() {
        let fake = format!("{HEADER}<stream:features><starttls xmlns='urn:other'/></stream:features>");
        assert!(scan(fake.as_bytes(), Wanted::Features).unwrap_err().contains("offers no STARTTLS"));
        let deep = format!("{HEADER}<message><proceed xmlns='{NS_TLS}'/></message><proceed/>");
        assert_eq!(scan(deep.as_bytes(), Wanted::Proceed), Ok(None));
    }

    #[test]
    fn what_ends_the_talk_is_said_in_words() {
        let why = |after: &str| scan(format!("{HEADER}{after}").as_bytes(), Wanted::Features).unwrap_err();
        assert!(why("<stream:features/>").contains("offers no STARTTLS"));
        assert!(why("<stream:error><host-unknown xmlns='x'/></stream:error>").contains("before TLS: host-unknown"));
        assert!(why("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").contains("refused to start TLS"));
        assert!(why("</stream:stream>").contains("ended the stream"));
        assert!(why("</stream:features>").contains("well-formed"));
        assert!(why("<!-- hello -->").contains("no stream may have"));
        assert!(scan(b"<html><body>", Wanted::Features).unwrap_err().contains("as an XMPP server"));
        assert!(scan(b"\x15\x03\x03\0\x02", Wanted::Features).unwrap_err().contains("option tls 'direct'"));
        assert!(scan(b"220 mail", Wanted::Features).unwrap_err().contains("as an XMPP server"));
    }
}
