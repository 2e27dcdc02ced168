//! The tables `users` and `refresh_tokens`. Each method is one statement: a future that is dropped half-way leaves no open
//! transaction behind.

use identity::Principal;
use sqlx::{PgPool, Result};
use wire::User;

use crate::model::{Account, Email, RefreshToken};

/// Reads and writes them.
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// In this database.
    pub fn new(pool: PgPool) -> Self {
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

    /// Inserts a token; false if its user is active no more.
    pub async fn insert_refresh_token(&self, token: &RefreshToken) -> Result<bool> {
        let inserted = sqlx::query!(
            "insert into refresh_tokens (id, user_id, family_id, token_hash, expires_at, created_at)
             select $2, id, $3, $4, $5, $6 from users where id = $1 and is_active for key share",
            token.user.uuid(),
            token.id,
            token.family,
            &token.hash[..],
            token.expires_at,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }
}
