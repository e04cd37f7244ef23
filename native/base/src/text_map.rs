// SPDX-License-Identifier: MIT
//! Text maps: lines of `key=value`, the seam's form for a handful of named strings.

use crate::{Error, Result};

/// A parsed text map; keys may repeat and keep their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextMap(Vec<(String, String)>);

impl TextMap {
    /// Parses lines of `key=value`. EINVAL when it is not UTF-8 or a line has no `=`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::new(libc::EINVAL, "text map is not UTF-8"))?;
        let mut entries = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| Error::new(libc::EINVAL, format!("text map line without '=': '{line}'")))?;
            entries.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(entries))
    }

    /// First value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// First value of a key; EINVAL when it is missing.
    pub fn need(&self, key: &str) -> Result<&str> {
        self.get(key).ok_or_else(|| Error::new(libc::EINVAL, format!("'{key}' is missing")))
    }

    /// Every value of a key, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Builds a text map.
#[derive(Debug, Default)]
pub struct TextMapWriter(String);

impl TextMapWriter {
    /// Appends one entry; line breaks in the value become spaces.
    pub fn put(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        let value = value.to_string().replace(['\n', '\r'], " ");
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(&value);
        self.0.push('\n');
        self
    }

    /// The finished bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_map_reads_back_with_repeated_keys_in_order() {
        let bytes = TextMapWriter::default().put("server", "a=b").put("server", "c\nd").bytes();
        let map = TextMap::parse(&bytes).unwrap();
        assert_eq!(map.all("server").collect::<Vec<_>>(), ["a=b", "c d"]);
    }

    #[test]
    fn a_line_without_equals_sign_is_named_in_the_error() {
        let error = TextMap::parse(b"host=x\nport\n").unwrap_err();
        assert_eq!((error.errno, error.text.as_str()), (libc::EINVAL, "text map line without '=': 'port'"));
    }
}
