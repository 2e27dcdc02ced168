//! What stops a turn before its end: its user's wish, or that its conversation is deleted.

use identity::Principal;
use wire::{ConversationId, TurnId};

use super::{Store, history::OPEN_TURNS_MAX};

/// A call that runs, as the one who makes it knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// The conversation.
    pub conversation: ConversationId,
    /// Its turn.
    pub turn: TurnId,
}

impl Store {
    /// Notes that the caller wants a turn no more, if it has no outcome yet. Once this is stored, no later owner calls a
    /// model for it.
    pub async fn ask_to_cancel(&self, caller: Principal, turn: TurnId) -> sqlx::Result<()> {
        sqlx::query!(
            "insert into cancels (turn_id, created_at)
             select t.id, now()
             from turns t join conversations c on c.id = t.conversation_id and c.deleted_at is null
             where t.id = $2 and t.user_id = $1
               and (select o.turn_id from outcomes o where o.turn_id = t.id) is null
             on conflict do nothing",
            caller.user().uuid(),
            turn.uuid(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends a turn that its caller wants no more, in the stead of an owner who does not answer; what that owner called for is
    /// told by itself, or has to be asked for. That it has one outcome is
    /// the primary key's doing: if the owner was faster, nothing happens.
    pub async fn end_cancelled(&self, caller: Principal, turn: TurnId) -> sqlx::Result<()> {
        sqlx::query!(
            "with ended as (
                 insert into outcomes (turn_id, status, finished_at)
                 select c.turn_id, 'cancelled', now()
                 from cancels c join turns t on t.id = c.turn_id
                 where c.turn_id = $2 and t.user_id = $1
                 on conflict do nothing
                 returning turn_id
             )
             insert into calls (turn_id, number, told_by, status, estimated, created_at)
             select t.id, place, 'successor', 'unknown', true, now()
             from turns t
             cross join generate_series(1, coalesce((select max(a.number) from attempts a where a.turn_id = t.id), 1))
                 as places (place)
             where t.id = any (array(select turn_id from ended))
               -- Of what waited behind an open turn no call was made.
               and not exists (select from turns b
                               where b.conversation_id = t.conversation_id and b.seq < t.seq and b.seq >= t.seq - $3::bigint
                                 and (select o.turn_id from outcomes o where o.turn_id = b.id) is null)
             on conflict do nothing",
            caller.user().uuid(),
            turn.uuid(),
            OPEN_TURNS_MAX,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Those of the calls that run for a turn that is cancelled, or in a conversation that is deleted; with whether it is
    /// the conversation.
    pub async fn unwanted(&self, running: &[Running]) -> sqlx::Result<Vec<(Running, bool)>> {
        let (conversations, turns): (Vec<_>, Vec<_>) =
            running.iter().map(|it| (it.conversation.uuid(), it.turn.uuid())).unzip();
        let rows = sqlx::query!(
            r#"with calls as materialized (
                   select r.conversation_id, r.turn_id,
                          (select c.turn_id from cancels c where c.turn_id = r.turn_id) is not null as cancelled,
                          (select c.id from conversations c where c.id = r.conversation_id and c.deleted_at is null)
                              is null as gone
                   from unnest($1::uuid[], $2::uuid[]) as r (conversation_id, turn_id)
               )
               select conversation_id as "conversation_id!", turn_id as "turn_id!", gone as "gone!"
               from calls where cancelled or gone"#,
            &conversations,
            &turns,
        )
        .fetch_all(&self.pool)
        .await?;
        let call = |conversation: uuid::Uuid, turn: uuid::Uuid| Running {
            conversation: conversation.into(),
            turn: turn.into(),
        };
        Ok(rows.into_iter().map(|row| (call(row.conversation_id, row.turn_id), row.gone)).collect())
    }
}
