//! API keys: `oc_`, eight characters that name the key, `_`, 43 characters of secret, and six of a checksum, by which
//! whoever finds a key in the wrong place knows it for one, and a mistyped one is refused without looking it up.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use crc::{CRC_32_ISO_HDLC, Crc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How every key begins.
const MARK: &str = "oc_";
const NAME_CHARS: usize = 8;
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const PREFIX_CHARS: usize = MARK.len() + NAME_CHARS;
const CHARS: usize = PREFIX_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A well-formed API key. It cannot be printed.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// A new one: 256 random bits.
    pub fn random() -> Self {
        let name: String =
            (0..NAME_CHARS).map(|_| char::from(BASE62[rand::random_range(0..BASE62.len())])).collect();
        let secret = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let body = format!("{MARK}{name}_{secret}");
        Self(format!("{body}{}", checksum(&body)).into())
    }

    /// Whether a credential means to be an API key; anything else is taken for a token.
    pub fn is_meant_by(credential: &str) -> bool {
        credential.starts_with(MARK)
    }

    /// Reads a key. None if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.get(..CHARS - CHECKSUM_CHARS)?;
        let well_formed = text.len() == CHARS
            && body.starts_with(MARK)
            && body.as_bytes()[PREFIX_CHARS] == b'_'
            && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            && text[CHARS - CHECKSUM_CHARS..] == checksum(body);
        well_formed.then(|| Self(text.to_owned().into()))
    }

    /// How it begins: what it is looked up by, and what its owner knows it by.
    pub fn prefix(&self) -> &str {
        &self.0.expose_secret()[..PREFIX_CHARS]
    }

    /// The whole key, to be shown once.
    pub fn text(&self) -> &SecretString {
        &self.0
    }

    /// What is stored of it. It is random enough that a fast hash does.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.expose_secret()).into()
    }

    /// Whether `stored` is its hash, in a time that tells nothing.
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }
}

/// CRC-32 of the text, in base 62.
fn checksum(text: &str) -> String {
    let mut rest = CHECKSUM.checksum(text.as_bytes()) as usize;
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[rest % BASE62.len()];
        rest /= BASE62.len();
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_matches_its_own_hash_alone() {
        for _ in 0..100 {
            let key = ApiKey::random();
            let text = key.text().expose_secret();
            assert_eq!((text.len(), key.prefix().len()), (61, 11));
            let read = ApiKey::parse(text).unwrap();
            assert!(read.matches(&key.hash()) && !read.matches(&ApiKey::random().hash()));
            assert!(!read.matches(&[]));
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        let text = ApiKey::random().text().expose_secret().to_owned();
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mut typo = text.clone();
            typo.replace_range(at..=at, other);
            assert!(ApiKey::parse(&typo).is_none(), "{typo}");
        }
        let bad =
            ["", "oc_", &text[1..], &text[..60], &format!("{text}x"), &"é".repeat(30), &"oc_".repeat(20)];
        for bad in bad {
            assert!(ApiKey::parse(bad).is_none(), "{bad}");
        }
    }
}
