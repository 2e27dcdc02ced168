//! Crash points: the program is held at an exact point of a turn's path, from outside, and then killed, failed or let go
//! late. A lock that a trigger waits for holds it within a transaction; a proxy holds what it says or hears. So the
//! program that is tested is the one that is shipped: it has no hooks for this.

use std::time::Duration;

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use super::{
    fault::{Injected, What},
    history::now,
    installation::{Installation, Place},
};
use crate::{Process, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than the program waits for its provider, and than a lease would last.
const LATE: Duration = Duration::from_secs(3);
/// An answer has begun when its call runs for so long.
const BEGUN: time::Duration = time::Duration::milliseconds(200);

/// Each holds its writer for as long as somebody has the lock of this number. It waits longer than other locks do.
const GATES: &str = "
create function faults.gate() returns trigger language plpgsql set lock_timeout = 0 as $$ begin
    perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint); return null; end $$;
create trigger gate after insert on turns for each row execute function faults.gate(1);
create trigger gate after insert on outcomes for each row execute function faults.gate(2);
create trigger gate after insert on attempts for each row execute function faults.gate(3);
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
}

/// A point of a turn's path, on the side of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The request is on its way to the front.
    BeforeFront,
    /// Turn and message are written and not committed.
    TurnUncommitted,
    /// They are committed, and the worker has not heard so.
    TurnUnheard,
    /// A repeated call is written down and not committed.
    AttemptUncommitted,
    /// The provider's answer to the call is held.
    CallBegun,
    /// The answer is being told.
    MidAnswer,
    /// Answer and outcome are written and not committed.
    OutcomeUncommitted,
    /// They are committed, and the worker has not heard so.
    OutcomeUnheard,
    /// The worker knows, and nothing it says gets out: no reply, no event, no acknowledgement.
    OutcomeUntold,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 9] = [
        Self::BeforeFront,
        Self::TurnUncommitted,
        Self::TurnUnheard,
        Self::AttemptUncommitted,
        Self::CallBegun,
        Self::MidAnswer,
        Self::OutcomeUncommitted,
        Self::OutcomeUnheard,
        Self::OutcomeUntold,
    ];
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// The worker is killed, and another starts.
    Kill,
    /// What it waits for fails.
    Fail,
    /// What it waits for comes late.
    Late,
}

impl Blow {
    /// Every blow.
    pub const ALL: [Self; 3] = [Self::Kill, Self::Fail, Self::Late];
}

/// Adds the gates to the database.
pub async fn prepare(on: &Installation) {
    let mut connection = connect(on).await;
    sqlx::raw_sql(GATES).execute(&mut connection).await.expect("the gates");
}

/// Holds the worker at this point while `load` goes on, and lets the blow fall there. Returns when its cause is over.
pub async fn strike(on: &Installation, point: Point, blow: Blow) -> Injected {
    let worker = &on.workers()[0];
    let began = now();
    match point {
        Point::BeforeFront => held_by_proxy(on, worker, &worker.links.nats, blow).await,
        Point::CallBegun => held_by_proxy(on, worker, &worker.links.provider, blow).await,
        Point::MidAnswer => mid_answer(on, worker, blow).await,
        Point::TurnUncommitted => uncommitted(on, worker, Gate::Turns, blow).await,
        Point::OutcomeUncommitted => uncommitted(on, worker, Gate::Outcomes, blow).await,
        Point::AttemptUncommitted => {
            // A turn that is left open at its outcome is called for again.
            let mut attempts = connect(on).await;
            lock(&mut attempts, Gate::Attempts).await;
            uncommitted(on, worker, Gate::Outcomes, Blow::Kill).await;
            finish_uncommitted(on, worker, attempts, Gate::Attempts, blow).await;
        }
        Point::TurnUnheard => committed(on, worker, (Gate::Turns, &worker.links.postgres), blow).await,
        Point::OutcomeUnheard => committed(on, worker, (Gate::Outcomes, &worker.links.postgres), blow).await,
        Point::OutcomeUntold => committed(on, worker, (Gate::Outcomes, &worker.links.nats), blow).await,
    }
    Injected {
        what: What::WorkerKilled,
        number: 0,
        whom: format!("{point:?}, {blow:?}"),
        began,
        healed: now(),
        touched: 0,
    }
}

async fn held_by_proxy(on: &Installation, worker: &Place, proxy: &super::proxy::Proxy, blow: Blow) {
    let before = proxy.touched();
    proxy.freeze(true);
    eventually("something is held", PATIENCE, async || (proxy.touched() > before).then_some(())).await;
    strike_and_let_go(on, worker, proxy, blow).await;
}

async fn mid_answer(on: &Installation, worker: &Place, blow: Blow) {
    let running = async || {
        let calls = on.provider.calls();
        let begun = time::OffsetDateTime::now_utc() - BEGUN;
        calls.iter().rev().take(100).any(|call| call.ended.is_none() && call.started_at < begun).then_some(())
    };
    eventually("an answer is being told", PATIENCE, running).await;
    match blow {
        Blow::Kill => drop(on.kill(worker).await),
        Blow::Fail => worker.links.provider.cut(),
        Blow::Late => on.pause(worker, LATE).await,
    }
    restart(on, worker).await;
}

async fn uncommitted(on: &Installation, worker: &Place, gate: Gate, blow: Blow) {
    let mut locked = connect(on).await;
    lock(&mut locked, gate).await;
    finish_uncommitted(on, worker, locked, gate, blow).await;
}

async fn finish_uncommitted(
    on: &Installation,
    worker: &Place,
    mut locked: PgConnection,
    gate: Gate,
    blow: Blow,
) {
    let pid = held(on, gate).await;
    match blow {
        Blow::Kill => drop(on.kill(worker).await),
        Blow::Fail => {
            let end = sqlx::query("select pg_terminate_backend($1)").bind(pid);
            end.execute(&mut locked).await.expect("the connection is ended");
        }
        Blow::Late => sleep(LATE).await,
    }
    drop(locked);
    restart(on, worker).await;
}

/// Lets the transaction commit, and nothing of what follows pass the proxy.
async fn committed(
    on: &Installation,
    worker: &Place,
    (gate, proxy): (Gate, &super::proxy::Proxy),
    blow: Blow,
) {
    let mut locked = connect(on).await;
    lock(&mut locked, gate).await;
    held(on, gate).await;
    let before = rows(&mut locked, gate).await;
    proxy.freeze(true);
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(gate as i64)
        .execute(&mut locked)
        .await
        .expect("unlocked");
    let is_written = async || (rows(&mut connect(on).await, gate).await > before).then_some(());
    eventually("it is committed", PATIENCE, is_written).await;
    strike_and_let_go(on, worker, proxy, blow).await;
}

/// Strikes a worker whose words a proxy holds, and lets them go.
async fn strike_and_let_go(on: &Installation, worker: &Place, proxy: &super::proxy::Proxy, blow: Blow) {
    match blow {
        Blow::Kill => drop(on.kill(worker).await),
        Blow::Fail => proxy.cut(),
        Blow::Late => sleep(LATE).await,
    }
    proxy.freeze(false);
    restart(on, worker).await;
}

/// Starts the worker if the blow has killed it.
async fn restart(on: &Installation, worker: &Place) {
    let mut held = on.hold(worker).await;
    if held.as_mut().is_none_or(Process::has_ended) {
        on.start_at(worker, &mut held).await;
    }
}

async fn connect(on: &Installation) -> PgConnection {
    let url = on.record.lock().await.url();
    PgConnection::connect(&url).await.expect("Postgres takes connections")
}

async fn lock(connection: &mut PgConnection, gate: Gate) {
    let lock = sqlx::query("select pg_advisory_lock($1)").bind(gate as i64);
    lock.execute(connection).await.expect("the gate is shut");
}

/// The process of Postgres that waits at the gate, once one does.
async fn held(on: &Installation, gate: Gate) -> i32 {
    let sql = "select pid from pg_locks where locktype = 'advisory' and not granted and objid = $1 limit 1";
    eventually(&format!("somebody waits at the gate of {gate:?}"), PATIENCE, async || {
        let found = sqlx::query_scalar(sql).bind(gate as i32).fetch_optional(&mut connect(on).await).await;
        found.expect("the locks are read")
    })
    .await
}

async fn rows(connection: &mut PgConnection, gate: Gate) -> i64 {
    let sql = match gate {
        Gate::Turns => "select count(*) from turns",
        Gate::Outcomes => "select count(*) from outcomes",
        Gate::Attempts => "select count(*) from attempts",
    };
    sqlx::query_scalar(sql).fetch_one(connection).await.expect("the rows are counted")
}

/// A worker that is asked to leave while many turns run, and how it ends.
pub async fn leave(on: &Installation) -> Injected {
    let worker = &on.workers()[0];
    let began = now();
    let exit = on.replace(worker).await.expect("it ran");
    assert_eq!(exit, crate::Exit::SUCCESS, "asked by {:?}", Signal::TERM);
    Injected {
        what: What::WorkerReplaced,
        number: 0,
        whom: worker.name.clone(),
        began,
        healed: now(),
        touched: 0,
    }
}
