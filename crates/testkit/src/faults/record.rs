//! The Postgres of a run: one of its own, as it is killed; reached by the program through proxies, and watched by
//! triggers that write down who wrote what.

use std::{fs, path::PathBuf};

use host::embedded::{Postgres, PostgresOptions, Search};
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::proxy::Upstream;
use crate::{eventually, folder::Folder, process, process::PATIENCE};

/// Each process of the program gets a role of its own, so that the record of writes names it.
const ROLES: usize = 2000;

/// Runs in the same transaction as the write, and after its locks were taken: the serial numbers of `faults.writes` are in
/// the order in which writes to one partition, and changes of its owner, took effect.
const AUDIT: &str = "
create schema faults;
create table faults.writes (
    serial bigserial primary key, kind text not null, turn uuid, partition smallint, epoch bigint,
    writer text not null default session_user, at timestamptz not null default clock_timestamp());
create function faults.wrote_turn() returns trigger language plpgsql as $$ begin
    insert into faults.writes (kind, turn, partition) values ('turn', new.id, new.partition); return null; end $$;
create function faults.wrote_outcome() returns trigger language plpgsql as $$ begin
    insert into faults.writes (kind, turn) values ('outcome', new.turn_id); return null; end $$;
create function faults.wrote_attempt() returns trigger language plpgsql as $$ begin
    insert into faults.writes (kind, turn) values ('attempt', new.turn_id); return null; end $$;
create function faults.took() returns trigger language plpgsql as $$ begin
    insert into faults.writes (kind, partition, epoch) values ('owner', new.partition, new.epoch); return null; end $$;
create trigger watched after insert on turns for each row execute function faults.wrote_turn();
create trigger watched after insert on outcomes for each row execute function faults.wrote_outcome();
create trigger watched after insert on attempts for each row execute function faults.wrote_attempt();
create trigger watched after insert or update on partition_owner for each row execute function faults.took();
";

/// A Postgres that can be killed.
pub struct Record {
    running: Option<Postgres>,
    bin: PathBuf,
    folder: Folder,
    settings: Vec<(String, String)>,
}

impl Record {
    /// Starts one with the schema of the program at `binary`, its files in this folder, and these settings.
    pub async fn start(binary: &str, folder: Folder, settings: &[(&str, &str)]) -> Self {
        let bin =
            Search::from_environment().find_postgres(&folder.path().join("home")).await.expect("a Postgres");
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut record = Self { running: None, bin, folder, settings };
        record.restart().await;
        let mut migrate = std::process::Command::new(binary);
        migrate
            .arg("migrate")
            .env_clear()
            .current_dir(record.folder.path())
            .env("DATABASE_URL", record.url());
        process::run(migrate).await;
        let mut connection = PgConnection::connect(&record.url()).await.expect("Postgres takes connections");
        sqlx::raw_sql(AUDIT).execute(&mut connection).await.expect("the triggers");
        let roles = format!(
            "do $$ begin for i in 1..{ROLES} loop execute format('create role process_%s superuser login', i); \
             end loop; end $$"
        );
        sqlx::raw_sql(AssertSqlSafe(roles)).execute(&mut connection).await.expect("the roles");
        record
    }

    /// Its URL, past every proxy.
    pub fn url(&self) -> String {
        self.running.as_ref().expect("it runs").url()
    }

    /// The URL for the process of this number, through a proxy.
    pub fn url_through(proxy: std::net::SocketAddr, number: u32) -> String {
        format!("postgres://process_{number}@{proxy}/omnichat?sslmode=disable")
    }

    /// Where proxies lead.
    pub fn upstream(&self) -> Upstream {
        let folder = self.folder.path().join("home/socket");
        Upstream::Unix(fs::canonicalize(folder).expect("the folder of its socket").join(".s.PGSQL.5432"))
    }

    /// Kills the server and all its children at once, as a crash of the machine would, but for what the disk has.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        let children = children_of(running.pid());
        for pid in std::iter::once(running.pid()).chain(children) {
            // A child may have ended by itself.
            let _ = rustix::process::kill_process(pid_of(pid), Signal::KILL);
        }
    }

    /// Stops the server and all its children (SIGSTOP), and returns when none of them runs any more.
    pub async fn freeze(&self) {
        let Some(running) = &self.running else { return };
        stop(running.pid()).await;
        for child in children_of(running.pid()) {
            stop(child).await;
        }
    }

    /// Starts it on what is there.
    pub async fn restart(&mut self) {
        self.kill();
        let mut settings = self.settings.clone();
        settings.push(("log_min_messages".into(), "fatal".into()));
        let options = PostgresOptions {
            max_connections: 300,
            settings,
            ..PostgresOptions::new(self.bin.clone(), self.folder.path().join("home"))
        };
        self.running = Some(Postgres::start(options).await.expect("Postgres starts"));
    }
}

/// A system call that is under way is ended first.
async fn stop(pid: u32) {
    // It may have ended by itself.
    let _ = rustix::process::kill_process(pid_of(pid), Signal::STOP);
    let stopped = async || status_of(pid).is_none_or(|status| status.starts_with(['T', 'Z'])).then_some(());
    eventually("the process stands still", PATIENCE, stopped).await;
}

fn pid_of(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id")
}

/// The processes whose parent is this one.
fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    status_of(pid)?.split_whitespace().nth(1)?.parse().ok()
}

/// State, parent and so on: what follows the name, which stands in parentheses and may hold anything.
fn status_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.trim_start().to_owned())
}
