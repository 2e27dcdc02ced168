//! Where everything is written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

/// A folder for databases and logs; a temporary one is removed in the end.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    kept: bool,
}

impl Folder {
    /// The one that was named, or a temporary one.
    ///
    /// # Errors
    /// It cannot be made, or something is in it.
    pub fn at(named: Option<&Path>) -> anyhow::Result<Self> {
        let name = format!("omnichat-bench-{}", std::process::id());
        let path = named.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let path = fs::canonicalize(path)?;
        let empty = fs::read_dir(&path)?.next().is_none();
        ensure!(empty, "{} is not empty: the counts would be wrong", path.display());
        Ok(Self { path, kept: named.is_some() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
