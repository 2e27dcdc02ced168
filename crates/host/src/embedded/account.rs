use super::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unprivileged user that runs Postgres when we are root, because Postgres refuses to be root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, `postgres` or `nobody`.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// `None` when we are not root: then Postgres runs as ourselves.
    ///
    /// # Errors
    /// [`Error::NoAccount`] if we are root and there is no such user.
    pub fn for_postgres() -> Result<Option<Self>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"].iter().find_map(|name| find(&passwd, name));
        found.map(Some).ok_or(Error::NoAccount)
    }

    /// Makes `command` run as this user. Supplementary groups are dropped with root's rights.
    pub fn runs(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid).env("USER", &self.name).env("LOGNAME", &self.name);
    }

    /// Gives `path` to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("change the owner of", path))
    }

    /// # Errors
    /// [`Error::Unreachable`] if this user may not enter `path` or a folder above it.
    pub(super) fn reaches(&self, path: &Path) -> Result<(), Error> {
        let from_the_root: Vec<&Path> = path.ancestors().collect();
        match from_the_root.into_iter().rev().find(|dir| !self.may_enter(dir)) {
            None => Ok(()),
            Some(closed) => Err(Error::Unreachable {
                account: self.name.clone(),
                path: path.to_owned(),
                closed: PathBuf::from(closed),
            }),
        }
    }

    fn may_enter(&self, dir: &Path) -> bool {
        let Ok(metadata) = fs::metadata(dir) else { return false };
        let enter = match () {
            () if metadata.uid() == self.uid => 0o100,
            () if metadata.gid() == self.gid => 0o010,
            () => 0o001,
        };
        metadata.mode() & enter != 0
    }
}

/// `name:password:uid:gid:…`; macOS writes nobody's ids as -2.
fn find(passwd: &str, name: &str) -> Option<Account> {
    let id = |field: &str| field.parse().ok().or_else(|| field.parse().ok().map(i32::cast_unsigned));
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [first, _, uid, gid, ..] if first == name => {
                Some(Account { name: name.to_owned(), uid: id(uid)?, gid: id(gid)? })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgresql:x:9:9::/:\npostgres:x:101:104:,,,:/var:/bin/sh\nbroken\n";
        assert_eq!(find(passwd, "postgres"), Some(Account { name: "postgres".into(), uid: 101, gid: 104 }));
        assert_eq!(find(passwd, "nobody"), None);
    }

    #[test]
    fn ids_may_be_negative() {
        let nobody = find("nobody:*:-2:-2:Unprivileged:/:/usr/bin/false", "nobody").unwrap();
        assert_eq!((nobody.uid, nobody.gid), (4_294_967_294, 4_294_967_294));
    }

    #[test]
    fn the_closed_folder_on_the_way_is_named() {
        let stranger = Account { name: "stranger".into(), uid: 54_321, gid: 54_321 };
        let top = std::env::temp_dir().join(super::super::unique_name());
        let closed = top.join("closed");
        fs::create_dir_all(closed.join("inner")).unwrap();
        let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&top, mode(0o755)).unwrap();
        fs::set_permissions(&closed, mode(0o700)).unwrap();
        let refusal = stranger.reaches(&closed.join("inner")).unwrap_err();
        assert!(matches!(refusal, Error::Unreachable { closed: named, .. } if named == closed));
        fs::remove_dir_all(top).unwrap();
    }
}
