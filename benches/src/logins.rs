//! `benches logins`: hashing a password costs 30 ms of a core on purpose, so whoever can make the server hash at will can
//! stop it. This tries.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::http::Uri;
use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    cli::LoginsOptions,
    driver::Open,
    folder::Folder,
    http::Connection,
    latencies::Latencies,
    machine::Machine,
    population,
    reads::{Target, read},
    say,
    stack::{self, Stack},
};

/// Connections that attempts go over: more than the rate times what an answer takes.
const ATTACKERS: usize = 64;
/// Connections of those who only want to see their projects.
const READERS: usize = 4;
/// How much slower they may get.
const RATIO_MAX: f64 = 3.0;

/// Attacks, and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &LoginsOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(None)?;
    say("starting omnichat with an empty data dir …");
    let settings = if options.unlimited { &stack::UNLIMITED[..] } else { &stack::CONNECTED[..] };
    let stack = Stack::start(&program, &folder.path.join("omnichat"), settings).await?;
    let mut connection = Connection::open(stack.http).await?;
    let authorization = population::register(&mut connection, 0).await?;
    connection.ask("/projects", Some(&authorization), &json!({ "name": "Quiet" })).await?;
    let target = Target { uri: Uri::from_static("/projects"), authorization };
    let length = Duration::from_secs(options.seconds);

    read(stack.http, &target, READERS, Duration::from_secs(2)).await?;
    say("GET /projects alone …");
    let before = read(stack.http, &target, READERS, length).await?;
    say(&format!("GET /projects beside {} logins/s …", options.rate));
    let (beside, (answers, slowest)) = tokio::try_join!(
        read(stack.http, &target, READERS, length),
        attack(stack.http, options.rate.into(), length)
    )?;
    println!("{machine}.\n{READERS} readers of GET /projects, {} s per line.\n", options.seconds);
    println!("| GET /projects | requests/s | p50 ms | p99 ms |\n|---|--:|--:|--:|");
    for (name, reads) in [("alone", &before), ("beside the logins", &beside)] {
        let rate = reads.count() as f64 / length.as_secs_f64();
        let [p50, p99] = [0.5, 0.99].map(|fraction| reads.quantile_ms(fraction));
        println!("| {name} | {rate:.0} | {p50:.2} | {p99:.2} |");
    }
    let ratio = beside.quantile_ms(0.99) / before.quantile_ms(0.99);
    println!("\np99 beside the logins: {ratio:.2} × (goal: at most {RATIO_MAX} ×)");
    println!("logins answered (the slowest after {slowest:.0} ms): {answers:?}");
    stack.stop().await?;
    let excess = answers.keys().all(|status| matches!(status, 200 | 401 | 429 | 503));
    ensure!(excess, "a login was answered with something else than 401, 429 or 503");
    Ok(())
}

/// Tries wrong passwords of many accounts at a constant rate. Each status, how often; and the slowest answer, in ms.
async fn attack(
    server: SocketAddr,
    per_s: f64,
    length: Duration,
) -> anyhow::Result<(BTreeMap<u16, u64>, f64)> {
    let arrivals = std::sync::Arc::new(Open::start(per_s, length, ATTACKERS)?);
    let mut attackers = JoinSet::new();
    for attacker in 0..ATTACKERS {
        let (mut connection, arrivals) = (Connection::open(server).await?, arrivals.clone());
        attackers.spawn(async move {
            let (mut answers, mut durations_us, mut attempt) = (BTreeMap::<u16, u64>::new(), Vec::new(), 0);
            while arrivals.next().await.is_some() {
                attempt += 1;
                let email = format!("victim{attacker}.{attempt}@example.org");
                let body = json!({ "email": email, "password": "not the password" }).to_string();
                let began = Instant::now();
                let (status, _) = connection.post(Uri::from_static("/auth/login"), None, body.into()).await?;
                durations_us.push(began.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
                *answers.entry(status.as_u16()).or_default() += 1;
            }
            anyhow::Ok((answers, durations_us))
        });
    }
    let (mut answers, mut durations_us) = (BTreeMap::new(), Vec::new());
    while let Some(done) = attackers.join_next().await {
        let (theirs, times) = done??;
        durations_us.extend(times);
        theirs.into_iter().for_each(|(status, count)| *answers.entry(status).or_default() += count);
    }
    Ok((answers, durations_us.into_iter().collect::<Latencies>().quantile_ms(1.0)))
}
