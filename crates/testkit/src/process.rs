//! One process of the program under test.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::eventually;

/// Far longer than a start or an orderly end takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when something went wrong.
const LAST_LINES: usize = 40;

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// A good end.
    pub const SUCCESS: Self = Self { code: Some(0), signal: None };
}

impl Process {
    /// Starts `command`. What it logs goes to `log`, what it prints to a file beside it. It is killed when the thread that
    /// calls this ends, that is, with the test.
    pub fn start(mut command: Command, log: PathBuf) -> Self {
        let (errors, output) = (File::create(&log).unwrap(), File::create(printed_at(&log)).unwrap());
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        die_with_us(&mut command);
        Self { child: command.spawn().expect("the program starts"), log }
    }

    /// Waits until it says that it is ready, and returns where it serves HTTP, be it the API or its status.
    ///
    /// # Panics
    /// If it ends before, or takes too long.
    pub async fn ready(&mut self) -> SocketAddr {
        match self.ready_or_ended().await {
            Ok(address) => address,
            Err(exit) => panic!("ended with {exit:?} before it was ready:\n{}", self.last_words()),
        }
    }

    /// As [`Process::ready`]; the error says how it ended instead.
    pub(crate) async fn ready_or_ended(&mut self) -> Result<SocketAddr, Exit> {
        eventually("the program is ready", PATIENCE, async || {
            let ended = self.child.try_wait().unwrap();
            match ready_line(&self.log) {
                Some(address) => Some(Ok(address)),
                None => ended.map(|status| Err(status.into())),
            }
        })
        .await
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, kind: Signal) {
        signal(self.pid(), kind);
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self) -> Exit {
        self.signal(Signal::TERM);
        self.exit().await
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it has ended.
    pub async fn exit(&mut self) -> Exit {
        eventually("the process ends", PATIENCE, async || self.child.try_wait().unwrap()).await.into()
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(printed_at(&self.log)).unwrap()
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = self.logged();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process of ours.
///
/// # Panics
/// If it is not there.
pub fn signal(pid: u32, kind: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, kind).expect("the process is there");
}

/// Runs a command to its end, which must be a good one, and returns what it printed.
pub(crate) async fn run(mut command: Command) -> String {
    die_with_us(&mut command);
    let output = tokio::process::Command::from(command).output().await.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn printed_at(log: &Path) -> PathBuf {
    log.with_extension("out")
}

/// The address in the line that says "ready", once it is written.
fn ready_line(log: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).unwrap();
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ready = lines.find(|line| line["message"] == "ready")?;
    Some(ready["http"].as_str().expect("an address in the ready line").parse().unwrap())
}

#[expect(
    unsafe_code,
    reason = "only between fork and exec can a process ask to be killed when its parent ends"
)]
fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    // SAFETY: the closure makes one system call; it neither allocates nor takes a lock.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(command, || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}
