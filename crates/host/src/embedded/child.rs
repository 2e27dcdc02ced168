use super::Error;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 4096;

/// A process that ends when we do: on drop, and, on Linux, even when we are killed.
///
/// Each has a thread of ours that starts it and waits for it. It must be a thread of its own: the kernel's "parent died"
/// signal comes when the *thread* that forked ends, and a runtime's threads come and go.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    pid: Pid,
    log: PathBuf,
    halt: Signal,
    exit: watch::Receiver<Option<ExitStatus>>,
    guard: Option<JoinHandle<()>>,
}

impl Child {
    /// Starts `command` in a process group of its own, so that Ctrl-C reaches us alone, writing to a fresh `log` (the last
    /// one stays beside it as `.old`). `halt` is what ends it at once.
    ///
    /// # Errors
    /// [`Error::Io`] if the log cannot be written or the program cannot be started.
    pub(super) async fn spawn(
        name: &'static str,
        mut command: Command,
        log: PathBuf,
        halt: Signal,
    ) -> Result<Self, Error> {
        let output = fresh_log(&log).map_err(Error::io("write", &log))?;
        let errors = output.try_clone().map_err(Error::io("write", &log))?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        die_with_us(&mut command);

        let program = PathBuf::from(command.get_program());
        let (started, start) = oneshot::channel();
        let (exited, exit) = watch::channel(None);
        let guard = thread::Builder::new()
            .name(format!("{name}-guard"))
            .spawn(move || guard(command, started, &exited))
            .map_err(Error::io("start a thread for", name))?;
        let started = start.await.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into()));
        let pid = started.map_err(Error::io("start", program))?;
        Ok(Self { name, pid, log, halt, exit, guard: Some(guard) })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Once the process has ended.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await;
        status.ok().and_then(|status| *status).unwrap_or_default()
    }

    /// The error that says that it ended, and its last words.
    pub(super) async fn died(&self) -> Error {
        let status = self.exited().await;
        Error::Exited { name: self.name, status, log: self.log.clone(), tail: tail(&self.log) }
    }

    /// The error that says that it lives but is of no use.
    pub(super) fn not_ready(&self, after: Duration, because: String) -> Error {
        Error::NotReady { name: self.name, after, because, log: self.log.clone(), tail: tail(&self.log) }
    }

    /// Once it ended well.
    ///
    /// # Errors
    /// [`Error::Exited`] if it did not.
    pub(super) async fn succeeded(&self) -> Result<(), Error> {
        if self.exited().await.success() { Ok(()) } else { Err(self.died().await) }
    }

    /// Asks it to end with each signal in turn, granting the time beside it, and kills it in the end.
    pub(super) async fn stop(&self, requests: &[(Signal, Duration)]) {
        for (signal, patience) in requests {
            self.signal(*signal);
            if tokio::time::timeout(*patience, self.exited()).await.is_ok() {
                return;
            }
            tracing::warn!(server = self.name, ?signal, ?patience, "does not end");
        }
        self.signal(Signal::KILL);
        self.exited().await;
    }

    /// The guard reaps the process under this channel's lock, so a pid is never signalled after it was given back.
    fn signal(&self, signal: Signal) {
        let exit = self.exit.borrow();
        if exit.is_none() {
            let _ = rustix::process::kill_process(self.pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(self.halt);
        self.signal(Signal::CONT); // a stopped process would not hear the first
        if let Some(guard) = self.guard.take() {
            let _ = guard.join();
        }
    }
}

fn guard(
    mut command: Command,
    started: oneshot::Sender<io::Result<Pid>>,
    exited: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return drop(started.send(Err(error))),
    };
    let pid = Pid::from_child(&child);
    if started.send(Ok(pid)).is_err() {
        let _ = child.kill(); // whoever asked for it is gone
    }
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), ended));
    exited.send_modify(|exit| *exit = Some(child.wait().unwrap_or_default()));
}

/// Also lifts a strict umask: what pip unpacks for root, Postgres's user must be able to read. Servers close their own
/// files by themselves.
#[expect(
    unsafe_code,
    reason = "only between fork and exec can a process ask to be signalled when its parent dies"
)]
fn die_with_us(command: &mut Command) {
    #[cfg(target_os = "linux")]
    let us = rustix::process::getpid();
    let prepare = move || {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
            if rustix::process::getppid() != Some(us) {
                return Err(ErrorKind::Interrupted.into()); // we died before the kernel knew
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(prepare) };
}

fn fresh_log(log: &Path) -> io::Result<File> {
    if log.exists() {
        fs::rename(log, log.with_added_extension("old"))?;
    }
    OpenOptions::new().create_new(true).append(true).mode(0o600).open(log)
}

fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error: io::Error| format!("(unreadable: {error})"))
}
