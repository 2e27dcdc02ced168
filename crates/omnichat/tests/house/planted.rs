//! The bugs that the fault harness must find: that they still fit the sources, and are described.

use std::fmt::Write;

use testkit::faults::bug::{Bug, planted};

use crate::tree;

fn bugs() -> Vec<Bug> {
    Bug::all(&tree::root().join("crates/omnichat/tests/planted/bugs"))
}

#[test]
fn every_bug_can_still_be_planted() {
    let bugs = bugs();
    tree::report(&planted(&bugs, tree::read).err().unwrap_or_default(), "mend the files of these bugs");
    for bug in &bugs {
        // A run that cannot be made ends the test.
        bug.aim();
        for hidden_by in &bug.with {
            assert!(
                bugs.iter().any(|other| other.name == *hidden_by),
                "{}: there is no {hidden_by}",
                bug.name
            );
        }
    }
}

#[test]
fn every_bug_is_described() {
    let mut expected = String::new();
    for bug in bugs() {
        writeln!(expected, "| {} | {} |", bug.what, bug.found_by).unwrap();
    }
    let paper = tree::read("docs/fault-harness.md");
    assert!(tree::block(&paper, "planted") == expected, "docs/fault-harness.md should have:\n{expected}");
}
