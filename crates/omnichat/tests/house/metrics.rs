//! The metrics of the code against those that `docs/operations.md` and the dashboard speak of.

use std::collections::BTreeSet;

use crate::tree;

/// Everything in `text` that is called like a metric of ours.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ends =
        ["_total", "_seconds", "_in_flight", "_alive", "_resting", "_entries", "_bucket", "_sum", "_count"];
    words.filter(move |word| word.starts_with("omnichat_") && ends.iter().any(|end| word.ends_with(end)))
}

/// What the program counts; those who look at it from outside only name it.
fn counted() -> BTreeSet<String> {
    let is_program = |path: &str| path.starts_with("crates/") && !path.starts_with("crates/testkit/");
    let sources = tree::files("rs").into_iter().filter(|file| is_program(&file.path) && !file.is_test());
    let code = sources.map(|file| file.text.split("#[cfg(test)]").next().unwrap().to_owned());
    code.flat_map(|text| names(&text).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_metric_is_explained() {
    let paper = tree::read("docs/operations.md");
    let rows = tree::rows(tree::block(&paper, "metrics"));
    let told: BTreeSet<_> = rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let counted = counted();
    assert!(counted.len() > 20, "the code counts {counted:?} only");
    let (silent, invented): (Vec<_>, Vec<_>) =
        (counted.difference(&told).collect(), told.difference(&counted).collect());
    assert!(silent.is_empty(), "docs/operations.md does not explain {silent:?}");
    assert!(invented.is_empty(), "docs/operations.md explains {invented:?}, which nothing counts");
}

#[test]
fn the_dashboard_shows_what_is_counted() {
    let counted = counted();
    let dashboard = tree::read("crates/omnichat/deploy/grafana/omnichat.json");
    let shown: BTreeSet<_> = names(&dashboard).map(base).collect();
    assert!(shown.len() > 10, "the dashboard shows {shown:?} only");
    for metric in shown {
        assert!(counted.contains(metric), "the dashboard shows {metric}, which nothing counts");
    }
}

/// A histogram's own name.
fn base(metric: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| metric.strip_suffix(part)).unwrap_or(metric)
}
