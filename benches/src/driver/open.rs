//! An open loop: messages arrive at a constant rate, as those of many independent people do. A slow answer does not keep
//! the next message from being due, and waiting counts: nothing is left out of the latencies because the system was slow.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// Messages due at fixed times.
pub struct Open {
    timetable: Timetable,
    /// A permit for each message that is due and not taken.
    due: Arc<Semaphore>,
    taken: AtomicU64,
}

#[derive(Clone, Copy)]
struct Timetable {
    began: Instant,
    per_s: f64,
    length: Duration,
}

impl Timetable {
    fn messages(&self) -> u64 {
        (self.per_s * self.length.as_secs_f64()) as u64
    }

    fn time_of(&self, message: u64) -> Instant {
        self.began + Duration::from_secs_f64(message as f64 / self.per_s)
    }
}

impl Open {
    /// So many messages per second for so long, from now on, for so many workers.
    pub fn start(per_s: f64, length: Duration, workers: usize) -> io::Result<Self> {
        let timetable = Timetable { began: Instant::now(), per_s, length };
        let due = Arc::new(Semaphore::new(0));
        let announced = due.clone();
        thread::Builder::new()
            .name("timetable".into())
            .spawn(move || announce(timetable, &announced, workers))?;
        Ok(Self { timetable, due, taken: AtomicU64::new(0) })
    }

    /// The time at which the next one was due, once it is. What is still waiting when the run's time is over is left unsent.
    pub async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        let message = self.taken.fetch_add(1, Ordering::Relaxed);
        let in_time = self.timetable.began.elapsed() < self.timetable.length;
        (in_time && message < self.timetable.messages()).then(|| self.timetable.time_of(message))
    }
}

/// Adds a permit for each message when its time comes, and in the end one for each worker, so that all see the end.
#[expect(
    clippy::disallowed_methods,
    reason = "tokio's timer is too coarse: it rounds up to whole milliseconds"
)]
fn announce(timetable: Timetable, due: &Semaphore, workers: usize) {
    for message in 0..timetable.messages() {
        thread::sleep(timetable.time_of(message).saturating_duration_since(Instant::now()));
        due.add_permits(1);
    }
    due.add_permits(workers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_due_at_its_time_however_late_it_is_taken() {
        let open = Open::start(1000.0, Duration::from_secs(60), 1).unwrap();
        let first = open.next().await.unwrap();
        let second = open.next().await.unwrap();
        assert_eq!(second - first, Duration::from_millis(1));
        assert!(Instant::now() >= second, "it was taken before it was due");
    }

    #[tokio::test]
    async fn every_worker_sees_the_end() {
        let open = Open::start(1000.0, Duration::from_millis(5), 2).unwrap();
        let mut taken = 0;
        while open.next().await.is_some() {
            taken += 1;
        }
        assert!(taken <= 5);
        assert!(open.next().await.is_none());
    }
}
