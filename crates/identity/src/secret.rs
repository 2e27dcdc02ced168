//! The shared secret that signs tokens.

use secrecy::{ExposeSecret, SecretString};

/// The shortest secret that HS256 allows for (RFC 7518 §3.2), in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// A secret that is long enough, and that cannot be printed.
#[derive(Clone)]
pub struct Secret(SecretString);

/// The secret is shorter than [`SECRET_BYTES_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have at least {SECRET_BYTES_MIN} bytes")]
pub struct WeakSecret;

impl Secret {
    /// Takes a secret of at least [`SECRET_BYTES_MIN`] bytes.
    pub fn new(text: SecretString) -> Result<Self, WeakSecret> {
        if text.expose_secret().len() < SECRET_BYTES_MIN { Err(WeakSecret) } else { Ok(Self(text)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}
