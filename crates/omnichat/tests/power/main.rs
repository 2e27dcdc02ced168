//! The machine loses its power while messages are sent. See `docs/fault-harness.md`. It takes root and a loop device: where
//! there is none, these tests say so and prove nothing.

#![cfg(test)]

use std::path::Path;

use testkit::faults::{
    disk::Disk,
    plan::Size,
    run::{Verdict, lose_power},
};
use tokio::sync::Mutex;

/// Two installations at once are more than two cores bear.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// Takes the power twice. None where that cannot be tried.
async fn tried(seed: u64, settings: &[(&str, &str)]) -> Option<Verdict> {
    let _alone = MACHINE.lock().await;
    let size = Size { seed, turns: 1500, per_s: 50.0, ..Size::small() };
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    match Disk::new(place.join(format!("power-{seed}.disk"))) {
        Ok(disk) => Some(lose_power(env!("CARGO_BIN_EXE_omnichat"), &size, place, disk, settings).await),
        Err(reason) => {
            println!("not tried: {reason}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_outlives_the_power() {
    let Some(verdict) = tried(1, &[]).await else { return };
    println!("{}", verdict.report);
    assert!(
        verdict.violations.is_empty(),
        "promises were broken; all about it is in {}",
        verdict.folder.display()
    );
}

/// The control: a database that promises less loses something, or the test above proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_flush_loses_what_was_accepted() {
    let Some(verdict) = tried(2, &[("synchronous_commit", "off"), ("wal_writer_delay", "10s")]).await else {
        return;
    };
    println!("{}", verdict.report);
    let broken: Vec<_> = verdict.violations.iter().map(|violation| violation.check).collect();
    assert!(broken.contains(&"I1"), "nothing was lost, only {broken:?}");
}
