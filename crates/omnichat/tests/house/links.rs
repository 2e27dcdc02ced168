//! References between papers, and from papers into the code.

use crate::tree::{self, File};

/// The targets of `[text](target)`, but for those that lead out of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// The words in backticks that look like a path from the root.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const ROOTS: [&str; 5] = ["crates/", "nats/", "docs/", "migrations/", "benches/"];
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| {
        ROOTS.iter().any(|root| word.starts_with(root)) && !word.contains(['*', ' ', '…', '<'])
    })
}

fn resolve(from: &File, target: &str) -> String {
    let folder = from.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchors of a paper's headings, as renderers make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|line| line.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

fn is_broken(from: &File, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { from.path.clone() } else { resolve(from, path) };
    if !tree::exists(&path) {
        return true;
    }
    !anchor.is_empty() && !anchors(&tree::read(&path)).iter().any(|known| known == anchor)
}

#[test]
fn every_link_leads_somewhere() {
    let papers = tree::files("md");
    let broken: Vec<_> = papers
        .iter()
        .flat_map(|paper| links(&paper.text).map(move |target| (paper, target)))
        .filter(|(paper, target)| is_broken(paper, target))
        .map(|(paper, target)| format!("{}: {target}", paper.path))
        .collect();
    tree::report(&broken, "links that lead nowhere");
}

#[test]
fn every_path_in_a_paper_is_there() {
    let papers = tree::files("md");
    let missing: Vec<_> = papers
        .iter()
        .flat_map(|paper| paths(&paper.text).map(move |path| (paper, path)))
        .filter(|(_, path)| !tree::exists(path))
        .map(|(paper, path)| format!("{}: {path}", paper.path))
        .collect();
    tree::report(&missing, "paths that are not there");
}

#[test]
fn every_paper_can_be_reached_from_the_readme() {
    let papers = tree::files("md");
    let (mut reached, mut next) = (vec!["README.md".to_owned()], 0);
    while let Some(path) = reached.get(next).cloned() {
        next += 1;
        let Some(paper) = papers.iter().find(|paper| paper.path == path) else { continue };
        for target in links(&paper.text) {
            let target = resolve(paper, target.split('#').next().unwrap());
            if !reached.contains(&target) {
                reached.push(target);
            }
        }
    }
    let lost: Vec<_> =
        papers.into_iter().map(|paper| paper.path).filter(|path| !reached.contains(path)).collect();
    tree::report(&lost, "papers that nothing leads to");
}

#[test]
fn a_decision_says_why_and_what_follows() {
    let decisions = tree::files("md").into_iter().filter(|paper| paper.path.starts_with("docs/decisions/"));
    for (number, paper) in (1..).zip(decisions) {
        assert!(paper.stem().starts_with(&format!("{number:04}-")), "{} is out of turn", paper.path);
        for heading in ["## Context", "## Decision", "## Consequences"] {
            assert!(paper.text.contains(heading), "{} has no {heading}", paper.path);
        }
    }
}

#[test]
fn a_broken_link_is_seen() {
    let paper = File {
        path: "docs/a.md".into(),
        text: "[b](../README.md) [c](https://x.org/y) [d](#one-two)".into(),
    };
    assert_eq!(links(&paper.text).collect::<Vec<_>>(), ["../README.md", "#one-two"]);
    assert!(!is_broken(&paper, "../README.md"));
    assert!(is_broken(&paper, "../READYOU.md") && is_broken(&paper, "../README.md#no-such-heading"));
    assert_eq!(anchors("# What is `this`, then?\ntext\n## Two words"), ["what-is-this-then", "two-words"]);
    assert_eq!(
        paths("`crates/wire/src/lib.rs` `crates/*/x` crates/no `lib.rs`").collect::<Vec<_>>(),
        ["crates/wire/src/lib.rs"]
    );
}
