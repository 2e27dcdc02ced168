//! Who owns a partition: the truth, and the fence of every write of a turn.

use time::OffsetDateTime;
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

    /// Every partition that was ever owned, by number.
    pub async fn partition_owners(&self) -> sqlx::Result<Vec<PartitionOwner>> {
        sqlx::query_as!(
            PartitionOwner,
            "select partition, epoch, worker, taken_at from partition_owner order by partition",
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Which of these have a later owner.
    pub async fn lost_partitions(&self, owned: &[Ownership]) -> sqlx::Result<Vec<Ownership>> {
        let rows = sqlx::query!(
            r#"select o.partition as "partition!", o.epoch as "epoch!"
               from unnest($1::smallint[], $2::bigint[]) as o (partition, epoch)
               where (select p.epoch from partition_owner p where p.partition = o.partition) is distinct from o.epoch"#,
            &owned.iter().map(|it| it.partition).collect::<Vec<_>>(),
            &owned.iter().map(|it| it.epoch).collect::<Vec<_>>(),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| Ownership { partition: row.partition, epoch: row.epoch }).collect())
    }

    /// Records a repeated call to the provider before it is made.
    pub async fn record_attempt(
        &self,
        ownership: Ownership,
        turn: TurnId,
        number: i16,
        worker: &str,
    ) -> sqlx::Result<Attempt> {
        let done = sqlx::query!(
            r#"with held as (select 1 from partition_owner where partition = $1 and epoch = $2 for share),
                    added as (
                        insert into attempts (turn_id, number, worker, started_at) select $3, $4, $5, now() from held
                        on conflict do nothing returning 1),
                    -- Whoever made the calls before has told of them, unless it died.
                    untold as (
                        insert into calls (turn_id, number, told_by, status, estimated, created_at)
                        select $3, place, 'successor', 'unknown', true, now()
                        from held cross join generate_series(1, $4 - 1) as places (place)
                        where (select c.turn_id from calls c
                               where c.turn_id = $3 and c.number = place and c.told_by = 'caller') is null
                        on conflict do nothing)
               select exists (select from held) as "held!", exists (select from added) as "added!""#,
            ownership.partition,
            ownership.epoch,
            turn.uuid(),
            number,
            worker,
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(match (done.held, done.added) {
            (false, _) => Attempt::Fenced,
            (true, false) => Attempt::Known,
            (true, true) => Attempt::Recorded,
        })
    }

    /// The conversations of these partitions with turns that were accepted between two ages, in seconds, and have no
    /// outcome.
    pub async fn open_conversations(
        &self,
        partitions: &[i16],
        younger_s: i32,
        older_s: i32,
    ) -> sqlx::Result<Vec<(i16, ConversationId)>> {
        let rows = sqlx::query!(
            r#"select distinct t.partition, t.conversation_id
               from turns t
               where t.created_at > now() - make_interval(secs => $3)
                 and t.created_at <= now() - make_interval(secs => $2)
                 and t.partition = any ($1)
                 and (select o.turn_id from outcomes o where o.turn_id = t.id) is null"#,
            partitions,
            f64::from(younger_s),
            f64::from(older_s),
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.partition, row.conversation_id.into())).collect())
    }
}

/// Who owns a partition, by Postgres's word.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionOwner {
    /// Which.
    pub partition: i16,
    /// Counts its owners.
    pub epoch: i64,
    /// The name of the owner.
    pub worker: String,
    /// Since when.
    pub taken_at: OffsetDateTime,
}

/// Whether a repeated call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It is recorded: go ahead.
    Recorded,
    /// This number was recorded before, and may have been called: take the next one.
    Known,
    /// The partition has a later owner.
    Fenced,
}
