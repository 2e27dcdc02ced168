//! Access tokens: JWT, HS256 with a shared secret. The algorithm is fixed by the key, never read from the token.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use wire::{Fault, FaultCode, UserId};

use crate::{Principal, Secret};

/// Clocks of two machines may differ by this much, in seconds.
const LEEWAY_S: u64 = 30;
/// Longer texts are refused unread; ours have about 200 bytes.
const TOKEN_BYTES_MAX: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
}

/// Why a token was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It is not one of ours.
    #[error("the token is not valid")]
    Invalid,
}

/// Makes tokens.
#[derive(Clone)]
pub struct Signer {
    key: EncodingKey,
    life_s: u32,
}

/// Reads tokens.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Signer {
    /// Signs with `secret`; each token lives `life_s` seconds.
    pub fn new(secret: &Secret, life_s: u32) -> Self {
        Self { key: EncodingKey::from_secret(secret.bytes()), life_s }
    }

    /// The life of a token, in seconds.
    pub const fn life_s(&self) -> u32 {
        self.life_s
    }

    /// A token that says "this is `user`".
    pub fn sign(&self, user: UserId) -> Result<String, TokenError> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = Claims { sub: user.to_string(), exp: now + i64::from(self.life_s), iat: Some(now) };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key)
            .map_err(|_| TokenError::Invalid)
    }
}

impl Verifier {
    /// Takes tokens signed with `secret`.
    pub fn new(secret: &Secret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        Self { key: DecodingKey::from_secret(secret.bytes()), validation }
    }

    /// Who sent this token.
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })?
            .claims;
        let latest = OffsetDateTime::now_utc().unix_timestamp() + LEEWAY_S.cast_signed();
        if claims.exp < 0 || claims.iat.is_some_and(|issued| issued > latest) {
            return Err(TokenError::Invalid);
        }
        claims.sub.parse().map(Principal::of_token).map_err(|_| TokenError::Invalid)
    }
}

impl From<TokenError> for Fault {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => FaultCode::TokenExpired.into(),
            TokenError::Invalid => FaultCode::InvalidToken.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned().into()).unwrap()
    }

    fn forged(header: &Header, claims: serde_json::Value, key: &[u8]) -> String {
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(key)).unwrap()
    }

    #[test]
    fn a_token_names_its_user() {
        let user = UserId::new();
        let token = Signer::new(&secret(SECRET), 60).sign(user).unwrap();
        assert_eq!(Verifier::new(&secret(SECRET)).verify(&token).unwrap().user(), user);
    }

    #[test]
    fn forged_and_stale_tokens_are_refused() {
        let verifier = Verifier::new(&secret(SECRET));
        let (user, now) = (UserId::new().to_string(), OffsetDateTime::now_utc().unix_timestamp());
        let hs256 = Header::new(Algorithm::HS256);
        let key = SECRET.as_bytes();
        let good = serde_json::json!({"sub": user, "exp": now + 60});
        assert!(verifier.verify(&forged(&hs256, good.clone(), key)).is_ok(), "iat is optional");
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ.";
        let cases = [
            (unsigned.to_owned(), TokenError::Invalid),
            (forged(&hs256, good.clone(), b"another secret, of sufficient length"), TokenError::Invalid),
            (forged(&Header::new(Algorithm::HS512), good, key), TokenError::Invalid),
            (forged(&hs256, serde_json::json!({"sub": user, "exp": now - 60}), key), TokenError::Expired),
            (forged(&hs256, serde_json::json!({"sub": user, "exp": "9999999999"}), key), TokenError::Invalid),
            (forged(&hs256, serde_json::json!({"sub": user, "exp": -1}), key), TokenError::Invalid),
            (forged(&hs256, serde_json::json!({"sub": user}), key), TokenError::Invalid),
            (forged(&hs256, serde_json::json!({"sub": "root", "exp": now + 60}), key), TokenError::Invalid),
            (
                forged(&hs256, serde_json::json!({"sub": user, "exp": now + 60, "nbf": now + 90}), key),
                TokenError::Invalid,
            ),
            (
                forged(&hs256, serde_json::json!({"sub": user, "exp": now + 60, "iat": now + 90}), key),
                TokenError::Invalid,
            ),
            ("a.b.c".to_owned(), TokenError::Invalid),
            ("x".repeat(65_536), TokenError::Invalid),
        ];
        for (token, error) in cases {
            assert_eq!(verifier.verify(&token), Err(error), "{token:.80}");
        }
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Secret::new("x".repeat(31).into()).is_err());
    }
}
