//! Whether what was answered is what was stored: each turn once, with one outcome and both messages, without gaps.

use anyhow::ensure;
use sqlx::{Connection, PgConnection};

/// What is in the tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    /// Rows of `turns`.
    pub turns: i64,
    /// Rows of `outcomes` that are `completed`.
    pub completed: i64,
    /// Messages of users.
    pub questions: i64,
    /// Messages of the model.
    pub answers: i64,
    /// Conversations whose turns are not numbered from 0 without gaps.
    pub gaps: i64,
}

impl Stored {
    /// Counts.
    pub async fn read(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let stored = sqlx::query_as!(
            Self,
            r#"select
                (select count(*) from turns) as "turns!",
                (select count(*) from outcomes where status = 'completed') as "completed!",
                (select count(*) from messages where role = 'user') as "questions!",
                (select count(*) from messages where role = 'assistant') as "answers!",
                (select count(*) from (select from turns group by conversation_id
                                       having min(seq) <> 0 or max(seq) <> count(*) - 1) as gap) as "gaps!""#
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(stored)
    }

    /// # Errors
    /// Unless all counts are that of the good answers and there are no gaps.
    pub fn check(&self, answered: usize) -> anyhow::Result<()> {
        let answered = i64::try_from(answered)?;
        let expected =
            Self { turns: answered, completed: answered, questions: answered, answers: answered, gaps: 0 };
        ensure!(*self == expected, "{answered} messages were answered, but stored is {self:?}");
        Ok(())
    }
}
