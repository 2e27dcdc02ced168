//! Reads access tokens. Which algorithm a key goes with is ours to say, never the token's (RFC 8725 §3.1), and a token names
//! at most which of our own keys it was signed with: nothing is ever fetched.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, errors::ErrorKind};
use wire::{Fault, FaultCode, limits::CREDENTIAL_BYTES_MAX};

use crate::{
    Claims, PublicKey, Secret,
    claims::{LEEWAY_S, RawClaims},
};

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

/// Reads tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<Keys>,
}

struct Keys {
    /// For tokens that name no key.
    secret: Option<DecodingKey>,
    named: Vec<(PublicKey, DecodingKey)>,
}

impl Verifier {
    /// Takes tokens signed with `secret` (HS256).
    pub fn new(secret: &Secret) -> Self {
        Self::of(Some(secret), Vec::new())
    }

    /// Takes tokens that name one of `keys` (EdDSA), and, with a secret, those that name none (HS256).
    pub fn of(secret: Option<&Secret>, keys: Vec<PublicKey>) -> Self {
        let secret = secret.map(|secret| DecodingKey::from_secret(secret.bytes()));
        let named = keys.into_iter().map(|key| (key.clone(), key.verifying())).collect();
        Self { keys: Arc::new(Keys { secret, named }) }
    }

    /// The public keys, for those who verify tokens of ours elsewhere.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.named.iter().map(|(key, _)| key.clone()).collect()
    }

    /// What this token says.
    ///
    /// # Errors
    /// [`TokenError::Expired`] for a good token that has ended; [`TokenError::Invalid`] for everything else.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > CREDENTIAL_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if brings_its_own_key(&header) || !is_access_token(&header) {
            return Err(TokenError::Invalid);
        }
        let (key, algorithm) = self.keys.of(header.kid.as_deref()).ok_or(TokenError::Invalid)?;
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.validate_aud = false; // checked with the other claims, as it may be absent
        let claims = jsonwebtoken::decode::<RawClaims>(token, key, &validation);
        let claims = claims.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenError::Expired,
            _ => TokenError::Invalid,
        })?;
        claims.claims.check()
    }
}

impl Keys {
    fn of(&self, kid: Option<&str>) -> Option<(&DecodingKey, Algorithm)> {
        match kid {
            None => self.secret.as_ref().map(|secret| (secret, Algorithm::HS256)),
            Some(kid) => {
                let (_, key) = self.named.iter().find(|(key, _)| key.kid() == kid)?;
                Some((key, Algorithm::EdDSA))
            }
        }
    }
}

fn brings_its_own_key(header: &Header) -> bool {
    header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some()
}

fn is_access_token(header: &Header) -> bool {
    header
        .typ
        .as_deref()
        .is_none_or(|kind| kind.eq_ignore_ascii_case("jwt") || kind.eq_ignore_ascii_case("at+jwt"))
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
mod tests;
