//! Turns that were given up after their last attempt. They stay as they ended; an operator looks at them, finds the cause,
//! and has another turn made in their place.

use host::postgres::Pool;
use serde::Serialize;
use time::OffsetDateTime;
use wire::{ConversationId, Encoding, RegenerateTurn, TurnId, UserId};

/// The letters of a database.
pub struct DeadLetters {
    pool: Pool,
}

/// A turn that was given up.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The turn.
    pub turn: TurnId,
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Whose it is.
    pub user: UserId,
    /// Why the last attempt was cut, as far as it is known.
    pub reason: String,
    /// Calls to the provider that were, or may have been, made.
    pub attempts: i16,
    /// The model that was asked.
    pub model: String,
    /// When it was given up.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// The turn that was made in its place.
    pub redriven_as: Option<TurnId>,
}

impl DeadLetters {
    /// Over a pool of connections.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// The newest, at most `limit`; or the one of this turn.
    ///
    /// # Errors
    /// Postgres did not answer.
    pub async fn list(&self, turn: Option<TurnId>, limit: i64) -> sqlx::Result<Vec<DeadLetter>> {
        let rows = sqlx::query!(
            r#"select d.turn_id, d.conversation_id, d.user_id, d.reason, d.created_at, r.new_turn as "new_turn?",
                      coalesce((select max(a.number) from attempts a where a.turn_id = d.turn_id), 1::smallint) as "attempts!",
                      coalesce((select t.model from turns t where t.id = d.turn_id), '') as "model!"
               from dead_letters d left join redrives r on r.turn_id = d.turn_id
               where $1::uuid is null or d.turn_id = $1
               order by d.created_at desc limit $2"#,
            turn.map(|turn| turn.uuid()),
            limit,
        )
        .fetch_all(&self.pool)
        .await?;
        let letters = rows.into_iter().map(|row| DeadLetter {
            turn: row.turn_id.into(),
            conversation: row.conversation_id.into(),
            user: row.user_id.into(),
            reason: row.reason,
            attempts: row.attempts,
            model: row.model,
            created_at: row.created_at,
            redriven_as: row.new_turn.map(Into::into),
        });
        Ok(letters.collect())
    }

    /// Notes which turn was made in the place of one that was given up. The first note counts.
    ///
    /// # Errors
    /// Postgres did not answer.
    pub async fn note_redriven(&self, turn: TurnId, new_turn: TurnId) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into redrives (turn_id, new_turn, created_at) select turn_id, $2, now() from dead_letters
             where turn_id = $1 on conflict do nothing",
            turn.uuid(),
            new_turn.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// The key by which a turn is made in the place of another: however often it is asked for, it is made once.
pub fn redrive_key(turn: TurnId) -> String {
    format!("redrive-{turn}")
}

/// The body that asks for it.
pub fn redrive_body() -> Vec<u8> {
    Encoding::Json.encode(&RegenerateTurn::default()).unwrap_or_default()
}
