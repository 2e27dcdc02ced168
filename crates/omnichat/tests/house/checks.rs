//! The table of what must hold under faults, against the checks.

use std::fmt::Write;

use testkit::faults::checks::CHECKS;

use crate::tree;

#[test]
fn every_check_is_described() {
    let mut expected = String::new();
    for check in CHECKS {
        writeln!(expected, "| {} | {} |", check.name, check.promise).unwrap();
    }
    let paper = tree::read("docs/fault-harness.md");
    assert!(tree::block(&paper, "checks") == expected, "docs/fault-harness.md should have:\n{expected}");
}
