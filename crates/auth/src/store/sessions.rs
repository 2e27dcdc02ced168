//! Sessions: rows of `refresh_tokens`. The root of a session is the row whose id is the session's.

use sqlx::Result;
use time::OffsetDateTime;
use uuid::Uuid;
use wire::UserId;

use super::Store;
use crate::session::{Lives, RefreshToken, Shown};

impl Store {
    /// Begins a session with its first token, and clears away those of the user that are long over; false if the user is
    /// active no more.
    pub async fn begin_session(
        &self,
        user: UserId,
        token: &RefreshToken,
        expires_at: OffsetDateTime,
    ) -> Result<bool> {
        let inserted = sqlx::query!(
            "with cleared as (delete from refresh_tokens where user_id = $1 and expires_at < $5)
             insert into refresh_tokens (id, user_id, family_id, token_hash, expires_at, created_at)
             select $2, id, $2, $3, $4, $5 from users where id = $1 and is_active for key share",
            user.uuid(),
            token.id,
            &token.hash[..],
            expires_at,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }

    /// Uses a token: the first time, `successor` takes its place; too late a second time, the session ends. The session's
    /// root is locked, so that of two at a time the second sees what the first did.
    pub async fn show_token(
        &self,
        hash: &[u8; 32],
        successor: &RefreshToken,
        now: OffsetDateTime,
        lives: &Lives,
    ) -> Result<Option<Shown>> {
        sqlx::query_as!(
            Shown,
            r#"with shown as (
                 select t.id, t.user_id, t.family_id, t.expires_at, t.replaced_by, t.used_at,
                        r.revoked_at is not null or t.expires_at <= $4 or not u.is_active
                            or (t.replaced_by is null and t.created_at <= $5) as is_over
                 from refresh_tokens t
                 join refresh_tokens r on r.id = t.family_id
                 join users u on u.id = t.user_id
                 where t.token_hash = $1
                 for update of t, r
             ), rotated as (
                 update refresh_tokens set replaced_by = $2, used_at = $4
                 from shown where refresh_tokens.id = shown.id and shown.replaced_by is null and not is_over
                 returning refresh_tokens.id
             ), added as (
                 insert into refresh_tokens (id, user_id, family_id, token_hash, expires_at, created_at)
                 select $2, user_id, family_id, $3, expires_at, $4 from shown where exists (select from rotated)
             ), ended as (
                 update refresh_tokens set revoked_at = $4
                 from shown where refresh_tokens.id = shown.family_id and shown.replaced_by is not null
                     and shown.used_at < $6 and refresh_tokens.revoked_at is null
             )
             select user_id as "user", family_id as session, replaced_by, used_at,
                    exists (select from rotated) as "rotated!", is_over as "is_over!"
             from shown"#,
            &hash[..],
            successor.id,
            &successor.hash[..],
            now,
            now - lives.idle,
            now - lives.grace,
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Ends one session of a user, or all of them.
    pub async fn end_sessions(&self, user: UserId, session: Option<Uuid>) -> Result<()> {
        sqlx::query!(
            "update refresh_tokens set revoked_at = $3
             where user_id = $1 and id = family_id and ($2::uuid is null or id = $2) and revoked_at is null",
            user.uuid(),
            session,
            wire::now(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Whether a user is active, and the session (if one is named) theirs and not over. None without such a user.
    pub async fn standing(&self, user: UserId, session: Option<Uuid>) -> Result<Option<(bool, bool)>> {
        let row = sqlx::query!(
            r#"select is_active, ($2::uuid is null or exists (
                   select from refresh_tokens
                   where id = $2 and family_id = $2 and user_id = $1 and revoked_at is null and expires_at > $3
               )) as "is_open!"
               from users where id = $1"#,
            user.uuid(),
            session,
            wire::now(),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| (row.is_active, row.is_open)))
    }
}
