//! Ed25519 keys, in PEM. A key is known by its `kid`, the thumbprint of RFC 7638: the same key has the same name everywhere,
//! and nobody has to think of one.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{
    SigningKey, VerifyingKey,
    pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey},
};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Why a file holds no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM, or more than one block of it.
    #[error("must hold one key in PEM form")]
    NotOne,
    /// A public key where a private one is needed, or a key of another kind.
    #[error("is no Ed25519 private key (PKCS#8)")]
    NotPrivate,
    /// A key of another kind.
    #[error("is no Ed25519 key")]
    NotEd25519,
}

/// A key that verifies.
#[derive(Clone)]
pub struct PublicKey {
    kid: String,
    key: VerifyingKey,
}

/// A key that signs. It cannot be printed.
#[derive(Clone)]
pub struct PrivateKey {
    key: EncodingKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads one from PEM (PKCS#8).
    ///
    /// # Errors
    /// [`KeyError::NotOne`] or [`KeyError::NotPrivate`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        one_block(pem)?;
        let key = SigningKey::from_pkcs8_pem(pem).map_err(|_| KeyError::NotPrivate)?;
        let der = key.to_pkcs8_der().map_err(|_| KeyError::NotPrivate)?;
        Ok(Self { key: EncodingKey::from_ed_der(der.as_bytes()), public: key.verifying_key().into() })
    }

    /// What verifies its signatures.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) const fn signing(&self) -> &EncodingKey {
        &self.key
    }
}

impl PublicKey {
    /// Reads one from PEM; a private key has its public one in it.
    ///
    /// # Errors
    /// [`KeyError::NotOne`] or [`KeyError::NotEd25519`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        one_block(pem)?;
        VerifyingKey::from_public_key_pem(pem)
            .ok()
            .or_else(|| SigningKey::from_pkcs8_pem(pem).ok().map(|key| key.verifying_key()))
            .map(Into::into)
            .ok_or(KeyError::NotEd25519)
    }

    /// Its name in tokens.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// As a JSON Web Key (RFC 8037).
    pub fn jwk(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.key.as_bytes());
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA" })
    }

    pub(crate) fn verifying(&self) -> DecodingKey {
        DecodingKey::from_ed_der(self.key.as_bytes())
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.as_bytes());
        let thumbprint = Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        Self { kid: BASE64_URL_SAFE_NO_PAD.encode(thumbprint), key }
    }
}

/// The document at `/.well-known/jwks.json` (RFC 7517 §5).
pub fn jwks(keys: &[PublicKey]) -> Value {
    json!({ "keys": keys.iter().map(PublicKey::jwk).collect::<Vec<_>>() })
}

fn one_block(pem: &str) -> Result<(), KeyError> {
    if pem.matches("-----BEGIN ").count() == 1 { Ok(()) } else { Err(KeyError::NotOne) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8037 appendix A.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let key = PrivateKey::from_pem(PRIVATE).unwrap();
        // RFC 8037 appendix A.3.
        assert_eq!(key.public().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(key.public().jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(PublicKey::from_pem(PRIVATE).unwrap().kid(), key.public().kid());
        assert!(!jwks(&[key.public().clone()]).to_string().contains("\"d\""), "only the public half");
    }

    #[test]
    fn a_file_holds_one_key_of_the_right_kind() {
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJB\n-----END PUBLIC KEY-----\n";
        for (pem, error) in [
            (String::new(), KeyError::NotOne),
            (PRIVATE.repeat(2), KeyError::NotOne),
            (rsa.to_owned(), KeyError::NotEd25519),
        ] {
            assert_eq!(PublicKey::from_pem(&pem).err(), Some(error), "{pem}");
        }
        assert_eq!(PrivateKey::from_pem(rsa).err(), Some(KeyError::NotPrivate));
    }
}
