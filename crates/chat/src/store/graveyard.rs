//! What nobody can read any more, to be removed for good. Nothing here has an owner left to ask for: a conversation that is
//! deleted is nobody's.

use host::postgres::Patience;
use sqlx::PgConnection;
use wire::ConversationId;

/// Named in `pg_locks` by this number, so that of several processes one works.
const LOCK: i64 = 0x6f63_7075_7267_6521;
/// Conversations that one statement removes.
const CONVERSATIONS_MAX: i64 = 100;
/// Turns that one statement removes, with all their rows: few enough to be done in a moment, however long they are.
const TURNS_MAX: i64 = 50;

/// Deleted conversations, on a connection of its own.
pub struct Graveyard {
    connection: PgConnection,
    patience: Patience,
    /// Younger ones are left alone.
    hours: i32,
}

impl Graveyard {
    /// Conversations deleted more than `hours` ago, unless somebody else is at work. The lock ends with the connection.
    pub async fn enter(
        mut connection: PgConnection,
        patience: Patience,
        hours: i32,
    ) -> sqlx::Result<Option<Self>> {
        let asked = sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "alone!""#, LOCK)
            .fetch_one(&mut connection);
        let alone = patience.wait(asked).await?;
        Ok(alone.then_some(Self { connection, patience, hours }))
    }

    /// Removes conversations that their users deleted; their turns are then found by [`Self::next`]. True if there may be
    /// more.
    pub async fn bury(&mut self) -> sqlx::Result<bool> {
        let delete = sqlx::query!(
            "delete from conversations where id = any (array(
                 select id from conversations where deleted_at < now() - make_interval(hours => $1)
                 order by deleted_at limit $2))",
            self.hours,
            CONVERSATIONS_MAX,
        )
        .execute(&mut self.connection);
        Ok(self.patience.wait(delete).await?.rows_affected() > 0)
    }

    /// The conversation that has waited longest.
    pub async fn next(&mut self) -> sqlx::Result<Option<ConversationId>> {
        let find = sqlx::query_scalar!(
            "select id from deleted_conversations where deleted_at < now() - make_interval(hours => $1)
             order by deleted_at limit 1",
            self.hours,
        )
        .fetch_optional(&mut self.connection);
        Ok(self.patience.wait(find).await?.map(Into::into))
    }

    /// Removes turns of a conversation, with all that belongs to them. True if there may be more.
    pub async fn remove_turns(&mut self, of: ConversationId) -> sqlx::Result<bool> {
        let remove = sqlx::query_scalar!(
            r#"with gone as (
                   delete from turns where id = any (array(
                       select id from turns where conversation_id = $1 order by seq limit $2))
                   returning id, user_message_id
               ),
               messages_gone as (
                   delete from messages
                   where id = any (array(select id from gone union all select user_message_id from gone))
               ),
               outcomes_gone as (delete from outcomes where turn_id = any (array(select id from gone))),
               attempts_gone as (delete from attempts where turn_id = any (array(select id from gone))),
               calls_gone as (delete from calls where turn_id = any (array(select id from gone))),
               generations_gone as (delete from generations where turn_id = any (array(select id from gone))),
               cancels_gone as (delete from cancels where turn_id = any (array(select id from gone))),
               partials_gone as (delete from partial_answers where turn_id = any (array(select id from gone))),
               letters_gone as (delete from dead_letters where turn_id = any (array(select id from gone))),
               redrives_gone as (delete from redrives where turn_id = any (array(select id from gone)))
               select count(*) as "count!" from gone"#,
            of.uuid(),
            TURNS_MAX,
        )
        .fetch_one(&mut self.connection);
        Ok(self.patience.wait(remove).await? > 0)
    }

    /// Nothing of the conversation is left.
    pub async fn forget(&mut self, id: ConversationId) -> sqlx::Result<()> {
        let delete = sqlx::query!("delete from deleted_conversations where id = $1", id.uuid())
            .execute(&mut self.connection);
        self.patience.wait(delete).await.map(drop)
    }
}
