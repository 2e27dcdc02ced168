//! API keys: rows of `api_keys`. What is stored of a key's secret is its hash.

use identity::Principal;
use sqlx::Result;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::{ApiKey, ApiKeyId, Scope};

use super::Store;

/// Keys that a user may have at a time.
pub const KEYS_MAX: i64 = 100;

/// A key that was looked up.
pub struct StoredApiKey {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user: Uuid,
    /// SHA-256 of the whole key.
    pub hash: Vec<u8>,
    /// What it may do, by name.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires_at: Option<OffsetDateTime>,
    /// It was taken back.
    pub is_revoked: bool,
    /// Its owner is active.
    pub is_active: bool,
}

impl StoredApiKey {
    /// What it may do.
    pub fn scopes(&self) -> Vec<Scope> {
        named(&self.scopes)
    }
}

impl Store {
    /// Inserts a key; false if its owner has too many, or is active no more.
    pub async fn insert_api_key(&self, caller: Principal, key: &ApiKey, hash: &[u8; 32]) -> Result<bool> {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
        let inserted = sqlx::query!(
            "insert into api_keys (id, user_id, name, prefix, secret_hash, scopes, expires_at, created_at)
             select $2, id, $3, $4, $5, $6, $7, $8 from users where id = $1 and is_active
                 and (select count(*) from api_keys where user_id = $1 and revoked_at is null) < $9
             for key share",
            caller.user().uuid(),
            key.id.uuid(),
            key.name,
            key.prefix,
            &hash[..],
            &scopes,
            key.expires_at,
            key.created_at,
            KEYS_MAX,
        )
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// The caller's keys behind `after`, oldest first, at most `limit`.
    pub async fn api_keys(&self, caller: Principal, after: Option<Uuid>, limit: i64) -> Result<Vec<ApiKey>> {
        let rows = sqlx::query!(
            "select id, name, prefix, scopes, created_at, expires_at, last_used_at from api_keys
             where user_id = $1 and revoked_at is null and ($2::uuid is null or id > $2) order by id limit $3",
            caller.user().uuid(),
            after,
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let keys = rows.into_iter().map(|row| ApiKey {
            id: row.id.into(),
            name: row.name,
            prefix: row.prefix,
            scopes: named(&row.scopes),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
        });
        Ok(keys.collect())
    }

    /// Takes a key back; false if there is none.
    pub async fn revoke_api_key(&self, caller: Principal, id: ApiKeyId) -> Result<bool> {
        let revoked = sqlx::query!(
            "update api_keys set revoked_at = $3 where user_id = $1 and id = $2 and revoked_at is null",
            caller.user().uuid(),
            id.uuid(),
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(revoked.rows_affected() > 0)
    }

    /// The key that begins like this, and notes, to the minute, that the one with this hash is used. Whose key it is says
    /// the key: it is what makes its user a caller.
    pub async fn use_api_key(&self, prefix: &str, hash: &[u8; 32]) -> Result<Option<StoredApiKey>> {
        sqlx::query_as!(
            StoredApiKey,
            r#"with found as (
                 select k.id, k.user_id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, u.is_active
                 from api_keys k join users u on u.id = k.user_id where k.prefix = $1
             ), used as (
                 update api_keys set last_used_at = $3 from found
                 where api_keys.id = found.id and found.secret_hash = $2 and found.revoked_at is null
                     and (api_keys.last_used_at is null or api_keys.last_used_at < $3::timestamptz - interval '1 minute')
             )
             select id, user_id as "user", secret_hash as hash, scopes, expires_at,
                    revoked_at is not null as "is_revoked!", is_active from found"#,
            prefix,
            &hash[..],
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await
    }
}

/// The scopes of these names; a name that is none any more is left out.
fn named(scopes: &[String]) -> Vec<Scope> {
    scopes.iter().filter_map(|name| Scope::named(name)).collect()
}
