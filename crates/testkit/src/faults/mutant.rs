//! A copy of the program with bugs in it, each behind a switch that the copy alone has: so one build serves all of them, and
//! the program as it is shipped knows nothing of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::bug::{Bug, planted};

/// The variable that names the bugs that are on, separated by commas.
const VARIABLE: &str = "PLANTED";
/// What is hidden and needed all the same.
const NEEDED: &str = ".sqlx";
/// What no build needs.
const USELESS: [&str; 2] = ["target", "node_modules"];
/// Added to each crate that has bugs.
const SWITCHES: &str = r#"
/// Whether this bug is switched on.
pub(crate) fn planted(bug: &str) -> bool {
    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ON.get_or_init(|| std::env::var("PLANTED").unwrap_or_default()).split(',').any(|on| on == bug)
}
"#;

/// The copy, built.
#[derive(Debug)]
pub struct Mutant {
    program: PathBuf,
    folder: PathBuf,
}

impl Mutant {
    /// Copies the workspace at `root` into `folder`, plants all of these bugs, and builds it. What was built before stays there,
    /// so that only the first time takes long.
    ///
    /// # Panics
    /// If a bug does not fit, or the copy does not compile.
    pub fn build(root: &Path, folder: &Path, bugs: &[Bug]) -> Self {
        let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
        let mut changed = planted(bugs, read).unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
        for root_file in changed.keys().map(|file| root_file(root, file)).collect::<BTreeSet<_>>() {
            let text = changed.remove(&root_file).unwrap_or_else(|| read(&root_file));
            changed.insert(root_file, text + SWITCHES);
        }
        let sources = folder.join("sources");
        copy(root, &sources, &changed);
        let target = folder.join("built");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--package", "omnichat", "--bin", "omnichat"])
            .current_dir(&sources)
            .env("CARGO_TARGET_DIR", &target)
            .env("SQLX_OFFLINE", "true")
            .status()
            .expect("cargo starts");
        assert!(status.success(), "the copy with bugs does not compile");
        Self { program: target.join("debug/omnichat"), folder: folder.to_owned() }
    }

    /// The program with these bugs switched on, for as long as the test runs.
    pub fn with(&self, name: &str, switches: &str) -> &'static str {
        let script = self.folder.join(format!("omnichat-{name}"));
        let text = format!("#!/bin/sh\n{VARIABLE}={switches} exec '{}' \"$@\"\n", self.program.display());
        fs::write(&script, text).expect("a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it may be run");
        Box::leak(script.to_string_lossy().into_owned().into_boxed_str())
    }
}

/// The root of the crate that a file belongs to: `crates/chat/src/lib.rs`.
fn root_file(root: &Path, file: &str) -> String {
    let (of_crate, _) = file.split_once("/src/").unwrap_or_else(|| panic!("{file} is in no crate"));
    let library = format!("{of_crate}/src/lib.rs");
    if root.join(&library).exists() { library } else { format!("{of_crate}/src/main.rs") }
}

/// Makes `to` the same as `from`, but for what is changed. Files that are the same already are left alone, so that cargo sees
/// what is new.
fn copy(from: &Path, to: &Path, changed: &BTreeMap<String, String>) {
    let mut files = Vec::new();
    collect(from, from, &mut files);
    for file in &files {
        let text = changed.get(file).map(|text| text.clone().into_bytes());
        let text = text.unwrap_or_else(|| fs::read(from.join(file)).unwrap());
        let place = to.join(file);
        if fs::read(&place).ok().as_ref() != Some(&text) {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, text).unwrap();
        }
    }
    let mut there = Vec::new();
    collect(to, to, &mut there);
    let files: BTreeSet<_> = files.into_iter().collect();
    there
        .iter()
        .filter(|file| !files.contains(*file))
        .for_each(|file| fs::remove_file(to.join(file)).unwrap());
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let skipped = name.starts_with('.') && name != NEEDED || USELESS.contains(&&*name);
        if path.is_dir() && !skipped {
            collect(root, &path, files);
        } else if path.is_file() && !skipped {
            files.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;

    #[test]
    fn a_copy_is_the_same_but_for_what_is_changed_and_what_is_gone_is_gone() {
        let (from, to) = (Folder::new("sources"), Folder::new("copy"));
        let write = |name: &str, text: &str| {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        ["crates/a/src/lib.rs", "crates/a/src/old.rs", ".sqlx/query.json", ".git/head", "target/debug/a"]
            .iter()
            .for_each(|name| write(name, name));
        let changed = BTreeMap::from([("crates/a/src/lib.rs".to_owned(), "changed".to_owned())]);
        copy(from.path(), to.path(), &changed);
        fs::remove_file(from.path().join("crates/a/src/old.rs")).unwrap();
        copy(from.path(), to.path(), &changed);
        let mut there = Vec::new();
        collect(to.path(), to.path(), &mut there);
        there.sort();
        assert_eq!(there, [".sqlx/query.json", "crates/a/src/lib.rs"]);
        assert_eq!(fs::read_to_string(to.path().join("crates/a/src/lib.rs")).unwrap(), "changed");
        assert_eq!(
            fs::read_to_string(from.path().join("crates/a/src/lib.rs")).unwrap(),
            "crates/a/src/lib.rs"
        );
    }

    #[test]
    fn switches_are_added_to_the_root_of_a_crate() {
        let folder = Folder::new("roots");
        fs::create_dir_all(folder.path().join("crates/a/src")).unwrap();
        fs::write(folder.path().join("crates/a/src/lib.rs"), "").unwrap();
        assert_eq!(root_file(folder.path(), "crates/a/src/b/c.rs"), "crates/a/src/lib.rs");
        assert_eq!(root_file(folder.path(), "crates/b/src/c.rs"), "crates/b/src/main.rs");
        assert!(SWITCHES.contains(VARIABLE));
    }
}
