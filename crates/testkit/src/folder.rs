//! Folders of one test process, outside the checkout, removed however the process ends.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Removes the folder once our end of its standard input is closed, that is, once we are gone. Servers that end with us
/// may write a last word meanwhile, so it tries again.
const REAPER: &str =
    r#"cat; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$0" 2>/dev/null && exit; sleep 1; done"#;

/// A folder that other users may enter, which Postgres's user must. It is gone when this is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one for `purpose`.
    pub fn new(purpose: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let path = of_process().join(format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        create(&path);
        Self(path)
    }

    /// A new one of this name in another folder.
    pub(crate) fn within(parent: &Path, name: &str) -> Self {
        let path = parent.join(name);
        create(&path);
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder of this test process.
fn of_process() -> &'static Path {
    static FOLDER: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (path, _) = FOLDER.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("omnichat-tests-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        create(&path);
        let mut reaper = Command::new("sh");
        // In a process group of its own, so that Ctrl-C reaches us alone.
        reaper.args(["-c", REAPER]).arg(&path).process_group(0);
        reaper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let reaper = reaper.spawn().expect("a shell to remove the folder when we are gone");
        (path, reaper)
    });
    path
}

fn create(path: &Path) {
    fs::create_dir(path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
