//! The program, run to its end.

use std::{
    ffi::OsString,
    process::{Command, Output},
};

/// More than long enough for a token's secret.
pub const SECRET: &str = "a secret of the tests, of more than 32 bytes";

/// The program with nothing of this process's environment but what finds programs.
pub fn omnichat(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnichat"));
    command.args(arguments).env_clear().envs(host_variables()).envs(variables.iter().copied());
    // Nowhere is there a configuration file, and any port will do.
    command.current_dir(std::env::temp_dir()).env("OMNICHAT__HTTP__LISTEN", "127.0.0.1:0");
    command.envs(variables.iter().copied());
    command
}

/// How it ended.
pub struct Ended {
    pub code: Option<i32>,
    pub printed: String,
    pub said: String,
}

impl Ended {
    /// It ended because of its configuration, with one line that names `key` and not the value; else what is wrong.
    pub fn refuses(&self, key: &str) -> Result<(), String> {
        let Self { code, said, printed } = self;
        let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
        let named = matches!(lines[..], [line] if line.contains(key));
        if *code == Some(64) && named && !said.contains("s3cret") && printed.is_empty() {
            return Ok(());
        }
        Err(format!("{code:?} and not 64 with one line that names {key} and no value: {said}{printed}"))
    }

    /// Its last words hold these.
    pub fn says(&self, words: &str) -> Result<(), String> {
        let last = self.said.lines().last().unwrap_or_default();
        if last.contains(words) { Ok(()) } else { Err(format!("should say {words:?}: {last}")) }
    }
}

/// Runs it to its end, which comes by itself.
pub async fn end(command: Command) -> Ended {
    let running = tokio::process::Command::from(command).kill_on_drop(true).output();
    let output = tokio::time::timeout(testkit::process::PATIENCE, running).await.expect("it ends by itself");
    let Output { status, stdout, stderr } = output.expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), printed: text(stdout), said: text(stderr) }
}

/// `PATH`, and what names servers on machines where they are nowhere usual.
fn host_variables() -> impl Iterator<Item = (OsString, OsString)> {
    const NAMES: [&str; 5] = ["PATH", "HOME", "XDG_CACHE_HOME", "OMNICHAT_NATS_SERVER", "OMNICHAT_PG_BIN"];
    std::env::vars_os().filter(|(name, _)| NAMES.iter().any(|known| name == known))
}
