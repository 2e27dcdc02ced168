//! The product held at each point of a turn's path, and killed, failed or let go late there. See `docs/fault-harness.md`.

#![cfg(test)]

use std::path::Path;

use testkit::faults::{plan::Size, run::strike_everywhere};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blow_at_any_point_of_a_turn_loses_and_doubles_nothing() {
    let size = Size { turns: 4, per_s: 20.0, users: 4, talks: 4, ingresses: 1, ..Size::small() };
    let binary = env!("CARGO_BIN_EXE_omnichat");
    let verdict = strike_everywhere(binary, &size, Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
    println!("{}", verdict.report);
    let turns = verdict.evidence.dump.turns.len() as u64;
    assert!(turns >= 27 * size.turns, "only {turns} turns were accepted");
    let repeated = verdict.evidence.calls.iter().filter(|call| call.attempt > 1).count();
    assert!(
        repeated >= 5,
        "only {repeated} calls were repeated, though workers were killed with turns in hand"
    );
    assert!(
        verdict.violations.is_empty(),
        "promises were broken; all about it is in {}",
        verdict.folder.display()
    );
}
