//! Holders of credentials that were good once: who of them is still let in.

use bus::connections::Holder;
use sqlx::Result;

use super::Store;

impl Store {
    /// Which of these may not stay, by their places: their user is disabled or gone, their session over, their key taken back.
    pub async fn expelled(&self, holders: &[Holder]) -> Result<Vec<usize>> {
        let users: Vec<_> = holders.iter().map(|holder| holder.user.uuid()).collect();
        let sessions: Vec<_> = holders.iter().map(|holder| holder.session).collect();
        let keys: Vec<_> = holders.iter().map(|holder| holder.api_key.map(|key| key.uuid())).collect();
        let places = sqlx::query_scalar!(
            r#"select place as "place!" from
                 unnest($1::uuid[], $2::uuid[], $3::uuid[]) with ordinality as held (user_id, session_id, key_id, place)
               where not exists (select from users u where u.id = held.user_id and u.is_active)
                  or held.session_id is not null and not exists (
                         select from refresh_tokens r where r.id = held.session_id and r.family_id = held.session_id
                             and r.user_id = held.user_id and r.revoked_at is null and r.expires_at > $4)
                  or held.key_id is not null and not exists (
                         select from api_keys k where k.id = held.key_id and k.user_id = held.user_id
                             and k.revoked_at is null and (k.expires_at is null or k.expires_at > $4))"#,
            &users,
            &sessions as &[Option<uuid::Uuid>],
            &keys as &[Option<uuid::Uuid>],
            wire::now(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(places.into_iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
    }
}
