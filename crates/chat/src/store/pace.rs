//! How fast the turns of a conversation go.

use std::time::Duration;

use identity::Principal;
use time::OffsetDateTime;
use wire::Turn;

use super::{Store, history::OPEN_TURNS_MAX};

/// Answers that are looked at.
const ANSWERS: i64 = 8;

/// How fast the turns before one that waits are likely to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// What a call took lately.
    pub typical: Duration,
    /// When the first of them began.
    pub since: OffsetDateTime,
}

impl Pace {
    /// How long it is likely to take, at this moment, until so many turns have ended.
    pub fn wait(&self, turns: u32, now: OffsetDateTime) -> Duration {
        let passed = Duration::try_from(now - self.since).unwrap_or_default();
        let of_first = self.typical.saturating_sub(passed);
        turns.checked_sub(1).map_or(Duration::ZERO, |others| of_first + self.typical * others)
    }
}

impl Store {
    /// Of the conversation of a turn of the caller's that waits; absent if it has no answer yet.
    pub async fn pace(&self, caller: Principal, turn: &Turn) -> sqlx::Result<Option<Pace>> {
        let found = sqlx::query!(
            r#"select percentile_disc(0.5) within group (order by a.total_ms) as typical_ms,
                      greatest(max(a.finished_at),
                               (select h.created_at from turns h
                                where h.conversation_id = $2 and h.user_id = $1
                                  and h.seq < $3::bigint and h.seq >= $3::bigint - $4::bigint
                                  and (select ho.turn_id from outcomes ho where ho.turn_id = h.id) is null
                                order by h.seq limit 1)) as since
               from (select (o.timings ->> 'total_ms')::bigint as total_ms, o.finished_at
                     from turns t join outcomes o on o.turn_id = t.id
                     where t.conversation_id = $2 and t.user_id = $1 and o.status = 'completed'
                     order by t.seq desc limit $5::bigint) a"#,
            caller.user().uuid(),
            turn.conversation_id.uuid(),
            turn.seq,
            OPEN_TURNS_MAX,
            ANSWERS,
        )
        .fetch_one(&self.pool)
        .await?;
        let typical_ms = found.typical_ms.and_then(|typical| u64::try_from(typical).ok());
        Ok(typical_ms
            .zip(found.since)
            .map(|(typical_ms, since)| Pace { typical: Duration::from_millis(typical_ms), since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_first_has_taken_already_is_not_waited_for_again() {
        let since = wire::now();
        let pace = Pace { typical: Duration::from_secs(3), since };
        let wait = |turns, after_s| pace.wait(turns, since + Duration::from_secs(after_s)).as_secs();
        assert_eq!([wait(1, 0), wait(1, 2), wait(1, 9)], [3, 1, 0]);
        assert_eq!([wait(4, 0), wait(4, 2), wait(4, 9)], [12, 10, 9]);
        assert_eq!(wait(0, 0), 0);
        assert_eq!(pace.wait(1, since - Duration::from_secs(5)), pace.typical, "clocks may differ");
    }
}
