//! Named readiness checks, asked all at once.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::drain::Drain;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The checks that say whether this process can serve. Clones share them.
#[derive(Clone)]
pub struct Health {
    drain: Drain,
    checks: Arc<Mutex<Vec<Arc<Check>>>>,
}

struct Check {
    name: &'static str,
    run: Box<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>,
}

/// The answer to "can you serve?".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Ready only if every check passed and no drain has begun.
    pub status: Status,
    /// One entry per check, in the order they were added.
    pub checks: Vec<Outcome>,
}

/// Whether to send work here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Send work.
    Ready,
    /// Something this process needs is missing; it may come back.
    NotReady,
    /// The process is leaving.
    Draining,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What was checked.
    pub name: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// A version, a count, or what is wrong.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

impl Health {
    /// No checks yet: ready until `drain` begins.
    pub fn new(drain: Drain) -> Self {
        Self { drain, checks: Arc::default() }
    }

    /// Adds a check. It answers with a detail or a problem; either is shown to whoever asks, so it must hold no secret
    /// and no address that strangers should not see.
    pub fn add<F>(&self, name: &'static str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        let check = Arc::new(Check { name, run: Box::new(move || check().boxed()) });
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Runs every check at once; takes two seconds at most.
    pub async fn report(&self) -> Report {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let checks = join_all(checks.iter().map(|check| check.outcome())).await;
        let status = if self.drain.is_draining() {
            Status::Draining
        } else if checks.iter().all(|outcome| outcome.ok) {
            Status::Ready
        } else {
            Status::NotReady
        };
        Report { status, checks }
    }
}

impl Check {
    async fn outcome(&self) -> Outcome {
        let start = Instant::now();
        let result = timeout(CHECK_TIMEOUT, (self.run)())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())));
        let ms = start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let ok = result.is_ok();
        let (Ok(detail) | Err(detail)) = result;
        Outcome { name: self.name, ok, detail, ms }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(checks.iter().map(|check| check.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn health() -> (Drain, Health) {
        let drain = Drain::new();
        (drain.clone(), Health::new(drain))
    }

    #[tokio::test(start_paused = true)]
    async fn ready_when_every_check_passes() {
        let (_, health) = health();
        health.add("postgres", || async { Ok("15.18".into()) });
        assert_eq!(
            serde_json::to_value(health.report().await).unwrap(),
            serde_json::json!({
                "status": "ready",
                "checks": [{ "name": "postgres", "ok": true, "detail": "15.18", "ms": 0 }],
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_problem_makes_it_not_ready_and_says_which() {
        let (_, health) = health();
        health.add("nats", || async { Err("no stream TURNS".into()) });
        health.add("postgres", || async { Ok("15.18".into()) });
        let report = health.report().await;
        assert_eq!(report.status, Status::NotReady);
        assert_eq!((report.checks[0].ok, report.checks[0].detail.as_str()), (false, "no stream TURNS"));
        assert!(report.checks[1].ok);
    }

    #[tokio::test(start_paused = true)]
    async fn checks_that_hang_fail_together_after_two_seconds() {
        let (_, health) = health();
        health.add("nats", pending);
        health.add("postgres", pending);
        let start = Instant::now();
        let report = health.report().await;
        assert_eq!(start.elapsed().as_secs(), 2);
        assert_eq!(report.status, Status::NotReady);
        for outcome in report.checks {
            assert_eq!((outcome.detail.as_str(), outcome.ms / 10), ("no answer within 2 s", 200));
        }
    }

    #[tokio::test]
    async fn a_drain_makes_it_draining_whatever_the_checks_say() {
        let (drain, health) = health();
        drain.begin();
        assert_eq!(health.report().await.status, Status::Draining);
    }
}
