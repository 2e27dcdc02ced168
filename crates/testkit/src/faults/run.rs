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

/// How patient a run is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Until everything that was accepted must have ended.
    pub recovery: Duration,
    /// A client tries for so long to learn what became of its message.
    pub insistence: Duration,
    /// A turn takes so long at most besides the time of faults, in microseconds.
    pub turn_max: Micros,
    /// How long fresh turns are sent in the end, in seconds.
    pub tail_s: f64,
}

impl Patience {
    /// Where many wait and much fails.
    pub const LONG: Self = Self {
        recovery: Duration::from_secs(120),
        insistence: Duration::from_secs(75),
        turn_max: 60_000_000,
        tail_s: 10.0,
    };
    /// Where one thing fails at a time: a turn takes less than it takes a sender to lose patience and ask again.
    pub const ALONE: Self = Self { turn_max: 10_000_000, ..Self::LONG };
    /// Where something must be found soon.
    pub const SHORT: Self = Self {
        recovery: Duration::from_secs(10),
        insistence: Duration::from_secs(40),
        turn_max: 13_000_000,
        tail_s: 4.0,
    };
}

/// Between two words of a slow answer: it takes some two seconds.
const CHUNK_MS: u64 = 40;
/// Until every call is settled.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Messages that are sent while a worker leaves, how many per second, and between two words of their answers: so many run that
/// few have to wait for another.
const LEAVING: u64 = 80;
const LEAVING_PER_S: f64 = 60.0;
const LEAVING_CHUNK_MS: u64 = 50;
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

impl Verdict {
    /// Shows the report, and ends the test if a promise was broken, or if the run proves nothing.
    #[expect(clippy::print_stdout, reason = "what the test's reader wants to see")]
    pub fn judge(&self) {
        println!("{}", self.report);
        assert!(
            self.violations.is_empty() && self.vacuous.is_empty(),
            "{} promises broken, proves nothing because {:?}; history, logs and report are in {}",
            self.violations.len(),
            self.vacuous,
            self.folder.display()
        );
    }
}

/// Runs the program at `binary` under load and faults; files go to a folder in `place`, which is emptied first.
pub async fn run(binary: &'static str, size: &Size, place: &Path) -> Verdict {
    let stage = Stage::set(binary, size, place, "faults", Patience::LONG).await;
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

/// Strikes the program at these points, in each of these ways; in the end a worker leaves, if `leaves`.
pub async fn strike_at(
    binary: &'static str,
    size: &Size,
    place: &Path,
    (name, points, blows): (&str, &[Point], &[Blow]),
    leaves: bool,
) -> Verdict {
    let stage = Stage::set(binary, size, place, name, Patience::ALONE).await;
    points::prepare(&stage.on).await;
    let struck = async {
        let all = points.iter().flat_map(|point| blows.iter().map(|blow| (*point, *blow)));
        let mut faults = strike(&stage, all).await;
        if leaves {
            let (on, first) = (&stage.on, faults.len() as u64 * size.turns);
            let many = Size { per_s: LEAVING_PER_S, ..size.clone() };
            let load = stage.driver.follow(Plan::new(&many, first, LEAVING, false).slow(LEAVING_CHUNK_MS));
            faults.push(tokio::join!(load, points::leave(on)).1);
        }
        faults
    };
    stage.play(struck).await
}

/// One blow after the other, each with a little load.
async fn strike(stage: &Stage<'_>, blows: impl Iterator<Item = (Point, Blow)>) -> Vec<Injected> {
    let (on, driver, size) = (&stage.on, &stage.driver, stage.size);
    let staff = on.nats_as_staff("operator").await;
    let (mut faults, mut first) = (Vec::new(), 0);
    for (point, blow) in blows {
        let load = driver.follow(Plan::new(size, first, size.turns, false).slow(pace(point.is_slow())));
        let ((), fault) = tokio::join!(load, points::strike(on, point, blow));
        faults.push(fault);
        first += size.turns;
        recover(on, &staff, stage.patience.recovery).await;
    }
    faults
}

/// Between two words of an answer.
const fn pace(slow: bool) -> u64 {
    if slow { CHUNK_MS } else { 0 }
}

/// A small run that looks for one thing.
#[derive(Debug, Clone)]
pub struct Aim {
    /// Its load, and its faults; at points, the load of each blow.
    pub size: Size,
    /// Where to strike. If there is no point, the faults of the size happen.
    pub points: Vec<Point>,
    /// Whether answers take a second or two.
    pub slow: bool,
    /// How long it takes at most.
    pub patience: Patience,
}

/// Runs the program at `binary` as this aim says. The folder is named after `name`.
pub async fn aimed(binary: &'static str, aim: &Aim, place: &Path, name: &str) -> Verdict {
    let Aim { size, points, slow, patience } = aim;
    let stage = Stage::set(binary, size, place, name, *patience).await;
    let happening = async {
        if points.is_empty() {
            let load = stage.driver.follow(Plan::new(size, 0, size.turns, true).slow(pace(*slow)));
            tokio::join!(load, disturb(&stage.on, size)).1
        } else {
            points::prepare(&stage.on).await;
            strike(&stage, points.iter().map(|point| (*point, Blow::Kill))).await
        }
    };
    stage.play(happening).await
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
    let stage = Stage::set_on(binary, size, place, "power", Patience::LONG, Some((disk, settings))).await;
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
    patience: Patience,
}

impl<'a> Stage<'a> {
    async fn set(binary: &'static str, size: &'a Size, place: &Path, name: &str, patience: Patience) -> Self {
        Self::set_on(binary, size, place, name, patience, None).await
    }

    async fn set_on(
        binary: &'static str,
        size: &'a Size,
        place: &Path,
        name: &str,
        patience: Patience,
        disk: Option<(Disk, &[(&str, &str)])>,
    ) -> Self {
        let began = Instant::now();
        let (disk, settings) = disk.map_or((None, [].as_slice()), |(disk, settings)| (Some(disk), settings));
        let folder = place.join(format!("{name}-{}-{}", size.nats_servers, size.seed));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the run");
        let on = Arc::new(Installation::start_on(binary, size, &folder, disk, settings).await);
        on.ready().await;
        let history = Arc::new(History::new(&folder.join("history.jsonl")));
        let driver = Driver::start(on.clone(), history, size, patience.insistence).await;
        Self { on, driver, size, folder, began, patience }
    }

    /// Lets it happen, and judges what is there afterwards.
    async fn play(&self, happening: impl Future<Output = Vec<Injected>>) -> Verdict {
        let Self { on, driver, size, folder, patience, .. } = self;
        let samples = Mutex::new(Vec::new());
        let seen = tokio::select! {
            seen = async { look(on, driver, (size, *patience), happening.await).await } => seen,
            () = watch::samples(on, &samples) => unreachable!("it looks for ever"),
            () = watch::supervise(on) => unreachable!("it looks for ever"),
        };
        let workers = on.workers().iter().map(|worker| format!("process_{}", worker.start_number()));
        let evidence = Evidence {
            events: driver.history().events(),
            talks: driver.talks(),
            sent: driver.sent(),
            readings: driver.readings(),
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
            turn_max: patience.turn_max,
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
async fn look(
    on: &Installation,
    driver: &Arc<Driver>,
    (size, patience): (&Size, Patience),
    faults: Vec<Injected>,
) -> Used {
    on.ready().await;
    let staff = on.nats_as_staff("operator").await;
    let recovered = recover(on, &staff, patience.recovery).await;
    let tail_began = now();
    // Over every way, however the load was sent.
    let every_way = Size { plain: false, ..size.clone() };
    driver.follow(Plan::new(&every_way, size.turns, (patience.tail_s * size.per_s) as u64, false)).await;
    let tail = (tail_began, now());
    if recovered.is_some() {
        recover(on, &staff, patience.recovery).await;
    }
    driver.give_up();

    let reads = read_all(driver).await;
    pry(driver).await;
    let url = on.record.lock().await.url();
    settle(&url).await;
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
async fn recover(on: &Installation, staff: &Stranger, within: Duration) -> Option<Duration> {
    let began = Instant::now();
    let url = on.record.lock().await.url();
    while began.elapsed() < within {
        let open = open_turns(&url).await;
        if open == Some(0) && watch::left_in_queue(staff).await == Some((0, 0)) {
            return Some(began.elapsed());
        }
        sleep(Duration::from_millis(200)).await;
    }
    None
}

/// Waits until the provider has told what the calls have cost that were cut. What is not settled by then a check finds.
async fn settle(url: &str) {
    let began = Instant::now();
    while began.elapsed() < SETTLED_WITHIN && Dump::unsettled(url).await != Some(0) {
        sleep(Duration::from_millis(500)).await;
    }
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
                if via != Via::Nats {
                    requests.push((false, 4, Request::Events { turn: *turn }));
                    requests.push((true, 4, Request::Events { turn: Uuid::now_v7() }));
                }
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
