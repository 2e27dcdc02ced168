use super::account::Account;
use super::child::Child;
use super::{Error, data_dir, leftover};
use rustix::process::{Pid, Signal};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of one Postgres and the user they belong to. The home stays ours; `data` and the socket folder within it are
/// the user's.
#[derive(Debug)]
pub(super) struct Cluster {
    bin: PathBuf,
    home: PathBuf,
    account: Option<Account>,
}

impl Cluster {
    /// # Errors
    /// [`Error::NoAccount`]; [`Error::Unreachable`] if the user gets neither to the programs nor to its files.
    pub(super) fn new(bin: &Path, home: &Path) -> Result<Self, Error> {
        let account = Account::for_postgres()?;
        if let Some(account) = &account {
            account.reaches(bin)?;
            account.reaches(home)?;
        }
        Ok(Self { bin: bin.to_owned(), home: home.to_owned(), account })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.home.join(name).with_extension("log")
    }

    /// One of Postgres's programs, to run as its user.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/").env("HOME", &self.home).env("LC_ALL", "C");
        if let Some(account) = &self.account {
            account.runs(&mut command);
        }
        command
    }

    /// A folder for Postgres's user alone.
    pub(super) fn private_dir(&self, path: &Path) -> Result<(), Error> {
        data_dir::create(path, 0o700)?;
        self.account.as_ref().map_or(Ok(()), |account| account.own(path))
    }

    /// Makes the database files if there are none. They are made beside their place and moved there when whole, so an
    /// interrupted first start leaves nothing that looks like a database.
    ///
    /// # Errors
    /// [`Error::Exited`] with what `initdb` said; [`Error::Io`].
    pub(super) async fn ensure_created(&self, durable: bool) -> Result<(), Error> {
        if self.data().exists() {
            return Ok(());
        }
        let fresh = self.home.join("data.new");
        let _ = fs::remove_dir_all(&fresh);
        self.private_dir(&fresh)?;
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&fresh).args(["-U", "omnichat", "-A", "trust", "-E", "UTF8"]);
        // The same order of strings with every build of Postgres, with or without ICU.
        initdb.args(["--locale=C", "--no-instructions"]);
        if !durable {
            initdb.arg("--no-sync");
        }
        Child::spawn("initdb", initdb, self.log("initdb"), Signal::KILL).await?.succeeded().await?;
        fs::rename(&fresh, self.data()).map_err(Error::io("move to its place", &fresh))?;
        let home = File::open(&self.home).map_err(Error::io("open", &self.home))?;
        home.sync_all().map_err(Error::io("sync", &self.home))
    }

    /// Ends what a killed run left at work, and removes its `postmaster.pid`: Postgres refuses for ever to start over one
    /// whose number was given to another process of its user. The caller holds the home's lock, so nobody starts meanwhile.
    ///
    /// # Errors
    /// [`Error::Leftover`]; [`Error::Io`].
    pub(super) async fn clear_leftovers(&self) -> Result<(), Error> {
        let pid_file = self.data().join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
        let postmaster = text.lines().next().and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
        // Only the postmaster knows what SIGINT asks for. Orphaned backends end by themselves.
        leftover::end(&self.data(), "postgres", Signal::INT, postmaster).await?;
        match fs::remove_file(&pid_file) {
            Err(error) if pid_file.exists() => Err(Error::io("remove", pid_file)(error)),
            _ => Ok(()),
        }
    }
}
