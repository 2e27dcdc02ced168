//! The keys of the callout, in NATS's form (nkeys): an account key that signs, and a curve key that credentials are encrypted
//! for. Several instances share them.

use std::fmt;

use nkeys::{KeyPair, KeyPairType, XKey};
use secrecy::{ExposeSecret, SecretString};

use crate::connection::CalloutConfig;

/// Both pairs. They cannot be printed.
#[derive(Clone)]
pub struct CalloutKeys {
    issuer: KeyPair,
    curve: XKey,
}

/// A seed that is none; named by its key in the configuration, without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// One is set, the other is not.
    #[error("nats.callout.issuer_seed and nats.callout.curve_seed are set together or not at all")]
    Half,
    /// Not the seed of an account key.
    #[error("nats.callout.issuer_seed is no seed of an account key (SA…)")]
    Issuer,
    /// Not the seed of a curve key.
    #[error("nats.callout.curve_seed is no seed of a curve key (SX…)")]
    Curve,
}

impl CalloutKeys {
    /// New ones.
    pub fn random() -> Self {
        Self { issuer: KeyPair::new_account(), curve: XKey::new() }
    }

    /// Those of the configuration; none, if users are not to be let in.
    ///
    /// # Errors
    /// A seed is missing or is none.
    pub fn of(config: &CalloutConfig) -> Result<Option<Self>, KeysError> {
        match (&config.issuer_seed, &config.curve_seed) {
            (None, None) => Ok(None),
            (Some(issuer), Some(curve)) => Self::from_seeds(issuer, curve).map(Some),
            _ => Err(KeysError::Half),
        }
    }

    fn from_seeds(issuer: &SecretString, curve: &SecretString) -> Result<Self, KeysError> {
        let issuer = KeyPair::from_seed(issuer.expose_secret()).map_err(|_| KeysError::Issuer)?;
        if issuer.key_pair_type() != KeyPairType::Account {
            return Err(KeysError::Issuer);
        }
        let curve = XKey::from_seed(curve.expose_secret()).map_err(|_| KeysError::Curve)?;
        Ok(Self { issuer, curve })
    }

    /// Their seeds, for the configuration; `None` never happens to keys that were made with their seeds.
    pub fn seeds(&self) -> Option<CalloutConfig> {
        let seed = |seed: Result<String, _>| seed.ok().map(SecretString::from);
        let (issuer, curve) = (seed(self.issuer.seed())?, seed(self.curve.seed())?);
        Some(CalloutConfig { issuer_seed: Some(issuer), curve_seed: Some(curve) })
    }

    /// Who signs, as the server is told.
    pub fn issuer(&self) -> String {
        self.issuer.public_key()
    }

    /// Whom the server encrypts for.
    pub fn curve(&self) -> String {
        self.curve.public_key()
    }

    pub(super) fn sign(&self, text: &str) -> Option<Vec<u8>> {
        self.issuer.sign(text.as_bytes()).ok()
    }

    /// What a server encrypted for us.
    pub(super) fn open(&self, sealed: &[u8], server: &str) -> Option<Vec<u8>> {
        self.curve.open(sealed, &XKey::from_public_key(server).ok()?).ok()
    }

    /// Encrypts for a server.
    pub(super) fn seal(&self, text: &[u8], server: &str) -> Option<Vec<u8>> {
        self.curve.seal(text, &XKey::from_public_key(server).ok()?).ok()
    }
}

impl fmt::Debug for CalloutKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CalloutKeys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(issuer: Option<&str>, curve: Option<&str>) -> CalloutConfig {
        let secret = |text: &str| SecretString::from(text.to_owned());
        CalloutConfig { issuer_seed: issuer.map(secret), curve_seed: curve.map(secret) }
    }

    #[test]
    fn seeds_are_read_back() {
        let keys = CalloutKeys::random();
        let read = CalloutKeys::of(&keys.seeds().unwrap()).unwrap().unwrap();
        assert_eq!((read.issuer(), read.curve()), (keys.issuer(), keys.curve()));
        assert!(CalloutKeys::of(&config(None, None)).unwrap().is_none());
    }

    #[test]
    fn a_seed_of_another_kind_is_refused_by_name() {
        let (account, user) = (KeyPair::new_account().seed().unwrap(), KeyPair::new_user().seed().unwrap());
        let curve = XKey::new().seed().unwrap();
        for (issuer, given, error) in [
            (Some(&*account), None, KeysError::Half),
            (Some(&*user), Some(&*curve), KeysError::Issuer),
            (Some("SA"), Some(&*curve), KeysError::Issuer),
            (Some(&*account), Some(&*account), KeysError::Curve),
        ] {
            assert_eq!(CalloutKeys::of(&config(issuer, given)).unwrap_err(), error);
        }
    }
}
