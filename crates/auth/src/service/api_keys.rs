//! API keys.

use identity::Principal;
use secrecy::ExposeSecret;
use wire::{
    ApiKey, ApiKeyId, ApiKeyProof, Done, Identity, List, ListPage, NewApiKey, Page, Scope, ShownApiKey,
    operations::LIST_API_KEYS,
};

use super::Accounts;
use crate::Error;

impl Accounts {
    /// Makes an API key, and shows it this once.
    pub async fn create_api_key(&self, caller: Principal, new: NewApiKey) -> Result<ShownApiKey, Error> {
        let key = identity::ApiKey::random();
        let mut scopes = new.scopes.unwrap_or_else(|| Scope::ALL.to_vec());
        scopes.sort_unstable();
        scopes.dedup();
        let api_key = ApiKey {
            id: ApiKeyId::new(),
            name: new.name,
            prefix: key.prefix().to_owned(),
            scopes,
            created_at: wire::now(),
            expires_at: new.expires_at,
            last_used_at: None,
        };
        if !self.store.insert_api_key(caller, &api_key, &key.hash()).await? {
            return Err(Error::TooManyApiKeys);
        }
        tracing::info!(user_id = %caller.user(), api_key = %api_key.id, "an API key was made");
        Ok(ShownApiKey { key: key.text().expose_secret().to_owned(), api_key })
    }

    /// The caller's API keys, oldest first.
    pub async fn list_api_keys(&self, caller: Principal, page: ListPage) -> Result<Page<ApiKey>, Error> {
        let list = List::new(caller.user(), &LIST_API_KEYS.info, &[]);
        let after = list.position(&page).map_err(|_| Error::InvalidCursor)?;
        let keys = self.store.api_keys(caller, after, i64::from(page.limit()) + 1).await?;
        Ok(Page::cut(keys, page.limit(), &list, |key| key.id.uuid()))
    }

    /// Makes an API key useless.
    pub async fn delete_api_key(&self, caller: Principal, id: ApiKeyId) -> Result<Done, Error> {
        if !self.store.revoke_api_key(caller, id).await? {
            return Err(Error::ApiKeyNotFound);
        }
        tracing::info!(user_id = %caller.user(), api_key = %id, "an API key was taken back");
        Ok(Done { message: "API key deleted successfully".into() })
    }

    /// Whose an API key is, and what it may do.
    pub async fn check_api_key(&self, proof: ApiKeyProof) -> Result<Identity, Error> {
        self.prover.api_key(&proof.api_key).await
    }
}
