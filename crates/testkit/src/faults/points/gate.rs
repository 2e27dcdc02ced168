//! Holds within Postgres: writers that wait for a lock of ours, before a write or between a write and its commit.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{eventually, faults::installation::Installation};

/// Longer than it takes any load to come to any point.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each holds its writer for as long as somebody has the lock of this number. It waits longer than other locks do.
const GATES: &str = "
create function faults.gate() returns trigger language plpgsql set lock_timeout = 0 as $$ begin
    perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint); return null; end $$;
create trigger gate after insert on turns for each row execute function faults.gate(1);
create trigger gate after insert on outcomes for each row execute function faults.gate(2);
create trigger gate after insert on attempts for each row execute function faults.gate(3);
create trigger gate after insert or update on partition_owner for each row execute function faults.gate(4);
";

/// A table whose writers can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `turns`.
    Turns = 1,
    /// `outcomes`.
    Outcomes = 2,
    /// `attempts`.
    Attempts = 3,
    /// `partition_owner`.
    Owners = 4,
}

/// Who waits at a gate.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// The process of Postgres.
    pub pid: i32,
    /// The number of the process of ours that it works for.
    pub process: u32,
}

/// Adds the gates to the database.
pub async fn add(on: &Installation) {
    sqlx::raw_sql(GATES).execute(&mut connect(on).await).await.expect("the gates");
}

/// To the database, past every proxy.
pub async fn connect(on: &Installation) -> PgConnection {
    let url = on.record.lock().await.url();
    PgConnection::connect(&url).await.expect("Postgres takes connections")
}

impl Gate {
    const fn table(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Outcomes => "outcomes",
            Self::Attempts => "attempts",
            Self::Owners => "partition_owner",
        }
    }

    /// Holds whoever has written and not committed, for as long as the connection is there.
    pub async fn shut(self, on: &Installation) -> PgConnection {
        let mut connection = connect(on).await;
        let lock = sqlx::query("select pg_advisory_lock($1)").bind(self as i64);
        lock.execute(&mut connection).await.expect("the gate is shut");
        connection
    }

    /// Opens it again.
    pub async fn open(self, connection: &mut PgConnection) {
        let unlock = sqlx::query("select pg_advisory_unlock($1)").bind(self as i64);
        unlock.execute(connection).await.expect("the gate is open");
    }

    /// Holds whoever is about to write, for as long as the connection is there. Readers pass.
    pub async fn bar(self, on: &Installation) -> PgConnection {
        let mut connection = connect(on).await;
        let lock = format!("begin; lock table {} in exclusive mode", self.table());
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut connection).await.expect("the table is locked");
        connection
    }

    /// Waits until somebody has written, and cannot commit.
    pub async fn uncommitted(self, on: &Installation) -> Waiting {
        let sql = "select a.pid, a.usename::text from pg_locks l join pg_stat_activity a using (pid)
                   where l.locktype = 'advisory' and not l.granted and l.objid = $1 limit 1";
        let query = || sqlx::query_as(sql).bind(self as i32);
        self.waiting(on, query).await
    }

    /// Waits until somebody is about to write, and cannot.
    pub async fn unwritten(self, on: &Installation) -> Waiting {
        let sql = "select a.pid, a.usename::text from pg_locks l join pg_stat_activity a using (pid)
                   where l.relation = $1::regclass and not l.granted and l.mode = 'RowExclusiveLock' limit 1";
        let query = || sqlx::query_as(sql).bind(self.table());
        self.waiting(on, query).await
    }

    async fn waiting<'q, A>(
        self,
        on: &Installation,
        query: impl Fn() -> sqlx::query::QueryAs<'q, sqlx::Postgres, (i32, String), A>,
    ) -> Waiting
    where
        A: 'q + Send + sqlx::IntoArguments<sqlx::Postgres>,
    {
        eventually(&format!("somebody waits at the gate of {self:?}"), PATIENCE, async || {
            let found = query().fetch_optional(&mut connect(on).await).await.expect("the locks are read");
            let (pid, role) = found?;
            Some(Waiting { pid, process: role.strip_prefix("process_")?.parse().ok()? })
        })
        .await
    }

    /// Waits until the table has more rows than these.
    pub async fn grown(self, on: &Installation, before: i64) {
        let is_written = async || (self.rows(&mut connect(on).await).await > before).then_some(());
        eventually("it is committed", PATIENCE, is_written).await;
    }

    /// How many rows the table has; of owners, the sum of their epochs.
    pub async fn rows(self, connection: &mut PgConnection) -> i64 {
        let sql = match self {
            Self::Turns => "select count(*) from turns",
            Self::Outcomes => "select count(*) from outcomes",
            Self::Attempts => "select count(*) from attempts",
            Self::Owners => "select coalesce(sum(epoch), 0)::bigint from partition_owner",
        };
        sqlx::query_scalar(sql).fetch_one(connection).await.expect("the rows are counted")
    }
}
