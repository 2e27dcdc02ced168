//! Bugs, planted into a copy of the program, that the fault harness must find. See `docs/fault-harness.md`.

#![cfg(test)]

use std::{
    env,
    path::{Path, PathBuf},
    time::Instant,
};

use testkit::faults::{
    bug::Bug,
    fault::What,
    mutant::Mutant,
    plan::Size,
    points::Point,
    run::{Aim, Patience, aimed},
};

/// Only these bugs, by name, separated by commas; all, if there are none.
#[expect(clippy::disallowed_methods, reason = "what to look for is no configuration of the program")]
fn wanted(bug: &Bug) -> bool {
    let named = env::var("OMNICHAT_PLANTED").unwrap_or_default();
    named.is_empty() || named.split(',').any(|name| name.trim() == bug.name)
}

/// The checks that found something.
async fn broken(program: &'static str, aim: &Aim, name: &str) -> Vec<&'static str> {
    let (began, place) = (Instant::now(), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let verdict = aimed(program, aim, place, &format!("planted-{name}")).await;
    let broken: Vec<_> = verdict.violations.iter().map(|violation| violation.check).collect();
    println!("| {name} | {} | {:.0} s |", broken.join(", "), began.elapsed().as_secs_f64());
    broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_planted_bug_is_found_by_the_check_that_must_find_it() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bugs = Bug::all(&package.join("tests/planted/bugs"));
    let (root, target) = (package.ancestors().nth(2).unwrap(), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let folder: PathBuf = target.parent().unwrap().join("planted");
    let mutant = Mutant::build(root, &folder, &bugs);

    println!("| planted | found by | took |\n|---|---|--:|");
    let mut missed = Vec::new();
    for bug in bugs.iter().filter(|bug| wanted(bug)) {
        let broken = broken(mutant.with(&bug.name, &bug.switches()), &bug.aim(), &bug.name).await;
        if !broken.contains(&&*bug.found_by) {
            missed.push(format!("{}: {} is not among {broken:?}", bug.name, bug.found_by));
        }
    }
    // The control: with every bug switched off, nothing is found, so what was found was the bugs.
    for aim in controls() {
        let name = if aim.points.is_empty() { "nothing, faults" } else { "nothing, points" };
        let broken = broken(mutant.with("nothing", ""), &aim, name).await;
        if !broken.is_empty() {
            missed.push(format!("nothing was planted, and {broken:?} found something"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}; histories, logs and reports are in {}", target.display());
}

/// Like the runs of the bugs.
fn controls() -> [Aim; 2] {
    let kinds = vec![What::WorkerFrozen, What::WorkerKilled, What::StoreLost];
    let size = Size { turns: 600, per_s: 40.0, users: 8, faults: 3, kinds, workers: 3, ..Size::small() };
    let points = vec![Point::OutcomeUncommitted, Point::CallBegun];
    let held = Size { turns: 6, users: 4, faults: 0, workers: 1, ..size.clone() };
    [
        Aim { size, points: Vec::new(), slow: false, patience: Patience::SHORT },
        Aim { size: held, points, slow: false, patience: Patience::SHORT },
    ]
}
