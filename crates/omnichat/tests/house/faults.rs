//! `docs/faults.md` against the codes of `wire`.

use wire::FaultCode;

use crate::tree;

#[test]
fn every_fault_is_explained() {
    let paper = tree::read("docs/faults.md");
    let rows = tree::rows(tree::block(&paper, "faults"));
    let told: Vec<_> = rows.iter().map(|row| row[..3].join(" | ")).collect();
    let there: Vec<_> = FaultCode::ALL
        .iter()
        .map(|code| format!("`{}` | {} | {}", code.as_str(), code.status(), code.detail()))
        .collect();
    assert!(
        told == there,
        "docs/faults.md: the first three columns should be\n\n| {} |",
        there.join(" |\n| ")
    );
    for row in rows {
        assert!(row.len() == 4 && !row[3].is_empty(), "{} does not say what to do", row[0]);
    }
}
