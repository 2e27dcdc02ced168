//! Threads that do nothing but hash. tokio's own blocking pool would start 512 of them, which together want 10 GiB.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Instant,
};

use tokio::sync::oneshot;

use crate::Error;

/// How far hashing stands back for turns, as `nice` counts.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads with a bounded queue. They end when it is dropped.
pub struct HashPool {
    queue: SyncSender<Job>,
    hashed: Arc<AtomicU64>,
}

impl HashPool {
    /// `threads` threads, at least one, and a queue of `queue` beyond what they work on.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(threads: usize, queue: usize) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(queue);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..threads {
            let jobs = jobs.clone();
            thread::Builder::new().name("password-hash".into()).spawn(move || work(&jobs))?;
        }
        Ok(Self { queue, hashed: Arc::default() })
    }

    /// Runs `hash` on one of the threads. If the caller does not wait for it, and its turn has not come, it is left out.
    ///
    /// # Errors
    /// [`Error::Busy`] at once, when the queue is full; [`Error::Interrupted`] when `hash` panics.
    pub async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.submit(hash)?.await.map_err(|_| Error::Interrupted)
    }

    /// How many were run so far.
    pub fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    fn submit<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let (answer, answered) = oneshot::channel();
        let hashed = self.hashed.clone();
        let job = move || {
            if answer.is_closed() {
                return;
            }
            let started = Instant::now();
            let result = hash();
            hashed.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("omnichat_password_hashes_total").increment(1);
            metrics::histogram!("omnichat_password_hash_seconds").record(started.elapsed().as_secs_f64());
            // Who asked may be gone by now.
            let _ = answer.send(result);
        };
        match self.queue.try_send(Box::new(job)) {
            Ok(()) => Ok(answered),
            Err(_) => {
                metrics::counter!("omnichat_auth_busy_total").increment(1);
                Err(Error::Busy)
            }
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "password hashing runs at normal priority");
    }
    while let Some(job) = next(jobs) {
        // The panic hook has told of it, and the requester is told by the dropped answer.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// The next job, once there is one; none when the pool was dropped. The lock is held while waiting, never while working.
fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, sync::mpsc::RecvTimeoutError, time::Duration};

    use super::*;

    /// A pool of one thread that is held up until the gate is dropped.
    async fn held_up(queue: usize) -> (HashPool, SyncSender<()>, oneshot::Receiver<()>) {
        let pool = HashPool::start(1, queue).unwrap();
        let (gate, closed) = sync_channel::<()>(0);
        let (begun, has_begun) = oneshot::channel();
        let held = pool.submit(move || {
            begun.send(()).unwrap();
            closed.recv().unwrap_err();
        });
        has_begun.await.unwrap();
        (pool, gate, held.unwrap())
    }

    #[tokio::test]
    async fn beyond_the_queue_it_is_busy_at_once() {
        let (pool, gate, held) = held_up(2).await;
        let (first, second) = (pool.submit(|| 1).unwrap(), pool.submit(|| 2).unwrap());
        assert!(matches!(pool.submit(|| 3), Err(Error::Busy)));
        drop(gate);
        held.await.unwrap();
        assert_eq!((first.await, second.await), (Ok(1), Ok(2)));
        assert_eq!(pool.run(|| 4).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn nobody_hashes_for_a_requester_that_is_gone() {
        let (pool, gate, held) = held_up(2).await;
        drop(pool.submit(|| "gone").unwrap());
        let stayed = pool.submit(|| "stayed").unwrap();
        drop(gate);
        held.await.unwrap();
        assert_eq!(stayed.await, Ok("stayed"));
        assert_eq!(pool.hashed(), 2, "the one that held up, and the one that stayed");
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_job_alone() {
        let pool = HashPool::start(1, 1).unwrap();
        assert!(matches!(pool.run(|| panic!("on purpose")).await, Err::<(), _>(Error::Interrupted)));
        assert_eq!(pool.run(|| "next").await.unwrap(), "next");
    }

    #[tokio::test]
    async fn its_threads_end_when_it_is_dropped() {
        thread_local!(static HELD: RefCell<Option<SyncSender<()>>> = const { RefCell::new(None) });
        let pool = HashPool::start(1, 1).unwrap();
        let (held, dropped) = sync_channel::<()>(0);
        pool.run(move || HELD.set(Some(held))).await.unwrap();
        drop(pool);
        assert_eq!(dropped.recv_timeout(Duration::from_secs(10)), Err(RecvTimeoutError::Disconnected));
    }
}
