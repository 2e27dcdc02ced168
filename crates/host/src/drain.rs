//! The orderly end of a process: every task is spawned here, so that shutdown can wait for it.
//!
//! ```text
//! begin ──► draining() resolves: refuse new work, finish what is held
//! finish ─► waits for the tasks; after the grace names those left over
//!           stop_now() resolves: a last second to let go, then they are dropped
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::telemetry::Metric;

/// How long a task may take to let go once `stop_now` has fired.
const LAST_WORD: Duration = Duration::from_secs(1);

const TASK_PANICS: &str = "omnichat_task_panics_total";

/// What [`Drain`] counts.
pub const METRICS: &[Metric] =
    &[Metric::counter(TASK_PANICS, "Tasks that ended in a panic, by the name of the task.")];

tokio::task_local! {
    static NAME: &'static str;
}

/// The name of the task that is running, if [`Drain::spawn`] started it.
pub fn current_task() -> Option<&'static str> {
    NAME.try_with(|name| *name).ok()
}

/// Owns the tasks of a process. Clones share the same tasks and the same end.
#[derive(Clone, Default)]
pub struct Drain(Arc<Shared>);

#[derive(Default)]
struct Shared {
    tracker: TaskTracker,
    draining: CancellationToken,
    stop_now: CancellationToken,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    spawned: u64,
    tasks: HashMap<u64, (&'static str, AbortHandle)>,
}

/// How many tasks of each name had not ended when the grace was over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftover(pub BTreeMap<&'static str, usize>);

impl Drain {
    /// Nothing runs, nothing drains.
    pub fn new() -> Self {
        Self::default()
    }

    /// Spawns `future`. The name is for logs and metrics: one per kind of task, not per task. A panic ends this task
    /// alone; it is counted here and logged once, with the name, by telemetry's panic hook.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (abort, registration) = AbortHandle::new_pair();
        let listed = self.list(name, abort);
        self.0.tracker.spawn(NAME.scope(name, async move {
            let _listed = listed;
            let outcome = AssertUnwindSafe(Abortable::new(future, registration)).catch_unwind().await;
            if outcome.is_err() {
                metrics::counter!(TASK_PANICS, "task" => name).increment(1);
            }
        }))
    }

    /// Begins the drain. Safe to call again.
    pub fn begin(&self) {
        self.0.draining.cancel();
    }

    /// Whether the drain has begun.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// Resolves when the drain begins: take no new work, finish what is held.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Resolves when the grace is over: let go of everything within a second.
    pub async fn stop_now(&self) {
        self.0.stop_now.cancelled().await;
    }

    /// Begins the drain, if nobody has, and waits until every task has ended, at most `grace` and then two seconds
    /// more. Returns what was left over after the grace; each name is also logged.
    pub async fn finish(&self, grace: Duration) -> Leftover {
        self.begin();
        self.0.tracker.close();
        let in_time = self.ended_within(grace).await;
        let leftover = if in_time { Leftover::default() } else { self.leftover() };
        for (task, count) in &leftover.0 {
            tracing::warn!(task, count, "left over after the grace");
        }
        self.0.stop_now.cancel();
        if !in_time && !self.ended_within(LAST_WORD).await {
            self.running().tasks.values().for_each(|(_, abort)| abort.abort());
            self.ended_within(LAST_WORD).await;
        }
        leftover
    }

    /// The first SIGTERM or SIGINT begins the drain; resolves when one arrives while draining, which means: exit now.
    ///
    /// # Errors
    /// The process cannot listen for signals.
    pub async fn signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if self.is_draining() {
                tracing::warn!(signal = name, "second signal: leaving at once");
                return Ok(());
            }
            tracing::info!(signal = name, "draining");
            self.begin();
        }
    }

    async fn ended_within(&self, limit: Duration) -> bool {
        timeout(limit, self.0.tracker.wait()).await.is_ok()
    }

    fn leftover(&self) -> Leftover {
        let mut count = BTreeMap::new();
        for (name, _) in self.running().tasks.values() {
            *count.entry(*name).or_default() += 1;
        }
        Leftover(count)
    }

    fn list(&self, name: &'static str, abort: AbortHandle) -> Listed {
        let mut running = self.running();
        let id = running.spawned;
        running.spawned += 1;
        running.tasks.insert(id, (name, abort));
        Listed { drain: self.clone(), id }
    }

    /// No code panics while it holds this lock, and the map would be sound if one did.
    fn running(&self) -> MutexGuard<'_, Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's entry in the list of running tasks, for as long as its future lives.
struct Listed {
    drain: Drain,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.drain.running().tasks.remove(&self.id);
    }
}

impl Leftover {
    /// Everything ended in time.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("draining", &self.is_draining())
            .field("running", &self.leftover().0)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::sync::oneshot;

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn finish_waits_for_a_task_that_ends_when_the_drain_begins() {
        let drain = Drain::new();
        let (told, hears) = oneshot::channel();
        drain.spawn("writer", {
            let drain = drain.clone();
            async move {
                drain.draining().await;
                told.send("last write").unwrap();
            }
        });
        assert!(!drain.is_draining());
        assert!(drain.finish(GRACE).await.is_empty());
        assert_eq!(hears.await, Ok("last write"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_outlives_the_grace_is_named_and_dropped() {
        let drain = Drain::new();
        let (held, dropped) = oneshot::channel::<()>();
        drain.spawn("stuck", async move {
            let _held = held;
            pending().await
        });
        drain.spawn("stuck", pending());
        drain.spawn("quick", async {});
        assert_eq!(drain.finish(GRACE).await, Leftover(BTreeMap::from([("stuck", 2)])));
        assert!(dropped.await.is_err(), "the future must be dropped");
        assert!(drain.leftover().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn stop_now_gives_a_task_its_last_word() {
        let drain = Drain::new();
        let (told, hears) = oneshot::channel();
        drain.spawn("stream", {
            let drain = drain.clone();
            async move {
                drain.stop_now().await;
                told.send("goodbye").unwrap();
            }
        });
        assert_eq!(drain.finish(GRACE).await.0["stream"], 1);
        assert_eq!(hears.await, Ok("goodbye"));
    }

    #[test]
    fn a_panic_ends_its_task_alone_and_is_counted_under_its_name() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let leftover = metrics::with_local_recorder(&recorder, || {
            runtime.block_on(async {
                let drain = Drain::new();
                drain.spawn("fragile", async { panic!("on purpose") });
                drain.spawn("sturdy", async { assert_eq!(current_task(), Some("sturdy")) });
                drain.finish(GRACE).await
            })
        });
        assert!(leftover.is_empty());
        let counts: Vec<_> =
            handle.render().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        assert_eq!(counts, ["omnichat_task_panics_total{task=\"fragile\"} 1", ""]);
    }

    #[tokio::test]
    async fn the_second_signal_asks_to_leave_at_once() {
        let drain = Drain::new();
        let signals = drain.signals();
        tokio::pin!(signals);
        // The first poll installs the handlers; without it the signal would end the test.
        assert!(futures::poll!(&mut signals).is_pending());
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::TERM).unwrap();
        tokio::select! {
            _ = &mut signals => panic!("the first signal only begins the drain"),
            () = drain.draining() => {}
        }
        rustix::process::kill_process(this, rustix::process::Signal::INT).unwrap();
        signals.await.unwrap();
    }
}
