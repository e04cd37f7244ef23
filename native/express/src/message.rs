// SPDX-License-Identifier: MIT
//! The messages of the key exchange on the control channel (PROTOCOL 5.3). Their first byte is never '{': those messages are JSON.

use crate::keys::KEY_LEN;
use crate::seal::{Cipher, Ciphers};

const INIT: u8 = 1;
const REPLY: u8 = 2;
const DONE: u8 = 3;
const ASK: u8 = 4;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The offerer begins an exchange.
    Init {
        /// The new epoch, higher than any before.
        epoch: u32,
        /// Those it is willing to use.
        ciphers: Ciphers,
        /// Its public key.
        public: [u8; KEY_LEN],
    },
    /// The answerer agrees, and can open the new epoch from here on.
    Reply {
        /// The INIT's.
        epoch: u32,
        /// The one to use.
        cipher: Cipher,
        /// Its public key.
        public: [u8; KEY_LEN],
    },
    /// The offerer can open the new epoch, and seals with it.
    Done {
        /// The REPLY's.
        epoch: u32,
    },
    /// The answerer asks for a new epoch.
    Ask {
        /// The newest it has.
        epoch: u32,
    },
}

/// True when a message of the control channel belongs to the key exchange rather than being JSON.
pub fn is_exchange(message: &[u8]) -> bool {
    message.first().is_some_and(|&first| first != b'{')
}

impl Message {
    /// Its name in PROTOCOL 5.3.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init { .. } => "INIT",
            Self::Reply { .. } => "REPLY",
            Self::Done { .. } => "DONE",
            Self::Ask { .. } => "ASK",
        }
    }

    /// Reads a message. The error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (&kind, rest) = bytes.split_first().ok_or("it is empty")?;
        let length = match kind {
            INIT | REPLY => 4 + 1 + KEY_LEN,
            DONE | ASK => 4,
            _ => return Err(format!("its kind is {kind}")),
        };
        if rest.len() != length {
            return Err(format!("kind {kind} has {} bytes instead of {}", bytes.len(), length + 1));
        }
        let (epoch, rest) = rest.split_first_chunk().expect("longer than that");
        let epoch = u32::from_be_bytes(*epoch);
        match (kind, rest.split_first()) {
            (INIT, Some((&bits, public))) => Ok(Self::Init {
                epoch,
                ciphers: Ciphers::from_bits(bits)
                    .ok_or_else(|| format!("its ciphers {bits:#04x} lack ChaCha20-Poly1305"))?,
                public: public.try_into().expect("length was checked"),
            }),
            (REPLY, Some((&number, public))) => Ok(Self::Reply {
                epoch,
                cipher: Cipher::from_number(number).ok_or_else(|| format!("its cipher is {number}"))?,
                public: public.try_into().expect("length was checked"),
            }),
            (DONE, _) => Ok(Self::Done { epoch }),
            _ => Ok(Self::Ask { epoch }),
        }
    }

    /// The bytes to send.
    pub fn to_bytes(self) -> Vec<u8> {
        let (kind, epoch, rest) = match self {
            Self::Init { epoch, ciphers, public } => (INIT, epoch, Some((ciphers.bits(), public))),
            Self::Reply { epoch, cipher, public } => (REPLY, epoch, Some((cipher as u8, public))),
            Self::Done { epoch } => (DONE, epoch, None),
            Self::Ask { epoch } => (ASK, epoch, None),
        };
        let mut bytes = vec![kind];
        bytes.extend(epoch.to_be_bytes());
        if let Some((number, public)) = rest {
            bytes.push(number);
            bytes.extend(public);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [Message; 4] {
        let public = [9; KEY_LEN];
        [
            Message::Init { epoch: 1, ciphers: Ciphers::ALL, public },
            Message::Reply { epoch: 0x0102_0304, cipher: Cipher::Aes256Gcm, public },
            Message::Done { epoch: u32::MAX },
            Message::Ask { epoch: 0 },
        ]
    }

    #[test]
    fn every_message_reads_back_and_is_told_from_json() {
        for message in all() {
            assert_eq!(Message::parse(&message.to_bytes()), Ok(message));
            assert!(is_exchange(&message.to_bytes()));
        }
        assert!(!is_exchange(b"{\"type\":\"hello\"}") && !is_exchange(b""));
    }

    #[test]
    fn a_message_of_another_length_or_with_unknown_numbers_is_refused_with_words() {
        for message in all() {
            let bytes = message.to_bytes();
            for cut in 0..bytes.len() {
                assert!(Message::parse(&bytes[..cut]).is_err(), "{message:?} cut to {cut}");
            }
            assert!(Message::parse(&[&bytes[..], &[0]].concat()).unwrap_err().contains("bytes instead of"));
        }
        let mut init = all()[0].to_bytes();
        init[5] = 1;
        assert_eq!(Message::parse(&init).unwrap_err(), "its ciphers 0x01 lack ChaCha20-Poly1305");
        init[5] = 0xfe;
        let Ok(Message::Init { ciphers, .. }) = Message::parse(&init) else { panic!("later versions have more bits") };
        assert_eq!(ciphers, Ciphers::ALWAYS);
        let mut reply = all()[1].to_bytes();
        reply[5] = 3;
        assert_eq!(Message::parse(&reply).unwrap_err(), "its cipher is 3");
        reply[0] = 9;
        assert_eq!(Message::parse(&reply).unwrap_err(), "its kind is 9");
    }
}
