//! The product under load and faults. See `docs/fault-harness.md`.

#![cfg(test)]

use std::path::Path;

use testkit::faults::{fault::What, plan::Size, run::run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_whatever_fails() {
    let size = Size {
        seed: 1,
        turns: 8_000,
        per_s: 60.0,
        faults: 32,
        kinds: What::ALL.to_vec(),
        users: 40,
        talks: 5,
        workers: 3,
        ingresses: 2,
        nats_servers: 1,
        plain: false,
    };
    let size = size.or_as_asked();
    run(env!("CARGO_BIN_EXE_omnichat"), &size, Path::new(env!("CARGO_TARGET_TMPDIR"))).await.judge();
}
