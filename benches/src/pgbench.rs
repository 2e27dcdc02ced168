//! What the same Postgres reaches when the same rows are written one by one, by its own load driver.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use host::Environment;
use llm::{Message, simulator};
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::process::Command;

use crate::{driver::MESSAGE, latencies::Latencies};

/// How a turn's rows are written one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `begin`, two inserts, `commit`; twice.
    Transactions,
    /// One statement with both inserts; twice.
    Statements,
}

/// One way to run pgbench.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What each client does, again and again.
    pub form: Form,
    /// How many do it at a time.
    pub clients: u32,
}

/// What is run before and after the product.
pub const LOADS: [Load; 4] = [
    Load { form: Form::Transactions, clients: 32 },
    Load { form: Form::Transactions, clients: 1 },
    Load { form: Form::Statements, clients: 32 },
    Load { form: Form::Statements, clients: 1 },
];

/// A database of its own, with the product's schema.
const DATABASE: &str = "pgbench";

/// A pgbench that can run.
pub struct Pgbench {
    program: PathBuf,
    options: PgConnectOptions,
    database: PgPool,
    /// The name of the product's database.
    product: String,
    /// For the script and the logs.
    dir: PathBuf,
}

/// What it reached.
#[derive(Debug)]
pub struct Figures {
    /// Turns (runs of the script) per second.
    pub turns_per_s: f64,
    /// Of one turn: both transactions.
    pub latencies: Latencies,
}

impl Form {
    /// What a reader should call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Statements => "statements",
        }
    }

    const fn script(self) -> &'static str {
        match self {
            Self::Transactions => include_str!("pgbench/transactions.sql"),
            Self::Statements => include_str!("pgbench/statements.sql"),
        }
    }

    fn file(self) -> String {
        format!("{}.sql", self.name())
    }
}

impl Pgbench {
    /// Finds the program and makes the database. None if this machine has no pgbench.
    pub async fn prepare(url: &str, postmaster: u32, dir: &Path) -> anyhow::Result<Option<Self>> {
        let Some(program) = find(postmaster) else { return Ok(None) };
        fs::create_dir_all(dir)?;
        for form in [Form::Transactions, Form::Statements] {
            fs::write(dir.join(form.file()), form.script())?;
        }
        let product: PgConnectOptions = url.parse()?;
        let mut connection = PgConnection::connect_with(&product).await?;
        sqlx::raw_sql("create database pgbench").execute(&mut connection).await?;
        connection.close().await?;
        let name = product.get_database().unwrap_or_default().to_owned();
        let options = product.database(DATABASE);
        let database = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        host::postgres::migrate(&database).await?;
        Ok(Some(Self { program, options, database, product: name, dir: dir.to_owned() }))
    }

    /// Writes turns for so long, beginning with empty tables.
    pub async fn run(&self, load: Load, length: Duration) -> anyhow::Result<Figures> {
        sqlx::raw_sql("truncate turns, outcomes, messages").execute(&self.database).await?;
        let logs = self.dir.join("logs");
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        figures(self.command(load, length, &logs), &logs).await
    }

    fn command(&self, Load { form, clients }: Load, length: Duration, logs: &Path) -> Command {
        let mut command = self.client(clients, length, logs);
        command.args(["--define", "seq=0", "--define", &format!("question={MESSAGE}")]);
        command.args(["--define", &format!("answer={}", simulator::answer(&[Message::user(MESSAGE)]))]);
        command.arg("--file").arg(self.dir.join(form.file())).arg(DATABASE);
        command
    }

    /// Asks one query of the product's own database again and again.
    pub async fn ask(&self, query: &str, clients: u32, length: Duration) -> anyhow::Result<Figures> {
        let (script, logs) = (self.dir.join("query.sql"), self.dir.join("logs"));
        fs::write(&script, query)?;
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        let mut command = self.client(clients, length, &logs);
        command.arg("--file").arg(script).arg(&self.product);
        figures(command, &logs).await
    }

    fn client(&self, clients: u32, length: Duration, logs: &Path) -> Command {
        let host = Path::new(self.options.get_host());
        let host = self.options.get_socket().map_or(host, |socket| socket.as_path());
        let mut command = Command::new(&self.program);
        command.arg("--host").arg(host).args(["--port", &self.options.get_port().to_string()]);
        command.args(["--username", self.options.get_username(), "--no-vacuum", "--protocol", "prepared"]);
        command.args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()]);
        command.args(["--time", &length.as_secs().to_string()]);
        command.arg("--log").arg("--log-prefix").arg(logs.join("log"));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

async fn figures(mut command: Command, logs: &Path) -> anyhow::Result<Figures> {
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = || format!("pgbench: {}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), failed());
    Ok(Figures { turns_per_s: tps(&said).with_context(failed)?, latencies: read_logs(logs)? })
}

/// Beside the running server's program; on PATH; where Debian puts it.
fn find(postmaster: u32) -> Option<PathBuf> {
    let beside = fs::read_link(format!("/proc/{postmaster}/exe")).ok();
    let beside = beside.map(|program| program.with_file_name("pgbench"));
    let environment = Environment::of_process();
    let on_path = environment.get("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(on_path).map(|dir| dir.join("pgbench"));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let packaged = versions.map(|version| version.path().join("bin/pgbench"));
    beside.into_iter().chain(on_path).chain(packaged).find(|program| program.is_file())
}

/// `tps = 4634.123456 (without initial connection time)`
fn tps(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

fn read_logs(dir: &Path) -> anyhow::Result<Latencies> {
    let mut durations_us = Vec::new();
    for entry in fs::read_dir(dir)? {
        let text = fs::read_to_string(entry?.path())?;
        durations_us.extend(text.lines().filter_map(duration_us));
    }
    Ok(durations_us.into_iter().collect())
}

/// The third field: `client transaction time …`
fn duration_us(line: &str) -> Option<u32> {
    line.split(' ').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_times_are_found() {
        let said = "latency average = 7 ms\ninitial connection time = 9 ms\ntps = 4634.5 (without initial connection time)\n";
        assert_eq!(tps(said), Some(4634.5));
        assert_eq!(tps("pgbench: error"), None);
        assert_eq!(duration_us("0 199 2241 0 1175850568 995598"), Some(2241));
    }
}
