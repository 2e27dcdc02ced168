//! The system under test, started as a user starts it, and the provider it asks.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use host::embedded::Run;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Layout, World, WorldBuilder};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::{provider, say};

/// The first start makes the databases.
const READY_WITHIN: Duration = Duration::from_secs(120);
const STOP_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// How much of the program's log an error shows.
const TAIL_LINES: usize = 20;

/// A variable of the configuration, and its value.
pub type Setting = (&'static str, &'static str);

/// Nothing that one address or user may do only so often: the load comes from one of each.
pub const UNLIMITED: [Setting; 5] = [
    ("OMNICHAT__LIMITS__LOGINS_PER_ADDRESS_PER_MIN", "0"),
    ("OMNICHAT__LIMITS__REGISTRATIONS_PER_ADDRESS_PER_MIN", "0"),
    ("OMNICHAT__LIMITS__TURNS_PER_USER_PER_MIN", "0"),
    ("OMNICHAT__LIMITS__RUNNING_TURNS_PER_USER", "0"),
    ("OMNICHAT__HTTP__CONNECTIONS_PER_ADDRESS_MAX", "0"),
];

/// As many connections as the load needs, from one address; all other limits hold.
pub const CONNECTED: [Setting; 1] = [("OMNICHAT__HTTP__CONNECTIONS_PER_ADDRESS_MAX", "0")];

/// Everything that runs. Dropped, it is killed.
pub struct Stack {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// URL of the database.
    pub postgres: String,
    /// `omnichat up`.
    pub omnichat: Child,
    /// The provider. It ends when its input is closed.
    pub provider: Child,
}

impl Stack {
    /// Starts `program up` on the data dir and waits until it is ready.
    pub async fn start(program: &Path, data_dir: &Path, settings: &[Setting]) -> anyhow::Result<Self> {
        let (provider, base_url) = start_provider().await?;
        let log = data_dir.with_extension("log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut omnichat = Command::new(program)
            .args(["up", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir)
            .env("OMNICHAT__PROVIDERS__SIM__KIND", "openai-compatible")
            .env("OMNICHAT__PROVIDERS__SIM__BASE_URL", base_url)
            .envs([("LLM_PROVIDER", "sim"), ("LLM_MODEL", provider::MODEL)])
            .envs(settings.iter().copied())
            .current_dir(data_dir.parent().unwrap_or(data_dir)) // not where an omnichat.toml may lie
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let run = ready(&mut omnichat, data_dir, &log).await?;
        let http = run.http.trim_start_matches("http://").parse()?;
        Ok(Self { http, postgres: run.postgres, omnichat, provider })
    }

    /// Ends it in order.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.omnichat.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(pid.context("omnichat has ended by itself")?, Signal::TERM)?;
        let status = timeout(STOP_WITHIN, self.omnichat.wait()).await.context("omnichat does not end")??;
        ensure!(status.success(), "omnichat ended with {status}");
        Ok(())
    }
}

/// A process for each role, with one chat worker and a provider that answers at once, for the load of a few users. The provider
/// ends when it is dropped. `more` sets what this load needs besides.
pub async fn start_roles(
    program: &Path,
    more: impl FnOnce(WorldBuilder) -> WorldBuilder,
) -> anyhow::Result<(World, Child)> {
    let (provider, base_url) = start_provider().await?;
    let program = program.to_str().context("the program's path is no text")?.to_owned().leak();
    say("starting the servers, and a process for each role …");
    let world = World::builder(program, Layout::ProcessPerRole)
        .set("providers.simulator.base_url", base_url)
        .set("limits.running_turns_per_user", 0)
        .set("log.filter", "info");
    Ok((more(world).start().await, provider))
}

/// The program to measure: as named, or the one beside this one.
pub fn find_program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match named {
        Some(named) => named.to_owned(),
        None => std::env::current_exe()?.with_file_name("omnichat"),
    };
    fs::canonicalize(&program).with_context(|| {
        format!(
            "there is no {}: `cargo build --release -p omnichat` makes it, or name it with --binary",
            program.display()
        )
    })
}

/// Starts a provider that answers at once, and tells where it is. It ends when its input is closed.
pub async fn start_provider() -> anyhow::Result<(Child, String)> {
    let mut provider = Command::new(std::env::current_exe()?)
        .arg("provider")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = provider.stdout.take().context("the provider has no output")?;
    let first_line = BufReader::new(output).lines().next_line().await?;
    Ok((provider, first_line.context("the provider did not start")?))
}

/// Once it tells where everything is.
async fn ready(omnichat: &mut Child, data_dir: &Path, log: &Path) -> anyhow::Result<Run> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Ok(text) = fs::read(data_dir.join("run.json")) {
            return Ok(serde_json::from_slice(&text)?);
        }
        if let Some(status) = omnichat.try_wait()? {
            bail!("omnichat ended with {status}:\n{}", tail(log));
        }
        ensure!(Instant::now() < deadline, "omnichat is not ready after {READY_WITHIN:?}:\n{}", tail(log));
        sleep(POLL).await;
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
