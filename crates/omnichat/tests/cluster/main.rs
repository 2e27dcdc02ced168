//! The product on three nodes of NATS, while nodes fail. See `docs/fault-harness.md`.

#![cfg(test)]

use std::path::Path;

use testkit::faults::{fault::What, plan::Size, run::run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_whichever_node_fails() {
    let size = Size {
        seed: 1,
        turns: 3_000,
        per_s: 45.0,
        faults: 9,
        kinds: What::CLUSTER.to_vec(),
        users: 20,
        talks: 10,
        workers: 3,
        ingresses: 2,
        nats_servers: 3,
        plain: false,
    };
    let size = size.or_as_asked();
    run(env!("CARGO_BIN_EXE_omnichat"), &size, Path::new(env!("CARGO_TARGET_TMPDIR"))).await.judge();
}
