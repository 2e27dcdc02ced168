//! What a provider allows to a key: requests and tokens per minute, and calls at a time. Whoever comes waits in line.
//!
//! The limits are those of all processes that use the key together. Each takes its part, and paces what it sends over the whole
//! minute instead of sending a minute's worth at once: so whichever minute the provider looks at, no more has been sent in it.

use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// The part of a limit that is used: on its way to the provider a call may be held up, and come with those after it.
const USED: f64 = 0.98;
/// Tokens are taken in parts that make up this time, so that a large call does not need a large burst.
const PART: Duration = Duration::from_millis(100);
/// As much of what was reserved and not used is used later, in seconds of the rate.
const CREDIT_S: f64 = 5.0;
/// The weight of the newest call in the running means, once there have been some; before that all count the same.
const NEWEST: f64 = 0.1;

/// What a provider allows to each key, in all processes together. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls begun within any minute.
    pub requests_per_min: u32,
    /// Tokens of prompts and answers within any minute.
    pub tokens_per_min: u32,
    /// Calls at a time.
    pub concurrent: u32,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>;

/// Tokio's clock, which tests can stop.
#[derive(Clone, Copy, Debug)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// The limits of one key, as far as this process may use them.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: Limits,
    /// Held by whoever is first in line: the others come one after the other.
    line: tokio::sync::Mutex<()>,
    share: Mutex<Option<Share>>,
    shared: Notify,
    running: AtomicU32,
    freed: Notify,
    /// Tokens that were reserved and not used; less than 0: used and not reserved.
    credit: AtomicI64,
    /// What calls take, as the providers counted lately: tokens of an answer, and what the estimate of a prompt is to be
    /// multiplied by.
    usual: Mutex<Usual>,
}

/// The part of this process.
#[derive(Clone, Debug)]
struct Share {
    processes: u32,
    requests: Option<Arc<Bucket>>,
    tokens: Option<(Arc<Bucket>, NonZeroU32)>,
    concurrent: Option<u32>,
    credit_max: i64,
}

#[derive(Clone, Copy, Debug)]
struct Usual {
    answer: f64,
    prompt_factor: f64,
    calls: u32,
}

/// A call that its key's limits allow. When it is dropped, it is over.
#[derive(Debug)]
pub(crate) struct Seat {
    limiter: Arc<Limiter>,
    reserved: u32,
    prompt_estimate: u32,
    used: Option<(u32, u32)>,
}

impl Usual {
    /// From a call that was answered: one that was refused says nothing of others.
    fn learn(&mut self, prompt_estimate: u32, prompt: u32, answer: u32) {
        self.calls = self.calls.saturating_add(1);
        let weight = NEWEST.max(1.0 / f64::from(self.calls));
        self.answer += (f64::from(answer) - self.answer) * weight;
        if prompt_estimate > 0 {
            let factor = (f64::from(prompt) / f64::from(prompt_estimate)).clamp(0.1, 10.0);
            self.prompt_factor += (factor - self.prompt_factor) * weight;
        }
    }
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            line: tokio::sync::Mutex::default(),
            share: Mutex::new(Share::of(limits, 1)),
            shared: Notify::new(),
            running: AtomicU32::new(0),
            freed: Notify::new(),
            credit: AtomicI64::new(0),
            usual: Mutex::new(Usual { answer: 256.0, prompt_factor: 1.0, calls: 0 }),
        })
    }

    /// From now on so many processes use the key, this one included; 0: it is not known yet, and nothing is allowed.
    pub(crate) fn divide(&self, processes: u32) {
        let mut share = lock(&self.share);
        // A new bucket lets one through at once.
        if share.as_ref().map_or(0, |share| share.processes) != processes {
            *share = Share::of(self.limits, processes);
            self.shared.notify_waiters();
        }
    }

    /// Waits in line for a call with a prompt of about so many tokens, and an answer of at most these. Dropping the future
    /// leaves the line.
    pub(crate) async fn seat(self: &Arc<Self>, prompt_estimate: u32, answer_max: Option<u32>) -> Seat {
        let seat = |reserved| Seat { limiter: Arc::clone(self), reserved, prompt_estimate, used: None };
        if self.limits == Limits::default() {
            self.running.fetch_add(1, Ordering::Relaxed);
            return seat(0);
        }
        let _first = self.line.lock().await;
        let reserved = self.estimate(prompt_estimate, answer_max);
        self.take_tokens(reserved).await;
        self.take_room().await;
        let seat = seat(reserved);
        self.take_request().await;
        seat
    }

    fn estimate(&self, prompt: u32, answer_max: Option<u32>) -> u32 {
        if self.limits.tokens_per_min == 0 {
            return 0;
        }
        let usual = *lock(&self.usual);
        let answer = answer_max.map_or(usual.answer, |most| usual.answer.min(f64::from(most)));
        (f64::from(prompt) * usual.prompt_factor + answer).ceil() as u32
    }

    /// Pays what was used before and not reserved, and then what is wanted. Who leaves the line has not used what it wanted, and
    /// what was paid for it is there for the next.
    async fn take_tokens(&self, wanted: u32) {
        let debit = Debit::of(&self.credit, wanted);
        loop {
            let owed = -self.credit.load(Ordering::Relaxed);
            let Some((bucket, part)) = self.share().await.tokens.filter(|_| owed > 0) else { break };
            let now = u32::try_from(owed).ok().and_then(NonZeroU32::new).unwrap_or(part).min(part);
            pass(&bucket, now).await;
            self.credit.fetch_add(i64::from(now.get()), Ordering::Relaxed);
        }
        debit.keep();
    }

    async fn take_room(&self) {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let most = self.share().await.concurrent;
            if most.is_none_or(|most| self.running.load(Ordering::Relaxed) < most) {
                self.running.fetch_add(1, Ordering::Relaxed);
                return;
            }
            freed.await;
        }
    }

    async fn take_request(&self) {
        if let Some(bucket) = self.share().await.requests {
            pass(&bucket, NonZeroU32::MIN).await;
        }
    }

    /// The part of this process, once it is known.
    async fn share(&self) -> Share {
        loop {
            let mut shared = std::pin::pin!(self.shared.notified());
            shared.as_mut().enable();
            if let Some(share) = lock(&self.share).clone() {
                return share;
            }
            shared.await;
        }
    }

    /// A call is over, and has taken so many tokens; unknown: as many as were reserved.
    fn settle(&self, seat: &Seat) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.freed.notify_waiters();
        let (Some((prompt, answer)), true) = (seat.used, self.limits.tokens_per_min > 0) else { return };
        if answer > 0 {
            lock(&self.usual).learn(seat.prompt_estimate, prompt, answer);
        }
        let unused = i64::from(seat.reserved) - i64::from(prompt) - i64::from(answer);
        let most = lock(&self.share).as_ref().map_or(0, |share| share.credit_max);
        let _ = self
            .credit
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| Some((credit + unused).min(most)));
    }
}

/// Tokens taken from a credit, given back when it is dropped.
struct Debit<'a> {
    credit: &'a AtomicI64,
    tokens: i64,
}

impl<'a> Debit<'a> {
    fn of(credit: &'a AtomicI64, tokens: u32) -> Self {
        let tokens = i64::from(tokens);
        credit.fetch_sub(tokens, Ordering::Relaxed);
        Self { credit, tokens }
    }

    fn keep(mut self) {
        self.tokens = 0;
    }
}

impl Drop for Debit<'_> {
    fn drop(&mut self) {
        self.credit.fetch_add(self.tokens, Ordering::Relaxed);
    }
}

impl Share {
    /// Of these limits, among so many.
    fn of(limits: Limits, processes: u32) -> Option<Self> {
        let part = |limit: u32| (limit > 0).then(|| f64::from(limit) * USED / f64::from(processes));
        (processes > 0).then(|| Self {
            processes,
            // A bucket lets one through at once, besides its rate.
            requests: part(limits.requests_per_min)
                .map(|part| bucket((part - 1.0).max(part / 2.0), NonZeroU32::MIN)),
            tokens: part(limits.tokens_per_min).map(|part| {
                let burst = (part * PART.as_secs_f64() / 60.0).max(1.0) as u32;
                let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
                (bucket((part - f64::from(burst.get())).max(part / 2.0), burst), burst)
            }),
            concurrent: (limits.concurrent > 0).then(|| (limits.concurrent / processes).max(1)),
            credit_max: part(limits.tokens_per_min).map_or(0, |part| (part / 60.0 * CREDIT_S) as i64),
        })
    }
}

fn bucket(per_min: f64, burst: NonZeroU32) -> Arc<Bucket> {
    let period = Duration::from_secs_f64(60.0 / per_min).max(Duration::from_nanos(1));
    // It is none only for a period of zero.
    let quota =
        Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX)).allow_burst(burst);
    Arc::new(RateLimiter::direct_with_clock(quota, Ticks(Instant::now())))
}

/// Waits until the bucket lets so many through.
async fn pass(bucket: &Bucket, count: NonZeroU32) {
    loop {
        match bucket.check_n(count) {
            // More than it holds: no one asks for that.
            Ok(Ok(())) | Err(_) => return,
            Ok(Err(not_until)) => sleep(not_until.wait_time_from(bucket.clock().now())).await,
        }
    }
}

impl Seat {
    /// What the call has taken: tokens of the prompt, and of the answer.
    pub(crate) fn used(&mut self, prompt: u32, answer: u32) {
        self.used = Some((prompt, answer));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let limiter = Arc::clone(&self.limiter);
        limiter.settle(self);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(per_min: u32) -> Arc<Limiter> {
        Limiter::new(Limits { requests_per_min: per_min, ..Limits::default() })
    }

    /// When each call of a line was let through, in milliseconds.
    async fn times(limiter: &Arc<Limiter>, calls: usize, prompt: u32, answer: u32) -> Vec<u128> {
        let begun = Instant::now();
        let mut times = Vec::new();
        for _ in 0..calls {
            let mut seat = limiter.seat(prompt, None).await;
            times.push(begun.elapsed().as_millis());
            seat.used(prompt, answer);
        }
        times
    }

    /// The most that came within any minute.
    fn densest(times: &[u128]) -> usize {
        let within = |from: &u128| times.iter().filter(|at| (*from..*from + 60_000).contains(at)).count();
        times.iter().map(within).max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_requests_than_are_allowed_and_hardly_less() {
        let times = times(&requests(600), 1_800, 10, 10).await;
        assert!((570..=600).contains(&densest(&times)), "{}", densest(&times));
        assert!(times.last().unwrap() / 1_000 <= 190, "three minutes' worth in {:?} ms", times.last());
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_tokens_than_are_allowed_and_hardly_less() {
        let limiter = Limiter::new(Limits { tokens_per_min: 60_000, ..Limits::default() });
        let times = times(&limiter, 2_400, 20, 80).await;
        assert!((560..=600).contains(&densest(&times[600..])), "{}", densest(&times[600..]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_reserved_is_paid_by_those_who_come_next() {
        let limiter = Limiter::new(Limits { tokens_per_min: 6_000, ..Limits::default() });
        limiter.seat(0, Some(0)).await.used(0, 600);
        let begun = Instant::now();
        drop(limiter.seat(0, Some(0)).await);
        assert!((5_500..=6_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_line_takes_no_debt_along() {
        let limiter = Limiter::new(Limits { tokens_per_min: 6_000, ..Limits::default() });
        limiter.seat(0, Some(0)).await.used(0, 600);
        let begun = Instant::now();
        for _ in 0..3 {
            let _ = tokio::time::timeout(Duration::from_secs(1), limiter.seat(0, Some(0))).await;
        }
        drop(limiter.seat(0, Some(0)).await);
        assert!((5_500..=6_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn each_process_takes_its_part() {
        let limiter = requests(600);
        limiter.divide(3);
        let third = times(&limiter, 300, 0, 0).await;
        assert!((185..=200).contains(&densest(&third)), "{}", densest(&third));
        limiter.divide(1);
        let all = times(&limiter, 900, 0, 0).await;
        assert!((570..=600).contains(&densest(&all)), "{}", densest(&all));
    }

    #[tokio::test(start_paused = true)]
    async fn to_be_told_the_same_again_changes_nothing() {
        let limiter = requests(60);
        let begun = Instant::now();
        for _ in 0..10 {
            limiter.divide(1);
            drop(limiter.seat(0, None).await);
        }
        assert!(begun.elapsed() >= Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn as_long_as_the_part_is_not_known_everybody_waits() {
        let limiter = requests(600);
        limiter.divide(0);
        let mut waiting = std::pin::pin!(limiter.seat(0, None));
        assert!(tokio::time::timeout(Duration::from_secs(60), &mut waiting).await.is_err());
        limiter.divide(2);
        drop(waiting.await);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_run_at_a_time_and_the_first_in_line_is_the_next() {
        let limiter = Limiter::new(Limits { concurrent: 2, ..Limits::default() });
        let (one, two) = (limiter.seat(0, None).await, limiter.seat(0, None).await);
        let third = limiter.seat(0, None);
        let late = tokio::time::timeout(Duration::from_secs(9), third).await;
        assert!(late.is_err());
        drop(one);
        let third = limiter.seat(0, None).await;
        assert_eq!(limiter.running.load(Ordering::Relaxed), 2);
        drop((two, third));
        assert_eq!(limiter.running.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nobody_waits() {
        let limiter = Limiter::new(Limits::default());
        let begun = Instant::now();
        let seats = futures::future::join_all((0..1_000).map(|_| limiter.seat(1_000_000, None))).await;
        assert!(begun.elapsed().is_zero() && seats.len() == 1_000);
    }
}
