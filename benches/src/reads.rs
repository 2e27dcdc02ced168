//! `benches reads`: how long the shortest guarded request takes, through HTTP, NATS and Postgres and back, beside what
//! Postgres takes for its query alone.

use std::{
    fmt::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ::http::{HeaderValue, StatusCode, Uri};
use anyhow::{Context, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    cli::ReadsOptions,
    folder::Folder,
    http::Connection,
    latencies::Latencies,
    machine::Machine,
    pgbench::Pgbench,
    population::{self, text},
    say,
    stack::{self, Stack},
    usage::Processes,
};

/// The query of the service, as it is.
const QUERY: &str = "select id, user_id, name, description, created_at, updated_at from projects
    where user_id = '{user}' and id = '{project}';\n";
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Something to read, and in whose name.
#[derive(Clone)]
pub struct Target {
    /// Its path.
    pub uri: Uri,
    /// The header of its owner.
    pub authorization: HeaderValue,
}

/// Measures and reports.
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
pub async fn run(options: &ReadsOptions) -> anyhow::Result<()> {
    let program = stack::find_program(options.binary.as_deref())?;
    let machine = Machine::look(&program);
    let folder = Folder::at(None)?;
    say("starting omnichat with an empty data dir …");
    let stack = Stack::start(&program, &folder.path.join("omnichat"), &stack::UNLIMITED).await?;
    let report = measure(&stack, options, &folder).await?;
    println!("{machine}.\nGET /projects/{{id}}, {} s per line.\n{report}", options.seconds);
    stack.stop().await
}

async fn measure(stack: &Stack, options: &ReadsOptions, folder: &Folder) -> anyhow::Result<String> {
    let processes = Processes::of(stack)?;
    let pgbench = Pgbench::prepare(&stack.postgres, processes.postgres, &folder.path.join("pgbench")).await?;
    let pgbench = pgbench.context("this machine has no pgbench")?;
    let (target, query) = a_project(stack.http).await?;
    let length = Duration::from_secs(options.seconds);
    read(stack.http, &target, 8, WARM_UP).await?;
    let mut table = String::from(
        "\n| in flight | requests/s | p50 ms | p99 ms | pgbench/s | its mean ms | p50 to its mean |\n\
         |--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for &concurrency in &options.concurrency {
        say(&format!("{concurrency} in flight …"));
        let ours = read(stack.http, &target, concurrency.into(), length).await?;
        let alone = pgbench.ask(&query, concurrency.into(), length).await?;
        let [p50, p99] = [0.5, 0.99].map(|fraction| ours.quantile_ms(fraction));
        // With many clients in one thread it notes times of zero, so its quantiles say little; its rate does not lie.
        let mean = f64::from(concurrency) / alone.turns_per_s * 1_000.0;
        let (rate, ratio) = (ours.count() as f64 / length.as_secs_f64(), p50 / mean);
        writeln!(
            table,
            "| {concurrency} | {rate:.0} | {p50:.2} | {p99:.2} | {:.0} | {mean:.2} | {ratio:.1} × |",
            alone.turns_per_s
        )?;
    }
    Ok(table)
}

/// Somebody's only project, over HTTP and as a query.
async fn a_project(server: SocketAddr) -> anyhow::Result<(Target, String)> {
    let mut connection = Connection::open(server).await?;
    let authorization = population::register(&mut connection, 0).await?;
    let project = connection.ask("/projects", Some(&authorization), &json!({ "name": "Read" })).await?;
    let (id, user) = (text(&project, "id")?, text(&project, "user_id")?);
    let target = Target { uri: format!("/projects/{id}").try_into()?, authorization };
    Ok((target, QUERY.replace("{user}", user).replace("{project}", id)))
}

/// Reads again and again, with so many connections, for so long.
///
/// # Errors
/// An answer other than 200.
pub async fn read(
    server: SocketAddr,
    target: &Target,
    workers: usize,
    length: Duration,
) -> anyhow::Result<Latencies> {
    let mut reading = JoinSet::new();
    let until = Instant::now() + length;
    for _ in 0..workers {
        let (mut connection, target) = (Connection::open(server).await?, target.clone());
        reading.spawn(async move {
            let mut durations_us = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                let (status, answer) =
                    connection.get(target.uri.clone(), target.authorization.clone()).await?;
                ensure!(status == StatusCode::OK, "{status} {}", String::from_utf8_lossy(&answer));
                durations_us.push(began.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
            }
            anyhow::Ok(durations_us)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = reading.join_next().await {
        all.extend(done??);
    }
    Ok(all.into_iter().collect())
}
