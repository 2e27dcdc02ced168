//! One data dir, and what runs on it.

use std::{
    ffi::OsString,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use testkit::{Client, Process, Signal, eventually, folder::Folder};

use crate::SOON;

/// A machine's `omnichat up`.
pub struct Installation {
    folder: Folder,
    starts: u32,
}

/// `omnichat up`, ready.
pub struct Up {
    pub process: Process,
    /// `run.json`
    pub run: Value,
}

impl Installation {
    pub fn new() -> Self {
        Self { folder: Folder::new("up"), starts: 0 }
    }

    /// Starts it, and waits until it has printed that it is ready.
    pub async fn up(&mut self) -> Up {
        let mut process = self.start();
        let run = eventually("omnichat up is ready", SOON, async || {
            assert!(!process.has_ended(), "{}", process.last_words());
            let run = fs::read(self.data_dir().join("run.json")).ok()?;
            process.printed().contains("--timeout").then(|| serde_json::from_slice(&run).unwrap())
        });
        let run = run.await;
        Up { process, run }
    }

    /// Starts it.
    pub fn start(&mut self) -> Process {
        self.starts += 1;
        let log = self.folder.path().join(format!("{}.log", self.starts));
        Process::start(self.command(), log)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self) -> Command {
        let mut command = omnichat();
        command.args(["up", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0", "--data-dir"]);
        command.arg(self.data_dir()).current_dir(self.folder.path());
        // Otherwise an Ollama that runs on this machine would answer.
        command.env("LLM_PROVIDER", "simulator");
        command
    }
}

impl Up {
    /// Its API.
    pub fn client(&self) -> Client {
        let address = self.run["http"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        Client::at(address.expect("an address"))
    }

    /// Kills all of it at one moment: the supervisor, the nats-server and Postgres.
    pub async fn kill_everything(mut self) {
        self.process.signal(Signal::STOP);
        for child in children(self.process.pid()) {
            testkit::process::signal(child, Signal::KILL);
        }
        self.process.signal(Signal::KILL);
        self.process.exit().await;
    }
}

/// The program, without anything of this process's environment but what finds programs.
pub fn omnichat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnichat"));
    command.env_clear().envs(host_variables());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// `PATH`, and what names servers on machines where they are nowhere usual.
fn host_variables() -> impl Iterator<Item = (OsString, OsString)> {
    const NAMES: [&str; 5] = ["PATH", "HOME", "XDG_CACHE_HOME", "OMNICHAT_NATS_SERVER", "OMNICHAT_PG_BIN"];
    std::env::vars_os().filter(|(name, _)| NAMES.iter().any(|known| name == known))
}

fn children(parent: u32) -> Vec<u32> {
    let ps = run(Command::new("ps").args(["-A", "-o", "pid=,ppid="]));
    let text = String::from_utf8(ps.stdout).unwrap();
    let pairs = text.lines().filter_map(|line| line.trim().split_once(' '));
    pairs.filter(|(_, ppid)| ppid.trim() == parent.to_string()).map(|(pid, _)| pid.parse().unwrap()).collect()
}
