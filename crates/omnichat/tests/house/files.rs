//! The size of files, their names, and what may not stand in them.

use crate::tree::{self, File};

const LINES_MAX: usize = 500;
const TEST_LINES_MAX: usize = 800;
const MEDIAN_LINES_MAX: usize = 130;

/// Names that say nothing, so that everything ends up under them.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "misc", "manager", "types"];

fn wrong(of: impl Fn(&File) -> Option<String>) -> Vec<String> {
    let files = tree::files("rs");
    files.iter().filter_map(|file| Some(format!("{}: {}", file.path, of(file)?))).collect()
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let too_long = wrong(|file| {
        let most = if file.is_test() { TEST_LINES_MAX } else { LINES_MAX };
        (file.lines() > most).then(|| format!("{} lines, at most {most}", file.lines()))
    });
    tree::report(&too_long, "make it a folder, split by what its parts define");
}

#[test]
fn half_of_the_files_fit_on_two_screens() {
    let sources = tree::files("rs").into_iter().filter(|file| file.path.contains("/src/") && !file.is_test());
    let mut lengths: Vec<_> = sources.map(|file| file.lines()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES_MAX, "the median of {} files is {median} lines", lengths.len());
}

#[test]
fn a_file_is_named_by_the_noun_it_defines() {
    let empty = wrong(|file| EMPTY_NAMES.contains(&file.stem()).then(|| "says nothing".to_owned()));
    tree::report(&empty, "name the thing");
}

#[test]
fn nothing_is_left_undone_or_silenced() {
    let mut banned = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!(")).to_vec();
    banned.extend(["allow(", "ignore]", "ignore ="].map(|name| format!("#[{name}")));
    banned.push(format!("#![{}(", "allow"));
    let found = wrong(|file| {
        let found = banned.iter().find(|text| file.text.contains(text.as_str()))?;
        Some(format!("has {found}"))
    });
    tree::report(&found, "finish it, or #[expect] it with a reason");
}
