//! Cases 95 to 97: servers that are not there, or not fit to keep what is promised.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::Duration,
};

use host::embedded::{Nats, NatsOptions, Postgres, PostgresOptions, Search};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Client, Exit, Process, eventually, folder::Folder};

use crate::{
    Table,
    program::{SECRET, end, omnichat},
};

/// Longer than a first attempt takes.
const A_WHILE: Duration = Duration::from_secs(20);

async fn postgres(folder: &Folder, settings: &[(&str, &str)]) -> Postgres {
    let home = folder.path().join("home");
    let bin = Search::from_environment().find_postgres(&home).await.expect("a Postgres");
    let mut options = PostgresOptions::new(bin, home);
    options.settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Postgres::start(options).await.expect("Postgres")
}

pub async fn nats(folder: &Folder, config: &str) -> Nats {
    let program = Search::from_environment().find_nats_server().await.expect("a nats-server");
    let mut options = NatsOptions::new(program, folder.path().join("nats"));
    options.config = config.to_owned();
    Nats::start(options).await.expect("a nats-server")
}

async fn execute(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    connection.execute(statement).await.unwrap();
    connection.close().await.unwrap();
}

/// Case 95: an address where nobody listens is waited for, by a process that lives, is not ready, and ends when told to.
#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let folder = Folder::new("nowhere");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let http = taken.local_addr().unwrap();
    drop(taken);
    let command = omnichat(
        &["serve", "ingress", "projects", "auth"],
        &[
            ("JWT_SECRET", SECRET),
            ("DATABASE_URL", "postgres://me:s3cret@127.0.0.1:1/none"),
            ("NATS_URL", "nats://127.0.0.1:1"),
            ("OMNICHAT__HTTP__LISTEN", &http.to_string()),
            ("OMNICHAT__LOG__FORMAT", "json"),
        ],
    );
    let mut process = Process::start(command, folder.path().join("log"));
    let client = Client::at(http);
    let waits = async || process.logged().matches("waiting for PostgreSQL").nth(2).map(drop);
    eventually("it has tried thrice", A_WHILE, waits).await;
    assert_eq!(client.get("/livez").await.status, 200);
    let report = client.get("/readyz").await;
    assert_eq!(report.status, 503, "{report:?}");
    let failed: Vec<Value> = report.json()["checks"].as_array().unwrap().clone();
    assert!(failed.iter().any(|check| check["name"] == "roles" && check["ok"] == false), "{failed:?}");
    assert!(!process.logged().contains("s3cret"));
    assert_eq!(process.terminate().await, Exit::SUCCESS);
}

/// A NATS server's configuration, what the line says about it.
const NATS_ROWS: &[(u16, &str, &str)] =
    &[(96, "max_payload: 8388608\n", "JetStream is off"), (96, "jetstream {}\n", "max_payload is 1048576")];

#[tokio::test]
async fn a_nats_server_that_cannot_carry_the_queue_is_refused() {
    let mut table = Table::default();
    for (case, config, told) in NATS_ROWS {
        let folder = Folder::new("nats-server");
        let nats = nats(&folder, config).await;
        let ended = end(omnichat(&["provision"], &[("NATS_URL", &nats.url())])).await;
        table.row(*case, told, ended.refuses("nats.url").and_then(|()| ended.says(told)));
    }
}

/// Case 97: settings that may lose a commit are told at every start, and fail the doctor.
#[tokio::test]
async fn a_postgres_that_may_lose_what_it_committed_is_told_apart() {
    let folder = Folder::new("weak");
    let postgres = postgres(&folder, &[("fsync", "off"), ("synchronous_commit", "off")]).await;
    let database = ("DATABASE_URL", &*postgres.url());
    assert_eq!(end(omnichat(&["migrate"], &[database])).await.code, Some(0));
    let examined = end(omnichat(&["doctor"], &[database])).await;
    assert_eq!(examined.code, Some(1), "{}", examined.printed);
    let finding = examined.printed.lines().find(|line| line.contains("postgres")).unwrap();
    let mut process = Process::start(
        omnichat(
            &["serve", "projects"],
            &[database, ("NATS_URL", "nats://127.0.0.1:1"), ("OMNICHAT__LOG__FORMAT", "json")],
        ),
        folder.path().join("log"),
    );
    for setting in ["fsync = off", "synchronous_commit = off"] {
        assert!(finding.contains("FAIL ") && finding.contains(setting), "{finding}");
        let warned = |log: String| log.lines().any(|line| line.contains("WARN") && line.contains(setting));
        eventually("a warning", A_WHILE, async || warned(process.logged()).then_some(())).await;
    }
    assert_eq!(process.terminate().await, Exit::SUCCESS);
}

/// Case 97: what can never work is refused.
#[tokio::test]
async fn a_postgres_that_cannot_hold_the_record_is_refused() {
    let mut table = Table::default();
    let folder = Folder::new("unfit");
    let primary = postgres(&folder, &[]).await;
    execute(
        &primary.url(),
        "create database latin with template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'",
    )
    .await;
    let latin = end(omnichat(&["migrate"], &[("DATABASE_URL", &primary.url_of("latin"))])).await;
    table.row(97, "another encoding", latin.refuses("postgres.url").and_then(|()| latin.says("LATIN1")));
    let signal = primary.dir().join("data/standby.signal");
    primary.stop().await;
    std::fs::write(&signal, "").unwrap_or_else(|error| panic!("{}: {error}", signal.display()));
    let standby = postgres(&folder, &[("hot_standby", "on")]).await;
    let refused = end(omnichat(&["migrate"], &[("DATABASE_URL", &standby.url())])).await;
    table.row(97, "a standby", refused.refuses("postgres.url").and_then(|()| refused.says("standby")));
}

/// A service waits for NATS, however long; who asks something by hand is told.
#[tokio::test]
async fn a_command_that_asks_something_does_not_wait_for_nats() {
    let folder = Folder::new("no-nats");
    let postgres = postgres(&folder, &[]).await;
    let ended = end(omnichat(
        &["partitions"],
        &[
            ("JWT_SECRET", SECRET),
            ("DATABASE_URL", &postgres.url()),
            ("NATS_URL", "nats://chat:s3cret@127.0.0.1:1"),
        ],
    ))
    .await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    ended
        .says("NATS does not answer at 127.0.0.1:1: is it running, and is nats.passwords.chat right?")
        .unwrap();
    assert!(!ended.said.contains("s3cret"), "{}", ended.said);
}
