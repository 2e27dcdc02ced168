//! Whether a credential is good: for the doors, which ask before they let anybody in.

use bus::connections::Holder;
use identity::{ApiKey, Claims, TokenError, Verifier};
use wire::{Identity, Scope, SessionProof};

use crate::{Error, store::Store};

/// Proves credentials. What is forged is refused before the database is asked.
pub struct Prover {
    store: Store,
    verifier: Verifier,
}

impl Prover {
    /// For access tokens that `verifier` takes, and for the API keys of this database.
    pub const fn new(store: Store, verifier: Verifier) -> Self {
        Self { store, verifier }
    }

    /// Whose access token or API key this is.
    ///
    /// # Errors
    /// [`Error::Token`] for what is not good, [`Error::AccountDisabled`] if its owner may not come in.
    pub async fn prove(&self, credential: &str) -> Result<Identity, Error> {
        if ApiKey::is_meant_by(credential) {
            return self.api_key(credential).await;
        }
        let Claims { user, session_id, expires_at } = self.verifier.verify(credential)?;
        self.session(SessionProof { user_id: user, session_id, expires_at }).await
    }

    /// Whether the holder of a good token is still let in.
    ///
    /// # Errors
    /// [`Error::AccountDisabled`]; [`Error::Token`] if the session was ended.
    pub async fn session(&self, proof: SessionProof) -> Result<Identity, Error> {
        let SessionProof { user_id, session_id, expires_at } = proof;
        match self.store.standing(user_id, session_id).await? {
            Some((true, true)) => {
                let scopes = Scope::ALL.to_vec();
                Ok(Identity { user_id, scopes, session_id, api_key_id: None, expires_at: Some(expires_at) })
            }
            Some((true, false)) => Err(Error::Token(TokenError::Invalid)),
            Some((false, _)) | None => Err(Error::AccountDisabled),
        }
    }

    /// Whose API key this is, and what it may do.
    ///
    /// # Errors
    /// [`Error::AccountDisabled`]; [`Error::Token`] for a key that is none of ours, was taken back or has ended.
    pub async fn api_key(&self, text: &str) -> Result<Identity, Error> {
        let key = ApiKey::parse(text).ok_or(Error::Token(TokenError::Invalid))?;
        let found = self.store.use_api_key(key.prefix(), &key.hash()).await?;
        let found = found.filter(|found| key.matches(&found.hash) && !found.is_revoked);
        let found = found.ok_or(Error::Token(TokenError::Invalid))?;
        if found.expires_at.is_some_and(|end| end <= wire::now()) {
            return Err(Error::Token(TokenError::Expired));
        }
        if !found.is_active {
            return Err(Error::AccountDisabled);
        }
        Ok(Identity {
            user_id: found.user.into(),
            scopes: found.scopes(),
            session_id: None,
            api_key_id: Some(found.id.into()),
            expires_at: found.expires_at,
        })
    }

    /// Which of these holders may not stay, by their places.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn expelled(&self, holders: &[Holder]) -> Result<Vec<usize>, Error> {
        Ok(self.store.expelled(holders).await?)
    }
}
