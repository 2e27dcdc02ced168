use super::{Account, Error, unique_name};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where Postgres lives when its user cannot get into a data dir of root's.
const SYSTEM_STATE: &str = "/var/lib/omnichat";

/// A folder that one process at a time may use: two servers on the same files destroy them. The lock is an `flock`, so it
/// ends with its holder and is never stale.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: File,
}

/// The addresses in use, as scripts read them from `<data dir>/run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Base URL of the HTTP API.
    pub http: String,
    /// URL of the nats-server.
    pub nats: String,
    /// URL of the database.
    pub postgres: String,
    /// The process that runs all of it.
    pub pid: u32,
}

impl DataDir {
    /// Makes the folder if need be (for its user alone; root's may be entered, so that Postgres's user gets to its part)
    /// and locks it.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`] names the process that has it; [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        create(path, if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 })?;
        let path = fs::canonicalize(path).map_err(Error::io("find", path))?;
        let file = path.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true).mode(0o600);
        let lock = options.open(&file).map_err(Error::io("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::AlreadyRunning { pid: holder(&lock), dir: path });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", file)(error)),
        }
        sign(&lock).map_err(Error::io("write", file))?;
        let dir = Self { path, lock };
        dir.retract();
        Ok(dir)
    }

    /// Its absolute path, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the nats-server of this data dir lives.
    #[must_use]
    pub fn nats(&self) -> PathBuf {
        self.path.join("nats")
    }

    /// Where the Postgres of this data dir lives: within it, unless we are root and Postgres's user may not get there
    /// (root's home is closed). Then it is a folder of the system's state, to which a link in the data dir points:
    /// whoever deletes the data dir starts afresh.
    ///
    /// # Errors
    /// [`Error::NoAccount`]; [`Error::Unreachable`] if there is no place in the system's state either.
    pub fn postgres(&self) -> Result<PathBuf, Error> {
        let within = self.path.join("postgres");
        if let Ok(elsewhere) = fs::read_link(&within) {
            return Ok(elsewhere);
        }
        let Some(account) = Account::for_postgres()? else { return Ok(within) };
        let Err(closed) = account.reaches(&self.path) else { return Ok(within) };
        let elsewhere = Path::new(SYSTEM_STATE).join(unique_name());
        let made = create(SYSTEM_STATE.as_ref(), 0o755).and_then(|()| create(&elsewhere, 0o711));
        if within.exists() || made.and_then(|()| account.reaches(&elsewhere)).is_err() {
            return Err(closed);
        }
        symlink(&elsewhere, &within).map_err(Error::io("link", within))?;
        tracing::info!(path = %elsewhere.display(), "the database lives outside the data dir: {closed}");
        Ok(elsewhere)
    }

    /// Tells scripts the addresses in use, until this handle is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&self, run: &Run) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(run).unwrap_or_default();
        let (file, fresh) = (self.path.join("run.json"), self.path.join("run.json.new"));
        fs::write(&fresh, text + "\n").map_err(Error::io("write", &fresh))?;
        fs::rename(&fresh, &file).map_err(Error::io("write", file))
    }

    fn retract(&self) {
        let _ = fs::remove_file(self.path.join("run.json"));
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        self.retract();
        // Closing the file would not do: a child that is forked and has yet to exec has the same open file, and the lock.
        let _ = self.lock.unlock();
    }
}

/// Makes the folder with this mode, whatever the umask; one that is there already keeps its own.
pub(super) fn create(path: &Path, mode: u32) -> Result<(), Error> {
    let failed = || Error::io("create", path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed())?;
    }
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(failed()(error)),
    }
}

fn sign(mut lock: &File) -> std::io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(mut lock: &File) -> Option<u32> {
    let mut pid = String::new();
    lock.read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_dir_given_free_is_free_though_a_child_has_yet_to_exec() {
        let path = std::env::temp_dir().join(unique_name());
        let dir = DataDir::open(&path).unwrap();
        let childs = dir.lock.try_clone().unwrap();
        assert!(DataDir::open(&path).is_err());
        drop(dir);
        let again = DataDir::open(&path);
        assert!(again.is_ok(), "{again:?}");
        drop((childs, again));
        fs::remove_dir_all(path).unwrap();
    }
}
