use super::cluster::Cluster;
use super::{Error, unique_name};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A socket's address holds 104 bytes on macOS and 108 on Linux, with the terminating zero; this many of them are
/// `/.s.PGSQL.5432` and the suffix of its lock.
const PATH_BYTES_MAX: usize = 104 - 1 - "/.s.PGSQL.5432.lock".len();

/// The folder of Postgres's socket, which only its user (and root) may enter: whoever gets to the socket is let in.
///
/// It is `socket` in Postgres's home, or, where that is too long for a socket's address, a temporary folder to which a link
/// of that name points, so that the next run finds what a killed one left.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    link: Option<PathBuf>,
}

impl SocketDir {
    /// An empty one: a leftover socket lock stops Postgres as its pid file does.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn create(cluster: &Cluster, home: &Path) -> Result<Self, Error> {
        Self::within(cluster, home, &std::env::temp_dir())
    }

    fn within(cluster: &Cluster, home: &Path, temporary: &Path) -> Result<Self, Error> {
        let place = home.join("socket");
        if let Ok(elsewhere) = fs::read_link(&place) {
            let _ = fs::remove_dir_all(elsewhere);
            fs::remove_file(&place).map_err(Error::io("remove", &place))?;
        }
        if place.as_os_str().len() <= PATH_BYTES_MAX {
            let _ = fs::remove_dir_all(&place);
            cluster.private_dir(&place)?;
            return Ok(Self { path: place, link: None });
        }
        let path = temporary.join(format!("omnichat-{}", unique_name()));
        cluster.private_dir(&path)?;
        symlink(&path, &place).map_err(Error::io("link", &place))?;
        Ok(Self { path, link: Some(place) })
    }

    /// As Postgres's list of folders wants it, and as one argument: quoted.
    pub(super) fn setting(&self) -> String {
        format!("\"{}\"", self.path.display().to_string().replace('"', "\"\""))
    }

    /// As a URL's query wants it: percent-encoded, but for what a path is usually made of.
    pub(super) fn url_encoded(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        let bytes = self.path.as_os_str().as_bytes().iter();
        bytes
            .map(|byte| if plain(*byte) { char::from(*byte).into() } else { format!("%{byte:02X}") })
            .collect()
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            let _ = fs::remove_dir_all(&self.path);
            let _ = fs::remove_file(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_is_encoded() {
        let dir = SocketDir { path: PathBuf::from("/a b/ü&c\"/.d"), link: None };
        assert_eq!(dir.url_encoded(), "/a%20b/%C3%BC%26c%22/.d");
        assert_eq!(dir.setting(), "\"/a b/ü&c\"\"/.d\"");
    }
}
