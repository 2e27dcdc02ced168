//! A run: everything is started, used, disturbed, left to recover, used again, and looked at.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

use super::{
    checks::{Violation, violations},
    disk::Disk,
    doors::{Request, door_number},
    driver::{self, Driver},
    evidence::{self, Dump, Evidence, Read},
    fault::{Injected, What, schedule},
    history::{Ask, History, Kind, Micros, Via, now, text_hash},
    installation::{HISTORY_MESSAGES_MAX, Installation},
    plan::{Plan, Size},
    points::{self, Blow, Point},
    report, vacuity, watch,
};
use crate::Stranger;

/// Until everything that was accepted must have ended.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long fresh turns are sent in the end, in seconds.
const TAIL_S: f64 = 10.0;
/// A turn takes so long at most besides the time of faults, where many wait and much fails, in microseconds.
const TURN_MAX: Micros = 60_000_000;
/// The same where one thing fails at a time: less than it takes a sender to lose patience and ask again.
const TURN_MAX_ALONE: Micros = 10_000_000;
/// Conversations that somebody else tries to read in the end, at most.
const PRIED_MAX: usize = 500;

/// How a run ended.
#[derive(Debug)]
pub struct Verdict {
    /// The report, a page of Markdown.
    pub report: String,
    /// Promises that were broken.
    pub violations: Vec<Violation>,
    /// Why the run proves nothing, if so.
    pub vacuous: Vec<String>,
    /// Where history, logs and report are.
    pub folder: PathBuf,
    /// What it is judged by.
    pub evidence: Evidence,
}

/// Runs the program at `binary` under load and faults; files go to a folder in `place`, which is emptied first.
pub async fn run(binary: &'static str, size: &Size, place: &Path) -> Verdict {
    let stage = Stage::set(binary, size, place, "faults").await;
    let (on, driver) = (&stage.on, &stage.driver);
    let mut verdict = stage
        .play(async {
            let load = driver.follow(Plan::new(size, 0, size.turns, !size.plain));
            let ((), faults) = tokio::join!(load, disturb(on, size));
            faults
        })
        .await;
    if !size.plain {
        verdict.vacuous.extend(vacuity::reasons(size, &verdict.evidence));
    }
    verdict
}

/// Strikes the program at every point of a turn's path in every way.
pub async fn strike_everywhere(binary: &'static str, size: &Size, place: &Path) -> Verdict {
    let mut stage = Stage::set(binary, size, place, "points").await;
    stage.turn_max = TURN_MAX_ALONE;
    let (on, driver) = (&stage.on, &stage.driver);
    points::prepare(on).await;
    let staff = on.nats_as_staff("operator").await;
    let struck = async {
        let (mut faults, mut first) = (Vec::new(), 0);
        for point in Point::ALL {
            for blow in Blow::ALL {
                let load =
                    driver.follow(Plan::new(size, first, size.turns, false).slow(point == Point::MidAnswer));
                let ((), fault) = tokio::join!(load, points::strike(on, point, blow));
                faults.push(fault);
                first += size.turns;
                recover(on, &staff).await;
            }
        }
        let load = driver.follow(Plan::new(size, first, 6 * size.turns, false).slow(true));
        let ((), fault) = tokio::join!(load, async {
            sleep(Duration::from_secs(1)).await;
            points::leave(on).await
        });
        faults.push(fault);
        faults
    };
    stage.play(struck).await
}

/// Takes the power from the whole machine, twice while messages are sent; with these settings of Postgres. Its files are on
/// `disk`.
pub async fn lose_power(
    binary: &'static str,
    size: &Size,
    place: &Path,
    disk: Disk,
    settings: &[(&str, &str)],
) -> Verdict {
    let stage = Stage::set_on(binary, size, place, "power", Some(disk), settings).await;
    let (on, driver) = (&stage.on, &stage.driver);
    let third = Duration::from_secs_f64(size.turns as f64 / size.per_s / 3.0);
    let lost = async {
        let load = driver.follow(Plan::new(size, 0, size.turns, false));
        let losses = async {
            let mut faults = Vec::new();
            for number in 0..2 {
                sleep(third).await;
                let began = now();
                on.lose_power().await;
                let (what, whom) = (What::StoreLost, "everything".to_owned());
                faults.push(Injected { what, number, whom, began, healed: now(), touched: 0 });
            }
            faults
        };
        tokio::join!(load, losses).1
    };
    stage.play(lost).await
}

/// Everything that runs, and its clients.
struct Stage<'a> {
    on: Arc<Installation>,
    driver: Arc<Driver>,
    size: &'a Size,
    folder: PathBuf,
    began: Instant,
    turn_max: Micros,
}

impl<'a> Stage<'a> {
    async fn set(binary: &'static str, size: &'a Size, place: &Path, name: &str) -> Self {
        Self::set_on(binary, size, place, name, None, &[]).await
    }

    async fn set_on(
        binary: &'static str,
        size: &'a Size,
        place: &Path,
        name: &str,
        disk: Option<Disk>,
        settings: &[(&str, &str)],
    ) -> Self {
        let began = Instant::now();
        let folder = place.join(format!("{name}-{}-{}", size.nats_servers, size.seed));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the run");
        let on = Arc::new(Installation::start_on(binary, size, &folder, disk, settings).await);
        on.ready().await;
        let history = Arc::new(History::new(&folder.join("history.jsonl")));
        let driver = Driver::start(on.clone(), history, size).await;
        Self { on, driver, size, folder, began, turn_max: TURN_MAX }
    }

    /// Lets it happen, and judges what is there afterwards.
    async fn play(&self, happening: impl Future<Output = Vec<Injected>>) -> Verdict {
        let Self { on, driver, size, folder, .. } = self;
        let samples = Mutex::new(Vec::new());
        let seen = tokio::select! {
            seen = async { look(on, driver, size, happening.await).await } => seen,
            () = watch::samples(on, &samples) => unreachable!("it looks for ever"),
            () = watch::supervise(on) => unreachable!("it looks for ever"),
        };
        let workers = on.workers().iter().map(|worker| format!("process_{}", worker.start_number()));
        let evidence = Evidence {
            events: driver.history().events(),
            talks: driver.talks(),
            sent: driver.sent(),
            calls: on.provider.calls().iter().filter_map(evidence::Asked::of).collect(),
            dump: seen.dump,
            settled: seen.settled,
            reads: seen.reads,
            faults: seen.faults,
            samples: samples.into_inner().unwrap(),
            leaks: watch::leaks(folder),
            tail: seen.tail,
            left: seen.left,
            workers: workers.collect(),
            turn_max: self.turn_max,
            history_messages_max: HISTORY_MESSAGES_MAX,
        };
        let crashes = on.places.iter().map(|place| (place.name.clone(), place.crashes())).collect();
        let (took, recovered) = (self.began.elapsed(), seen.recovered);
        let seen = report::Seen { took, recovered, crashes, complaints: watch::complaints(folder) };
        let violations = violations(&evidence);
        let report = report::page(size, &evidence, &violations, &seen);
        fs::write(folder.join("report.md"), &report).expect("the report is written");
        Verdict { report, violations, vacuous: Vec::new(), folder: folder.clone(), evidence }
    }
}

/// What was seen while it was used.
struct Used {
    faults: Vec<Injected>,
    recovered: Option<Duration>,
    tail: (Micros, Micros),
    reads: Vec<Read>,
    dump: Dump,
    settled: bool,
    left: (u64, u64),
}

/// The recovery, fresh turns, and a look at everything.
async fn look(on: &Installation, driver: &Arc<Driver>, size: &Size, faults: Vec<Injected>) -> Used {
    on.ready().await;
    let staff = on.nats_as_staff("operator").await;
    let recovered = recover(on, &staff).await;
    let tail_began = now();
    // Over every way, however the load was sent.
    let every_way = Size { plain: false, ..size.clone() };
    driver.follow(Plan::new(&every_way, size.turns, (TAIL_S * size.per_s) as u64, false)).await;
    let tail = (tail_began, now());
    recover(on, &staff).await;
    driver.give_up();

    let reads = read_all(driver).await;
    pry(driver).await;
    let url = on.record.lock().await.url();
    let dump = Dump::take(&url).await;
    sleep(Duration::from_secs(2)).await;
    let settled = Dump::take(&url).await == dump;
    let left = watch::left_in_queue(&staff).await.unwrap_or((u64::MAX, 0));
    Used { faults, recovered, tail, reads, dump, settled, left }
}

/// Lets the faults happen, each at its time; those that take long overlap.
async fn disturb(on: &Installation, size: &Size) -> Vec<Injected> {
    let began = tokio::time::Instant::now();
    let faults = schedule(size).into_iter().enumerate().map(|(number, fault)| async move {
        sleep_until(began + fault.due).await;
        fault.inject(number, on).await
    });
    join_all(faults).await
}

/// Waits until every turn has its outcome and the queue is empty. None if it takes too long.
async fn recover(on: &Installation, staff: &Stranger) -> Option<Duration> {
    let began = Instant::now();
    let url = on.record.lock().await.url();
    while began.elapsed() < RECOVERY {
        let open = open_turns(&url).await;
        if open == Some(0) && watch::left_in_queue(staff).await == Some((0, 0)) {
            return Some(began.elapsed());
        }
        sleep(Duration::from_millis(200)).await;
    }
    None
}

async fn open_turns(url: &str) -> Option<i64> {
    let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(url).await.ok()?;
    let sql = "select count(*) from turns t where not exists (select from outcomes o where o.turn_id = t.id)";
    sqlx::query_scalar(sql).fetch_one(&mut connection).await.ok()
}

/// Every conversation, as its owner reads it.
async fn read_all(driver: &Driver) -> Vec<Read> {
    let mut reads = Vec::new();
    for (talk, of) in driver.talks().into_iter().enumerate() {
        let request = Request::Messages { talk: of.id };
        let asked =
            driver::Asked { user: of.user, talk, via: Via::Http(talk), ask: Ask::Read, send: None, request };
        let (_, got) = driver.ask(asked).await;
        let messages = got.as_ref().map(|got| got.json()).unwrap_or_default();
        let messages = messages.as_array().into_iter().flatten().filter_map(|message| {
            let turn: Uuid = message["turn_id"].as_str()?.parse().ok()?;
            Some((turn, message["role"] == "user", text_hash(message["content"].as_str()?)))
        });
        reads.push(Read {
            talk,
            status: got.as_ref().map_or(0, |got| got.status),
            messages: messages.collect(),
        });
    }
    reads
}

/// Everybody tries to read conversations and turns of somebody else.
async fn pry(driver: &Driver) {
    let talks = driver.talks();
    let turns = driver_turns(driver);
    for (talk, of) in talks.iter().enumerate().take(PRIED_MAX) {
        let user = (of.user + 1) % driver.people().len();
        for via in [Via::Http(talk), Via::Nats] {
            let turn = turns.get(talk % turns.len().max(1)).filter(|(owner, _)| *owner != user);
            let mut requests = vec![
                (false, 0, Request::Talk { talk: of.id }),
                (true, 0, Request::Talk { talk: Uuid::now_v7() }),
            ];
            if let Some((_, turn)) = turn {
                requests.push((false, 3, Request::Turn { turn: *turn }));
                requests.push((true, 3, Request::Turn { turn: Uuid::now_v7() }));
            }
            for (nowhere, operation, request) in requests {
                let ask = Ask::Probe { nowhere, door: door_number(via, operation) };
                driver.ask(driver::Asked { user, talk, via, ask, send: None, request }).await;
            }
        }
    }
}

/// Turns that are known, each with its user.
fn driver_turns(driver: &Driver) -> Vec<(usize, Uuid)> {
    let events = driver.history().events();
    let known = events.iter().filter(|event| event.ask == Ask::Send && event.kind == Kind::Ok);
    let known: HashSet<_> = known.filter_map(|event| Some((event.user, event.turn?))).collect();
    let mut known: Vec<_> = known.into_iter().collect();
    known.sort_unstable();
    known
}
