//! The private servers, with the real programs. Nothing needs to be installed: what is missing is fetched, once.

#![cfg(test)]

use host::embedded::{
    Account, DataDir, Error, Nats, NatsOptions, Postgres, PostgresOptions, Programs, Run, Search, Servers,
};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// A folder that is gone after the test.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("omnichat-test-{}-{count}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of ours that is killed at the end of the test at the latest.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn programs() -> Programs {
    static PROGRAMS: OnceCell<Programs> = OnceCell::const_new();
    let find = || async { Search::from_environment().find(Path::new("none yet")).await.unwrap() };
    PROGRAMS.get_or_init(find).await.clone()
}

async fn postgres(home: PathBuf) -> Result<Postgres, Error> {
    let options = PostgresOptions::new(programs().await.postgres_bin, home);
    Postgres::start(PostgresOptions { durable: false, ..options }).await
}

async fn nats(home: PathBuf, listen: SocketAddr) -> Result<Nats, Error> {
    let options = NatsOptions::new(programs().await.nats_server, home);
    Nats::start(NatsOptions { listen, ..options }).await
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

async fn servers(path: &Path) -> Result<Servers, Error> {
    let data_dir = DataDir::open(path)?;
    let home = data_dir.postgres()?;
    let programs = programs().await;
    let nats = NatsOptions::new(programs.nats_server, data_dir.nats());
    let postgres = PostgresOptions::new(programs.postgres_bin, home);
    Servers::start(data_dir, nats, postgres).await
}

async fn write_a_row(postgres_url: &str) {
    let mut connection = PgConnection::connect(postgres_url).await.unwrap();
    sqlx::query("create table kept (word text)").execute(&mut connection).await.unwrap();
    sqlx::query("insert into kept values ('still here')").execute(&mut connection).await.unwrap();
}

async fn read_the_row(postgres_url: &str) -> String {
    let mut connection = PgConnection::connect(postgres_url).await.unwrap();
    sqlx::query_scalar("select word from kept").fetch_one(&mut connection).await.unwrap()
}

async fn setting(postgres: &Postgres, name: &'static str) -> String {
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&mut connection).await.unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// Whether the process is gone; one that nobody has reaped yet is.
fn has_ended(pid: u32) -> bool {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    let stat = ps.map(|output| output.stdout).unwrap();
    stat.trim_ascii().is_empty() || stat.trim_ascii().starts_with(b"Z")
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn data_written_in_the_first_start_is_there_in_the_next() {
    let dir = TempDir::new();
    let data_dir = dir.join(".omnichat");
    programs().await;

    let first = servers(&data_dir).await.unwrap();
    write_a_row(&first.postgres.url()).await;
    first.stop().await;

    let second = servers(&data_dir).await.unwrap();
    assert_eq!(read_the_row(&second.postgres.url()).await, "still here");
    second.stop().await;
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_the_pid_of_its_user() {
    let dir = TempDir::new();
    let us = std::process::id();
    let running = nats(dir.join("nats"), any_port()).await.unwrap();
    let refused = nats(dir.join("nats"), any_port()).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyRunning { pid: Some(pid), .. } if pid == us), "{refused}");
    assert!(refused.to_string().ends_with(&format!("is in use by process {us}")), "{refused}");
    running.stop().await;
    nats(dir.join("nats"), any_port()).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_taken_port_is_left_alone_and_a_free_one_found() {
    let dir = TempDir::new();
    let stranger = TcpListener::bind(any_port()).unwrap();
    let taken = stranger.local_addr().unwrap();
    let nats = nats(dir.join("nats"), taken).await.unwrap();
    assert_eq!(nats.taken(), Some(taken));
    assert_ne!(nats.url(), format!("nats://{taken}"));
    nats.stop().await;
}

#[tokio::test]
async fn a_free_port_is_given_as_asked() {
    let dir = TempDir::new();
    let first = nats(dir.join("nats"), any_port()).await.unwrap();
    let url = first.url();
    assert_eq!(first.taken(), None);
    first.stop().await;
    let listen = url.strip_prefix("nats://").unwrap().parse().unwrap();
    let second = nats(dir.join("nats"), listen).await.unwrap();
    assert_eq!((second.url(), second.taken()), (url, None));
    second.stop().await;
}

#[tokio::test]
async fn the_configuration_sees_its_variables_but_cannot_move_the_server() {
    let dir = TempDir::new();
    let config = "port: 1\nhttp_port: 1\nserver_name: $NAME\njetstream { max_file_store: 1GB }\n\
                  authorization { user: me, password: $PASSWORD }";
    let options = NatsOptions {
        config: config.into(),
        environment: vec![("NAME".into(), "other".into()), ("PASSWORD".into(), "secret".into())],
        ..NatsOptions::new(programs().await.nats_server, dir.join("nats"))
    };
    let nats = Nats::start(options).await.unwrap();
    assert!(nats.url().starts_with("nats://127.0.0.1:"), "{}", nats.url());
    assert!(nats.monitoring_url().starts_with("http://127.0.0.1:"), "{}", nats.monitoring_url());
    assert!(dir.join("nats/store/jetstream").is_dir());
    let mode = fs::metadata(dir.join("nats/nats.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    nats.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let dir = TempDir::new();
    let options = NatsOptions {
        config: "jetstream { max_file_store: 2 lemons }".into(),
        ..NatsOptions::new(programs().await.nats_server, dir.join("nats"))
    };
    let refused = Nats::start(options).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Exited { tail, .. } if tail.contains("Parse error on line 1")),
        "{refused}"
    );
}

#[tokio::test]
async fn killed_servers_are_reported_and_start_again_with_their_data() {
    let dir = TempDir::new();
    let running = servers(&dir.join(".omnichat")).await.unwrap();
    write_a_row(&running.postgres.url()).await;

    kill(running.nats.pid());
    let died = running.died().await;
    assert!(matches!(died, Error::Exited { name: "nats-server", .. }), "{died}");
    kill(running.postgres.pid());
    let died = running.postgres.died().await;
    assert!(matches!(died, Error::Exited { name: "Postgres", .. }), "{died}");
    drop(running);

    let again = servers(&dir.join(".omnichat")).await.unwrap();
    assert_eq!(read_the_row(&again.postgres.url()).await, "still here");
    again.stop().await;
}

#[tokio::test]
async fn a_clean_stop_leaves_no_process_and_no_trace_of_one() {
    let dir = TempDir::new();
    let data_dir = dir.join(".omnichat");
    let running = servers(&data_dir).await.unwrap();
    running.publish("http://127.0.0.1:8080".into()).unwrap();
    let run: Run = serde_json::from_slice(&fs::read(data_dir.join("run.json")).unwrap()).unwrap();
    let expected = Run {
        http: "http://127.0.0.1:8080".into(),
        nats: running.nats.url(),
        postgres: running.postgres.url(),
        pid: std::process::id(),
    };
    assert_eq!(run, expected);

    let pids = [running.nats.pid(), running.postgres.pid()];
    running.stop().await;
    assert!(pids.into_iter().all(has_ended));
    for left in ["run.json", "postgres/data/postmaster.pid", "postgres/socket/.s.PGSQL.5432"] {
        assert!(!data_dir.join(left).exists(), "{left}");
    }
}

#[tokio::test]
async fn a_dropped_server_is_gone() {
    let dir = TempDir::new();
    let postgres = postgres(dir.join("postgres")).await.unwrap();
    let nats = nats(dir.join("nats"), any_port()).await.unwrap();
    let pids = [nats.pid(), postgres.pid()];
    // Even one that is stopped and hears nothing.
    kill_process(Pid::from_raw(pids[1].cast_signed()).unwrap(), Signal::STOP).unwrap();
    drop((nats, postgres));
    assert!(pids.into_iter().all(has_ended));
}

/// Two servers on one store would both say that they are ready.
#[tokio::test]
async fn a_nats_server_left_at_work_is_ended_before_the_next_starts() {
    let dir = TempDir::new();
    let home = dir.join("nats");
    nats(home.clone(), any_port()).await.unwrap().stop().await;
    let mut left = Command::new(programs().await.nats_server);
    left.current_dir(&home).args(["--addr", "127.0.0.1", "--port", "-1", "--store_dir", "store"]);
    let mut left = Killed(left.stderr(Stdio::null()).spawn().unwrap());
    let next = nats(home, any_port()).await.unwrap();
    assert!(left.0.try_wait().unwrap().is_some());
    next.stop().await;
}

/// Postgres itself would refuse for ever: the number in its pid file is in use by a process of its own user.
#[tokio::test]
async fn a_pid_file_and_a_socket_lock_that_name_a_living_stranger_are_stale() {
    let dir = TempDir::new();
    let home = dir.join("postgres");
    let running = postgres(home.clone()).await.unwrap();
    let pid_file = home.join("data/postmaster.pid");
    kill(running.pid());
    running.died().await;
    let left = fs::read_to_string(&pid_file).unwrap();
    drop(running);

    let stranger = stranger();
    let (_, rest) = left.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", stranger.0.id())).unwrap();
    fs::write(home.join("socket/.s.PGSQL.5432.lock"), format!("{}\n{rest}", stranger.0.id())).unwrap();

    postgres(home).await.unwrap().stop().await;
    assert!(!has_ended(stranger.0.id()), "a stranger is none of our business");
}

/// A process of the user that runs Postgres.
fn stranger() -> Killed {
    let mut sleep = Command::new("sleep");
    sleep.arg("600");
    if let Some(account) = Account::for_postgres().unwrap() {
        account.runs(&mut sleep);
    }
    Killed(sleep.spawn().unwrap())
}

#[tokio::test]
async fn an_interrupted_first_start_leaves_nothing_that_looks_like_a_database() {
    let dir = TempDir::new();
    let home = dir.join("postgres");
    drop(DataDir::open(&home).unwrap());
    fs::create_dir(home.join("data.new")).unwrap();
    fs::write(home.join("data.new/PG_VERSION"), "15\n").unwrap();
    let postgres = postgres(home.clone()).await.unwrap();
    assert!(!home.join("data.new").exists());
    postgres.stop().await;
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_no_obstacle() {
    let dir = TempDir::new();
    let long = dir.join(&"long, \"and odd\" & so on ".repeat(5));
    let running = postgres(long.clone()).await.unwrap();
    write_a_row(&running.url()).await;
    let socket = fs::read_link(long.join("socket")).unwrap();
    kill(running.pid());
    running.died().await;
    std::mem::forget(running); // as if we had been killed: nothing is tidied up
    assert!(socket.exists());
    fs::remove_file(long.join("lock")).unwrap(); // the forgotten handle still holds it

    let running = postgres(long).await.unwrap();
    assert_eq!(read_the_row(&running.url()).await, "still here");
    assert!(!socket.exists(), "the next run finds what a killed one left");
    running.stop().await;
}

/// As under root's home. An ordinary user's Postgres runs as that user, who may enter what is theirs.
#[tokio::test]
async fn a_data_dir_closed_to_postgres_links_to_one_that_is_not() {
    if Account::for_postgres().unwrap().is_none() {
        return;
    }
    let dir = TempDir::new();
    fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o700)).unwrap();
    let first = servers(&dir.join(".omnichat")).await.unwrap();
    let elsewhere = TempDir(fs::read_link(dir.join(".omnichat/postgres")).unwrap());
    assert!(elsewhere.0.starts_with("/var/lib/omnichat"));
    assert_eq!(first.postgres.dir(), elsewhere.0);
    write_a_row(&first.postgres.url()).await;
    first.stop().await;

    let second = servers(&dir.join(".omnichat")).await.unwrap();
    assert_eq!(read_the_row(&second.postgres.url()).await, "still here");
    second.stop().await;
}

#[tokio::test]
async fn settings_reach_postgres_and_the_callers_win() {
    let dir = TempDir::new();
    let options = PostgresOptions {
        shared_buffers_mb: 16,
        max_connections: 17,
        settings: vec![("log_checkpoints".into(), "on".into())],
        durable: false,
        ..PostgresOptions::new(programs().await.postgres_bin, dir.join("with a space, and a comma"))
    };
    let postgres = Postgres::start(options).await.unwrap();
    let expected = [
        ("shared_buffers", "16MB"),
        ("max_connections", "17"),
        ("fsync", "off"),
        ("log_checkpoints", "on"),
        ("listen_addresses", ""),
    ];
    for (name, value) in expected {
        assert_eq!(setting(&postgres, name).await, value, "{name}");
    }
    postgres.stop().await;
}

#[tokio::test]
async fn a_named_program_is_taken_or_refused_but_never_replaced() {
    let dir = TempDir::new();
    let old = dir.join("nats-server");
    fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.10\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    let search = Search { nats_server: Some(old.clone()), ..Search::new(|_| None) };
    let refused = search.find_nats_server().await.unwrap_err().to_string();
    let reason = format!("skipped {}: its version is 2.9.10", old.display());
    assert!(refused.contains(&reason) && refused.contains("Three ways out"), "{refused}");
}

#[tokio::test]
async fn data_is_never_given_to_a_postgres_of_another_major_version() {
    let dir = TempDir::new();
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("data/PG_VERSION"), "14\n").unwrap();
    let bin = programs().await.postgres_bin;
    let search = Search { postgres_bin: Some(bin.clone()), ..Search::new(|_| None) };
    let refused = search.find_postgres(&dir.0).await.unwrap_err().to_string();
    assert!(refused.contains("no usable Postgres 14"), "{refused}");
    assert!(refused.contains(&format!("skipped {}: its version is", bin.display())), "{refused}");
}

#[tokio::test]
async fn a_killed_supervisor_leaves_nothing_behind() {
    if Path::new("supervised").exists() {
        return supervise().await;
    }
    let dir = TempDir::new();
    let data_dir = dir.join(".omnichat");
    let supervisor = supervisor(&dir);
    eventually("run.json", || data_dir.join("run.json").exists()).await;
    let run: Run = serde_json::from_slice(&fs::read(data_dir.join("run.json")).unwrap()).unwrap();
    write_a_row(&run.postgres).await;
    let pids = pids(&data_dir);

    let refused = servers(&data_dir).await.unwrap_err();
    assert!(matches!(refused, Error::AlreadyRunning { pid: Some(pid), .. } if pid == run.pid), "{refused}");

    drop(supervisor);
    // At once, while the orphans are still ending.
    let next = servers(&data_dir).await.unwrap();
    assert!(pids.into_iter().all(has_ended));
    assert!(!data_dir.join("run.json").exists());
    assert_eq!(read_the_row(&next.postgres.url()).await, "still here");
    next.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_servers_of_a_killed_supervisor_end_by_themselves() {
    let dir = TempDir::new();
    let data_dir = dir.join(".omnichat");
    let supervisor = supervisor(&dir);
    eventually("run.json", || data_dir.join("run.json").exists()).await;
    let pids = pids(&data_dir);
    drop(supervisor);
    eventually("both ended", || pids.into_iter().all(has_ended)).await;
    assert!(!data_dir.join("postgres/data/postmaster.pid").exists(), "Postgres ended in order");
}

/// Those of the running servers, as they wrote them down.
fn pids(data_dir: &Path) -> [u32; 2] {
    let postgres = fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).unwrap();
    let ports = fs::read_dir(data_dir.join("nats/ports")).unwrap().next().unwrap().unwrap().file_name();
    let nats = ports.to_str().unwrap().strip_prefix("nats-server_").unwrap().strip_suffix(".ports").unwrap();
    [postgres.lines().next().unwrap().parse().unwrap(), nats.parse().unwrap()]
}

/// Another process of this very program, which will [`supervise`].
fn supervisor(dir: &TempDir) -> Killed {
    fs::write(dir.join("supervised"), "").unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program
        .args(["--exact", "a_killed_supervisor_leaves_nothing_behind"])
        .current_dir(&dir.0)
        .stdout(Stdio::null());
    Killed(program.spawn().unwrap())
}

/// What the other process does: it finds itself in a folder that is marked, and runs servers there until it is killed.
async fn supervise() {
    let servers = servers(Path::new(".omnichat")).await.unwrap();
    servers.publish("http://127.0.0.1:8080".into()).unwrap();
    panic!("{}", servers.died().await);
}
