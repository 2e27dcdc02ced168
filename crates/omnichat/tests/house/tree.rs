//! The files of the workspace, as they stand.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text file.
pub struct File {
    /// From the root of the workspace, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    /// The name without the folder and the extension.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap();
        name.split('.').next().unwrap()
    }

    /// Whether it is read by tests only.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// A file of the project.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether there is such a file or folder.
pub fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// All files with this extension, in order.
pub fn files(extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), extension, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there is no .{extension} at all: is {} the workspace?", root().display());
    found
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                collect(&path, extension, found);
            }
        } else if path.extension().is_some_and(|it| it == extension) {
            let inside = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.push(File { text: fs::read_to_string(&path).unwrap(), path: inside });
        }
    }
}

/// What stands in `text` between the two comments of this name.
pub fn block<'a>(text: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (_, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{begin:?} is missing"));
    rest.split_once(&end).unwrap_or_else(|| panic!("{end:?} is missing")).0
}

/// The cells of each row of a table, its two head lines left out.
pub fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Lines that hold what was found wrong.
pub fn report(wrong: &[String], rule: &str) {
    assert!(wrong.is_empty(), "{rule}:\n  {}\n", wrong.join("\n  "));
}
