//! The product held at each point of a turn's path, and killed, failed or let go late there. See `docs/fault-harness.md`.

#![cfg(test)]

use std::path::Path;

use testkit::faults::{
    plan::Size,
    points::{Blow, Point},
    run::{Verdict, strike_at},
    watch,
};

/// Until the call is under way, and from then on: two halves, as they run side by side.
const HALF: usize = Point::ALL.len() / 2;
/// Where it matters that another worker is there.
const CONTESTED: [Point; 6] = [
    Point::TurnUnwritten,
    Point::CallBegun,
    Point::MidAnswer,
    Point::OutcomeUnwritten,
    Point::OutcomeUncommitted,
    Point::OutcomeUnheard,
];

fn size() -> Size {
    Size { turns: 4, per_s: 20.0, users: 4, talks: 4, ingresses: 1, ..Size::small() }
}

async fn strike(size: &Size, name: &str, points: &[Point], blows: &[Blow], leaves: bool) -> Verdict {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let verdict = strike_at(env!("CARGO_BIN_EXE_omnichat"), size, place, (name, points, blows), leaves).await;
    println!("{}", verdict.report);
    let turns = verdict.evidence.dump.turns.len() as u64;
    let sent = (points.len() * blows.len()) as u64 * size.turns;
    assert!(turns >= sent, "only {turns} turns were accepted");
    assert!(
        verdict.violations.is_empty(),
        "promises were broken; all about it is in {}",
        verdict.folder.display()
    );
    verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blow_before_a_turn_is_called_for_loses_and_doubles_nothing() {
    strike(&size(), "points-before", &Point::ALL[..HALF], &Blow::ALONE, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blow_from_the_call_to_the_end_loses_and_doubles_nothing() {
    let size = Size { talks: 48, ..size() };
    let verdict = strike(&size, "points-after", &Point::ALL[HALF..], &Blow::ALONE, true).await;
    let repeated = verdict.evidence.calls.iter().filter(|call| call.attempt > 1).count();
    assert!(
        repeated >= 5,
        "only {repeated} calls were repeated, though workers were killed with turns in hand"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_sleeps_or_dies_at_any_point_is_replaced_and_changes_nothing_more() {
    let size = Size { workers: 2, turns: 6, ..size() };
    let verdict = strike(&size, "points-contested", &CONTESTED, &Blow::AMONG_OTHERS, false).await;
    let late = watch::fenced(&verdict.evidence.samples);
    assert!(late > 0, "no worker tried to write after another had taken over");
}
