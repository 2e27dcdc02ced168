//! The product under load and faults. See `docs/fault-harness.md`.

#![cfg(test)]

use std::{env, path::Path, str::FromStr};

use testkit::faults::{fault::What, plan::Size, run::run};

/// As the environment says, or as CI runs it.
#[expect(clippy::disallowed_methods, reason = "the size of a run is no configuration of the program")]
fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(format!("OMNICHAT_FAULTS_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("OMNICHAT_FAULTS_{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// All kinds of faults, or those that the environment names, separated by commas.
fn kinds() -> Vec<What> {
    let named: String = setting("KINDS", String::new());
    match &*named {
        "" => What::ALL.to_vec(),
        named => {
            let wanted = |what: &What| named.split(',').any(|name| name.trim() == what.name());
            What::ALL.into_iter().chain(What::UNMENDED).filter(wanted).collect()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_reordered_whatever_fails() {
    let size = Size {
        seed: setting("SEED", 1),
        turns: setting("TURNS", 8_000),
        per_s: setting("RATE", 100.0),
        faults: setting("FAULTS", 30),
        kinds: kinds(),
        users: setting("USERS", 40),
        talks: setting("CONVERSATIONS", 5),
        workers: setting("WORKERS", 3),
        ingresses: setting("INGRESSES", 2),
        nats_servers: 1,
        plain: setting("PLAIN", false),
    };
    let verdict = run(env!("CARGO_BIN_EXE_omnichat"), &size, Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
    println!("{}", verdict.report);
    assert!(
        verdict.violations.is_empty() && verdict.vacuous.is_empty(),
        "{} promises broken, proves nothing because {:?}; history, logs and report are in {}",
        verdict.violations.len(),
        verdict.vacuous,
        verdict.folder.display()
    );
}
