//! The tables `users`, `refresh_tokens` (in [`sessions`]) and `api_keys` (in [`api_keys`]); [`holders`] asks them all. Each method is one statement: a
//! future that is dropped half-way leaves no open transaction behind.

mod api_keys;
mod holders;
mod sessions;

pub use api_keys::StoredApiKey;

use host::postgres::Pool;
use identity::Principal;
use sqlx::Result;
use wire::User;

use crate::model::{Account, Email};

/// Reads and writes them.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// In this database.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// Inserts a user; false if the address is taken.
    pub async fn insert_user(&self, user: &User, password_hash: &str) -> Result<bool> {
        let inserted = sqlx::query!(
            "insert into users (id, email, password_hash, created_at, updated_at) values ($1, $2, $3, $4, $4)
             on conflict (email) do nothing",
            user.id.uuid(),
            user.email,
            password_hash,
            user.created_at,
        )
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// The account with this address, to be logged in to: its password is what makes its user a caller.
    pub async fn account(&self, email: &Email) -> Result<Option<Account>> {
        sqlx::query_as!(
            Account,
            "select id, password_hash, is_active from users where email = $1",
            email.as_str(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// The caller, if active.
    pub async fn user(&self, caller: Principal) -> Result<Option<User>> {
        sqlx::query_as!(
            User,
            "select id, email, created_at from users where id = $1 and is_active",
            caller.user().uuid(),
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Replaces the hash that the password of `account` was verified with, unless it has changed meanwhile.
    pub async fn replace_hash(&self, account: &Account, password_hash: &str) -> Result<()> {
        sqlx::query!(
            "update users set password_hash = $3, updated_at = $4 where id = $1 and password_hash = $2",
            account.id.uuid(),
            account.password_hash,
            password_hash,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Replaces the password's hash `from` which the caller has just proven, and ends every session; false if it has changed
    /// meanwhile.
    pub async fn change_password(&self, caller: Principal, from: &str, to: &str) -> Result<bool> {
        let changed = sqlx::query!(
            "with changed as (
                 update users set password_hash = $3, updated_at = $4
                 where id = $1 and password_hash = $2 and is_active
                 returning id
             ), ended as (
                 update refresh_tokens set revoked_at = $4
                 where user_id = (select id from changed) and id = family_id and revoked_at is null
             )
             select id from changed",
            caller.user().uuid(),
            from,
            to,
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(changed.is_some())
    }

    /// The caller's account, to be proven once more.
    pub async fn account_of(&self, caller: Principal) -> Result<Option<Account>> {
        sqlx::query_as!(
            Account,
            "select id, password_hash, is_active from users where id = $1",
            caller.user().uuid(),
        )
        .fetch_optional(&self.pool)
        .await
    }
}
