//! The descriptions of SQL statements in `.sqlx`, against the statements.

use std::fs;

use crate::tree;

/// A statement that has none does not compile without a database; one that nobody asks any more is seen only here.
#[test]
fn every_described_statement_is_still_asked() {
    let mut sources = tree::files("rs");
    sources.extend(tree::files("sql"));
    let mut described = 0;
    for entry in fs::read_dir(tree::root().join(".sqlx")).unwrap() {
        let path = entry.unwrap().path();
        let description: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let statement = description["query"].as_str().unwrap().trim();
        let asked = sources.iter().any(|file| file.text.contains(statement));
        assert!(asked, "nobody asks {}: delete it\n{statement}", path.display());
        described += 1;
    }
    assert!(described > 0, "no statement is described");
}
