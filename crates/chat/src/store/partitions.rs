//! Who owns a partition: the truth, and the fence of every write of a turn.

use wire::{ConversationId, TurnId};

use super::Store;
use crate::model::Ownership;

impl Store {
    /// Takes a partition: from now on every writer of an earlier epoch is refused. Waits for those that are committing.
    pub async fn take_partition(&self, partition: i16, worker: &str) -> sqlx::Result<Ownership> {
        let epoch = sqlx::query_scalar!(
            "insert into partition_owner (partition, epoch, worker, taken_at) values ($1, 1, $2, now())
             on conflict (partition) do update
                 set epoch = partition_owner.epoch + 1, worker = excluded.worker, taken_at = excluded.taken_at
             returning epoch",
            partition,
            worker,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Ownership { partition, epoch })
    }

    /// Records a repeated call to the provider before it is made. False when the partition is no longer ours, or another
    /// process recorded this attempt.
    pub async fn record_attempt(
        &self,
        ownership: Ownership,
        turn: TurnId,
        number: i16,
        worker: &str,
    ) -> sqlx::Result<bool> {
        let done = sqlx::query!(
            "with held as (select 1 from partition_owner where partition = $1 and epoch = $2 for share)
             insert into attempts (turn_id, number, worker, started_at) select $3, $4, $5, now() from held
             on conflict do nothing",
            ownership.partition,
            ownership.epoch,
            turn.uuid(),
            number,
            worker,
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The conversations with turns that were accepted within `hours` and have no outcome, by partition.
    pub async fn open_conversations(&self, hours: u32) -> sqlx::Result<Vec<(i16, ConversationId)>> {
        let rows = sqlx::query!(
            r#"select distinct t.partition, t.conversation_id
               from turns t
               where t.created_at > now() - make_interval(hours => $1)
                 and not exists (select from outcomes o where o.turn_id = t.id)"#,
            i32::try_from(hours).unwrap_or(i32::MAX),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.partition, row.conversation_id.into())).collect())
    }
}
