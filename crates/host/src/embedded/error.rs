use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// Why a private server is not there. Each text says what to do about it, as far as that is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Somebody holds the folder's lock: another process, or another handle in this one.
    #[error("{} is in use by {}", dir.display(), pid.map_or("another process".into(), |pid| format!("process {pid}")))]
    AlreadyRunning {
        /// The folder both want.
        dir: PathBuf,
        /// Who has it, if it has said so yet.
        pid: Option<u32>,
    },

    /// The operating system refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried, with the path or the address.
        doing: String,
        /// Its refusal.
        source: io::Error,
    },

    /// We are root, Postgres refuses to be, and there is nobody else.
    #[error(
        "Postgres does not run as root, and this system has neither a user `postgres` nor a user `nobody`"
    )]
    NoAccount,

    /// The user that runs Postgres cannot get to its folder or to its program.
    #[error("user {account} may not enter {}, on the way to {}: choose another place, or `chmod o+x {}`", closed.display(), path.display(), closed.display())]
    Unreachable {
        /// The user's name.
        account: String,
        /// Where it should get.
        path: PathBuf,
        /// The first folder on the way that it may not enter.
        closed: PathBuf,
    },

    /// There is no usable program, and none could be fetched.
    #[error("found no usable {what}{}\n  and fetched none: {because}\n{ways_out}", list(skipped))]
    NotFound {
        /// The program and the version it needs.
        what: String,
        /// What was found and why it was passed over.
        skipped: Vec<String>,
        /// Why it was not fetched instead.
        because: String,
        /// What the user can do.
        ways_out: &'static str,
    },

    /// A program ended that should have gone on, or failed at its one job.
    #[error("{name} ended ({status}); the end of {}:\n{tail}", log.display())]
    Exited {
        /// The program.
        name: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Where it logs.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },

    /// The program lives, but cannot be used.
    #[error("{name} is not ready after {} s ({because}); the end of {}:\n{tail}", after.as_secs(), log.display())]
    NotReady {
        /// The program.
        name: &'static str,
        /// How long it had.
        after: Duration,
        /// What the last attempt to use it said.
        because: String,
        /// Where it logs.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },

    /// Our nats-server's address is answered by a server that is not ours.
    #[error(
        "{addr} is answered by the nats-server {found:?}, which is not the one started here ({expected:?})"
    )]
    Stranger {
        /// The address.
        addr: SocketAddr,
        /// The name it should have given.
        expected: String,
        /// The name it gave.
        found: String,
    },

    /// What an earlier run left behind does not end, even when killed.
    #[error("process {pid}, left by an earlier run, still works in {} and cannot be ended: end it by hand", dir.display())]
    Leftover {
        /// One such process.
        pid: u32,
        /// Its folder.
        dir: PathBuf,
    },

    /// Postgres is up, and refused a statement of ours.
    #[error("the private Postgres refused to {doing}: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Its refusal.
        source: sqlx::Error,
    },
}

impl Error {
    /// For `map_err`: `Error::io("write", path)`.
    pub(super) fn io(verb: &str, what: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{verb} {}", what.as_ref().display());
        move |source| Self::Io { doing, source }
    }
}

fn list(skipped: &[impl Display]) -> String {
    skipped.iter().map(|reason| format!("\n  skipped {reason}")).collect()
}
