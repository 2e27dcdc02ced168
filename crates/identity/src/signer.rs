//! Makes access tokens.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use uuid::Uuid;
use wire::UserId;

use crate::{PrivateKey, Secret, TokenError, claims::RawClaims};

/// Makes tokens, with one key.
#[derive(Clone)]
pub struct Signer {
    header: Header,
    key: EncodingKey,
    life_s: u32,
}

impl Signer {
    /// Signs with a shared secret (HS256); each token lives `life_s` seconds.
    pub fn new(secret: &Secret, life_s: u32) -> Self {
        let key = EncodingKey::from_secret(secret.bytes());
        Self { header: Header::new(Algorithm::HS256), key, life_s }
    }

    /// Signs with an Ed25519 key, which the token names.
    pub fn with_key(key: &PrivateKey, life_s: u32) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.public().kid().to_owned());
        header.typ = Some("at+jwt".into());
        Self { header, key: key.signing().clone(), life_s }
    }

    /// The life of a token, in seconds.
    pub const fn life_s(&self) -> u32 {
        self.life_s
    }

    /// A token that says "this is `user`, in this session".
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if the library cannot sign.
    pub fn sign(&self, user: UserId, session_id: Uuid) -> Result<String, TokenError> {
        let claims = RawClaims::new(user, session_id, self.life_s);
        jsonwebtoken::encode(&self.header, &claims, &self.key).map_err(|_| TokenError::Invalid)
    }
}
