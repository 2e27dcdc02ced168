//! Crash points: the program is held at an exact point of a turn's path, from outside, and then killed, failed or let go
//! late. A lock within Postgres holds it before or within a transaction; a proxy holds what it says or hears. So the
//! program that is tested is the one that is shipped: it has no hooks for this.

mod gate;

use std::{ops::Range, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::sleep;

use self::gate::{Gate, connect};
use super::{
    fault::{Injected, What},
    history::now,
    installation::{Installation, Place},
    proxy::Proxy,
};
use crate::{Process, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than the program waits for its provider, and than a lease would last.
const LATE: Duration = Duration::from_secs(3);
/// How long a call runs, in milliseconds, while nothing was said to it, as slow answers begin after 600; and while it is told.
const SILENT_MS: Range<i128> = 200..450;
const TOLD_MS: Range<i128> = 800..i128::MAX;
/// The same, of a call that runs at all.
const RUNS_MS: Range<i128> = 0..i128::MAX;
/// A worker that leaves has so many calls under way, and ends within so long.
const LEAVING: (usize, Duration) = (50, Duration::from_secs(30));

/// A point of a turn's path, on the side of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The request is on its way to the front.
    BeforeFront,
    /// The turn was delivered, and is about to be written.
    TurnUnwritten,
    /// Turn and message are written and not committed.
    TurnUncommitted,
    /// They are committed, and the worker has not heard so.
    TurnUnheard,
    /// The next owner has raised the epoch of a partition, and not committed.
    OwnerUncommitted,
    /// A repeated call is written down and not committed.
    AttemptUncommitted,
    /// It is committed, and the worker has not heard so: the call is not made.
    AttemptUnheard,
    /// The provider has the call, and has said nothing.
    CallBegun,
    /// The queue is lost while the provider is being called; it is made anew.
    QueueGone,
    /// The answer is being told.
    MidAnswer,
    /// The answer is whole, and about to be written.
    OutcomeUnwritten,
    /// Answer and outcome are written and not committed.
    OutcomeUncommitted,
    /// They are committed, and the worker has not heard so.
    OutcomeUnheard,
    /// The worker knows, and nothing it says gets out: no reply, no event, no acknowledgement.
    OutcomeUntold,
    /// A turn that has ended comes out of the queue once more.
    RungAgain,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 15] = [
        Self::BeforeFront,
        Self::TurnUnwritten,
        Self::TurnUncommitted,
        Self::TurnUnheard,
        Self::OwnerUncommitted,
        Self::AttemptUncommitted,
        Self::AttemptUnheard,
        Self::CallBegun,
        Self::QueueGone,
        Self::MidAnswer,
        Self::OutcomeUnwritten,
        Self::OutcomeUncommitted,
        Self::OutcomeUnheard,
        Self::OutcomeUntold,
        Self::RungAgain,
    ];

    /// Whether answers must take a while, so that there is something to strike.
    pub const fn is_slow(self) -> bool {
        matches!(self, Self::CallBegun | Self::QueueGone | Self::MidAnswer | Self::RungAgain)
    }
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
    /// The worker is killed, and another one, which is there, takes over before it is started again.
    TakeOver,
    /// The worker stands still until another one has taken over, and goes on then.
    Sleep,
}

impl Blow {
    /// Every blow for a worker that is alone.
    pub const ALONE: [Self; 3] = [Self::Kill, Self::Fail, Self::Late];
    /// Every blow for a worker that is not.
    pub const AMONG_OTHERS: [Self; 2] = [Self::TakeOver, Self::Sleep];
}

/// Adds to the database what points need.
pub async fn prepare(on: &Installation) {
    gate::add(on).await;
}

/// Holds the worker at this point while load goes on, and lets the blow fall there. Returns when its cause is over.
pub async fn strike(on: &Installation, point: Point, blow: Blow) -> Injected {
    let began = now();
    match point {
        Point::BeforeFront => unasked(on, blow).await,
        Point::TurnUnwritten => unwritten(on, Gate::Turns, blow).await,
        Point::TurnUncommitted => uncommitted(on, Gate::Turns, blow).await,
        Point::TurnUnheard => committed(on, Gate::Turns, |it| &it.links.postgres, blow).await,
        Point::OwnerUncommitted => unowned(on, blow).await,
        Point::AttemptUncommitted => {
            let attempts = repeated(on).await;
            finish_uncommitted(on, attempts, Gate::Attempts, blow).await;
        }
        Point::AttemptUnheard => {
            let attempts = repeated(on).await;
            finish_committed(on, attempts, Gate::Attempts, |it| &it.links.postgres, blow).await;
        }
        Point::CallBegun => calling(on, blow, SILENT_MS).await,
        Point::QueueGone => queue_gone(on, blow).await,
        Point::MidAnswer => calling(on, blow, TOLD_MS).await,
        Point::OutcomeUnwritten => {
            running(on, RUNS_MS).await;
            unwritten(on, Gate::Outcomes, blow).await;
        }
        Point::OutcomeUncommitted => uncommitted(on, Gate::Outcomes, blow).await,
        Point::OutcomeUnheard => committed(on, Gate::Outcomes, |it| &it.links.postgres, blow).await,
        Point::OutcomeUntold => committed(on, Gate::Outcomes, |it| &it.links.nats[0], blow).await,
        Point::RungAgain => rung_again(on, blow).await,
    }
    injected(What::WorkerKilled, format!("{point:?}, {blow:?}"), began)
}

fn injected(what: What, whom: String, began: i64) -> Injected {
    Injected { what, number: 0, whom, began, healed: now(), touched: 0 }
}

/// The place of this process.
fn place_of(on: &Installation, process: u32) -> &Place {
    on.workers().iter().find(|place| place.start_number() == process).expect("a worker that runs")
}

/// Nothing that is said to the worker, or by it, passes.
async fn unasked(on: &Installation, blow: Blow) {
    let worker = &on.workers()[0];
    let proxy = &worker.links.nats[0];
    let before = proxy.touched();
    proxy.freeze(true);
    eventually("something is held", PATIENCE, async || (proxy.touched() > before).then_some(())).await;
    fall(on, worker, blow, || async { proxy.cut() }).await;
    proxy.freeze(false);
    restart(on, worker).await;
}

/// The worker that makes a call which runs for so long.
async fn running(on: &Installation, for_ms: Range<i128>) -> &Place {
    let writer =
        "select writer from faults.writes where turn = $1::uuid and kind <> 'outcome' order by serial desc";
    let running = async || {
        let (calls, now) = (on.provider.calls(), OffsetDateTime::now_utc());
        let mut running = calls.iter().rev().take(200).filter(|call| call.ended.is_none());
        let call = running.find(|call| for_ms.contains(&(now - call.started_at).whole_milliseconds()))?;
        let (turn, _) = call.call_id.rsplit_once(':')?;
        let writer: Option<String> =
            sqlx::query_scalar(writer).bind(turn).fetch_optional(&mut connect(on).await).await.unwrap();
        writer?.strip_prefix("process_")?.parse().ok()
    };
    place_of(on, eventually("a call is under way", PATIENCE, running).await)
}

async fn calling(on: &Installation, blow: Blow, for_ms: Range<i128>) {
    let worker = running(on, for_ms).await;
    if blow == Blow::Late {
        on.pause(worker, LATE).await;
    } else {
        fall(on, worker, blow, || async { worker.links.provider.cut() }).await;
    }
    restart(on, worker).await;
}

/// The stream is deleted under a turn that runs, and provisioned again: what was accepted is in Postgres alone.
async fn queue_gone(on: &Installation, blow: Blow) {
    let worker = running(on, RUNS_MS).await;
    let staff = on.nats_as_staff("provisioner").await;
    staff.request("$JS.API.STREAM.DELETE.TURNS", &[], "").await;
    // Otherwise, the loss is the failure.
    fall(on, worker, blow, || async {}).await;
    on.provision().await;
    restart(on, worker).await;
}

/// A message of the queue is put into it once more when its turn has ended, as if its acknowledgement had been lost.
async fn rung_again(on: &Installation, blow: Blow) {
    let worker = running(on, RUNS_MS).await;
    let operator = on.nats_as_staff("operator").await;
    let first = r#"{"seq":1,"next_by_subj":"omnichat.q.>"}"#;
    let got = operator.request("$JS.API.STREAM.MSG.GET.TURNS", &[], first).await.json();
    let message = &got["message"];
    let head = decoded(message["hdrs"].as_str().unwrap_or_default());
    let turn = head.lines().find_map(|line| line.strip_prefix("Oc-Turn: ")).expect("a turn's message");
    let has_ended = async || {
        let ended = sqlx::query("select from outcomes where turn_id = $1::uuid").bind(turn);
        ended.fetch_optional(&mut connect(on).await).await.unwrap().map(|_| ())
    };
    eventually("the turn has ended", PATIENCE, has_ended).await;
    fall(on, worker, blow, || async { worker.links.nats[0].cut() }).await;
    restart(on, worker).await;
    ring(on, message, &head).await;
}

/// Publishes a message that was taken out of the stream, as the front did.
async fn ring(on: &Installation, message: &Value, head: &str) {
    let subject = message["subject"].as_str().expect("a message").split('.').collect::<Vec<_>>();
    let [.., user, conversation] = subject[..] else { panic!("{subject:?}") };
    let id = format!("again-{}", now());
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name, if name == "Nats-Msg-Id" { &*id } else { value }));
    let chat = on.nats_as_staff("chat").await;
    let subject = format!("omnichat.q.turn.{user}.{conversation}");
    let stored = chat
        .request(
            &subject,
            &headers.collect::<Vec<_>>(),
            decoded(message["data"].as_str().unwrap_or_default()),
        )
        .await
        .json();
    assert!(stored["seq"].is_number() && stored["duplicate"].is_null(), "{stored}");
}

/// Base64, as JetStream shows what it stores.
fn decoded(text: &str) -> String {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let sextets: Vec<_> = text.bytes().filter(|byte| *byte != b'=').map(sextet).collect();
    let whole = |four: &[u8]| {
        let bits = four.iter().fold(0_u32, |bits, six| bits << 6 | u32::from(*six)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    String::from_utf8(sextets.chunks(4).flat_map(whole).collect()).expect("text")
}

async fn unwritten(on: &Installation, gate: Gate, blow: Blow) {
    let mut barred = gate.bar(on).await;
    let waiting = gate.unwritten(on).await;
    let worker = place_of(on, waiting.process);
    fall(on, worker, blow, || terminate(&mut barred, waiting.pid)).await;
    drop(barred);
    restart(on, worker).await;
}

async fn uncommitted(on: &Installation, gate: Gate, blow: Blow) {
    let shut = gate.shut(on).await;
    finish_uncommitted(on, shut, gate, blow).await;
}

async fn finish_uncommitted(on: &Installation, mut shut: PgConnection, gate: Gate, blow: Blow) {
    let waiting = gate.uncommitted(on).await;
    let worker = place_of(on, waiting.process);
    match blow {
        // A transaction that waits holds the epoch of its partition: no other owner can come before it has ended.
        Blow::TakeOver | Blow::Sleep => {
            let mut held = on.hold(worker).await;
            let process = held.as_mut().expect("it runs");
            process.signal(if blow == Blow::Sleep { Signal::STOP } else { Signal::KILL });
            drop(shut);
            until_taken(on, waiting.process).await;
            process.signal(Signal::CONT);
        }
        // Postgres would not notice that its client has gone, and commit.
        Blow::Kill => {
            drop(on.kill(worker).await);
            terminate(&mut shut, waiting.pid).await;
            drop(shut);
        }
        Blow::Fail | Blow::Late => {
            fall(on, worker, blow, || terminate(&mut shut, waiting.pid)).await;
            drop(shut);
        }
    }
    restart(on, worker).await;
}

/// Leaves a turn open at its outcome, so that it is called for again; the record of that is held.
async fn repeated(on: &Installation) -> PgConnection {
    let attempts = Gate::Attempts.shut(on).await;
    uncommitted(on, Gate::Outcomes, Blow::Kill).await;
    attempts
}

/// Lets the transaction commit, and nothing of what follows pass the proxy.
async fn committed(on: &Installation, gate: Gate, proxy: fn(&Place) -> &Proxy, blow: Blow) {
    let shut = gate.shut(on).await;
    finish_committed(on, shut, gate, proxy, blow).await;
}

async fn finish_committed(
    on: &Installation,
    mut shut: PgConnection,
    gate: Gate,
    proxy: fn(&Place) -> &Proxy,
    blow: Blow,
) {
    let worker = place_of(on, gate.uncommitted(on).await.process);
    let before = gate.rows(&mut shut).await;
    let proxy = proxy(worker);
    proxy.freeze(true);
    gate.open(&mut shut).await;
    gate.grown(on, before).await;
    fall(on, worker, blow, || async { proxy.cut() }).await;
    proxy.freeze(false);
    restart(on, worker).await;
}

/// The worker is killed, and the one who takes its partitions is struck while it does.
async fn unowned(on: &Installation, blow: Blow) {
    let shut = Gate::Owners.shut(on).await;
    drop(on.kill(&on.workers()[0]).await);
    restart(on, &on.workers()[0]).await;
    finish_uncommitted(on, shut, Gate::Owners, blow).await;
}

/// Strikes the worker, which is held; `fail` fails what it waits for.
async fn fall<F: Future<Output = ()>>(
    on: &Installation,
    worker: &Place,
    blow: Blow,
    fail: impl FnOnce() -> F,
) {
    match blow {
        Blow::Kill => drop(on.kill(worker).await),
        Blow::Fail => fail().await,
        Blow::Late => sleep(LATE).await,
        Blow::TakeOver => {
            let held = on.kill(worker).await;
            until_taken(on, worker.start_number()).await;
            drop(held);
        }
        Blow::Sleep => {
            let mut held = on.hold(worker).await;
            let process = held.as_mut().expect("it runs");
            process.signal(Signal::STOP);
            until_taken(on, worker.start_number()).await;
            process.signal(Signal::CONT);
        }
    }
}

/// Waits until other workers own all that this process did.
async fn until_taken(on: &Installation, process: u32) {
    let last = "select count(*) from (select distinct on (partition) writer from faults.writes
                where kind = 'owner' order by partition, serial desc) newest where writer = $1";
    let writer = format!("process_{process}");
    eventually("another worker has taken over", PATIENCE, async || {
        let left: i64 =
            sqlx::query_scalar(last).bind(&writer).fetch_one(&mut connect(on).await).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
}

async fn terminate(connection: &mut PgConnection, pid: i32) {
    let end = sqlx::query("select pg_terminate_backend($1)").bind(pid);
    end.execute(connection).await.expect("the connection is ended");
}

/// Starts the worker if the blow has killed it.
async fn restart(on: &Installation, worker: &Place) {
    let mut held = on.hold(worker).await;
    if held.as_mut().is_none_or(Process::has_ended) {
        on.start_at(worker, &mut held).await;
    }
}

/// A worker that is asked to leave while many turns run, and how it ends.
pub async fn leave(on: &Installation) -> Injected {
    let worker = &on.workers()[0];
    let running = async || {
        let running = on.provider.calls().iter().filter(|call| call.ended.is_none()).count();
        (running >= LEAVING.0).then_some(())
    };
    eventually("many calls are under way", PATIENCE, running).await;
    let began = now();
    let asked = std::time::Instant::now();
    let exit = on.replace(worker).await.expect("it ran");
    assert_eq!(exit, crate::Exit::SUCCESS, "asked by {:?}", Signal::TERM);
    assert!(asked.elapsed() < LEAVING.1, "it took {:?} to leave", asked.elapsed());
    injected(What::WorkerReplaced, worker.name.clone(), began)
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn what_jetstream_shows_is_decoded() {
        for (shown, text) in
            [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("T0NfXw0KOiA/fg==", "OC__\r\n: ?~")]
        {
            assert_eq!(decoded(shown), text);
        }
    }
}
