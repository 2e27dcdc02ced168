//! What Postgres says about turns: the record that must be right whatever happened.

use testkit::{World, eventually};

use crate::SOON;

/// Everything that may be there once only.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Ledger {
    /// Turns that were accepted.
    pub turns: i64,
    /// What users said.
    pub questions: i64,
    /// What models answered.
    pub answers: i64,
    /// Turns that ended.
    pub outcomes: i64,
    /// Turns that ended well.
    pub completed: i64,
    /// Calls beyond the first of each turn.
    pub repeated_calls: i64,
    /// Turns whose place is not the one after the turn before.
    pub gaps: i64,
}

impl Ledger {
    /// As it is.
    pub async fn of(world: &World) -> Self {
        let sql = "select (select count(*) from turns) as turns,
                          (select count(*) from messages where role = 'user') as questions,
                          (select count(*) from messages where role = 'assistant') as answers,
                          (select count(*) from outcomes) as outcomes,
                          (select count(*) from outcomes where status = 'completed') as completed,
                          (select count(*) from attempts) as repeated_calls,
                          (select count(*) from (
                              select seq, row_number() over (partition by conversation_id order by seq) as place from turns
                          ) numbered where place <> seq + 1) as gaps";
        sqlx::query_as(sql).fetch_one(world.sql()).await.unwrap()
    }

    /// Each of so many turns answered, exactly once.
    pub const fn all_answered(turns: i64, repeated_calls: i64) -> Self {
        Self {
            turns,
            questions: turns,
            answers: turns,
            outcomes: turns,
            completed: turns,
            repeated_calls,
            gaps: 0,
        }
    }
}

/// Waits, without any client, until so many turns have ended.
pub async fn ended(world: &World, turns: i64) {
    let what = format!("{turns} turns have ended");
    eventually(&what, SOON, async || (Ledger::of(world).await.outcomes == turns).then_some(())).await;
}
