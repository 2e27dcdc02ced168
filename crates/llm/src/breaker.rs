//! A circuit breaker: a key whose calls fail is not asked for a while, so that nobody waits for what will fail, and a provider
//! in trouble is not asked for more. After the rest one call tries whether it has recovered.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::CallError;

/// Calls are counted in so many slices of the time that is looked back on.
const SLICES: u32 = 10;
/// While a call tries, the others ask again after this.
const TRY_WAIT: Duration = Duration::from_millis(200);
/// A rest that did not help is doubled, up to this.
const REST_MAX: Duration = Duration::from_secs(15);

/// When a key's calls are not made for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// So many failures within `within_ms` open it, if they are at least half of the calls that ended then: a few that fail
    /// among many are no outage. A key that the provider does not accept opens it at once. 0: it never opens.
    pub failures: u32,
    /// How far back is looked, in milliseconds: 100 to 3,600,000.
    pub within_ms: u64,
    /// How long the key rests before one call tries again, in milliseconds: 1 to 15,000. Doubled each time that fails, up to
    /// 15 s: less than a turn waits for providers that rest.
    pub rest_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures: 5, within_ms: 10_000, rest_ms: 1_000 }
    }
}

impl BreakerConfig {
    /// Names the first field that is out of bounds, with its bounds.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(100..=3_600_000).contains(&self.within_ms) {
            return Err(("within_ms", "must be between 100 and 3600000 ms"));
        }
        if !(1..=15_000).contains(&self.rest_ms) {
            return Err(("rest_ms", "must be between 1 and 15000 ms"));
        }
        Ok(())
    }
}

/// Why a key is not used, and for how long yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// What its last failure was.
    pub(crate) because: CallError,
    /// When to ask again.
    pub(crate) left: Duration,
}

/// The breaker of one key.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed(Window),
    /// The key rests.
    Open(Outage, Instant),
    /// One call is on its way.
    Trying(Outage),
}

#[derive(Clone, Debug)]
struct Outage {
    /// What the last failure was: whoever is refused is told the same.
    because: CallError,
    rest: Duration,
}

/// What a call means for the key it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The provider works, whatever it thinks of this call.
    Works,
    /// It does not.
    Fails,
    /// It will not, until somebody mends the configuration.
    Refuses,
    /// The call says nothing about it.
    Nothing,
}

impl Verdict {
    pub(crate) const fn of(error: &CallError) -> Self {
        match error {
            CallError::UnknownModel(_) | CallError::InvalidPrompt(_) => Self::Nothing,
            // Key and credit; all else may be this prompt's or this model's alone.
            CallError::Configuration { status: 401 | 402 } => Self::Refuses,
            CallError::Unavailable(_)
            | CallError::TimedOut(_)
            | CallError::Failed { .. }
            | CallError::Truncated
            | CallError::Malformed => Self::Fails,
            CallError::Configuration { .. }
            | CallError::Rejected { .. }
            | CallError::ContextTooLong
            | CallError::ContentFiltered
            | CallError::Busy { .. }
            | CallError::EmptyAnswer
            | CallError::UnsupportedFinish(_)
            | CallError::TooLarge => Self::Works,
        }
    }
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, state: Mutex::new(State::Closed(Window::default())) }
    }

    /// Why no call would be let through, if so.
    pub(crate) fn rest(&self) -> Option<Rest> {
        let (because, left) = match &*self.state() {
            State::Closed(_) => return None,
            State::Open(outage, until) => (outage.because.clone(), *until - Instant::now()),
            State::Trying(outage) => (outage.because.clone(), TRY_WAIT),
        };
        (!left.is_zero()).then_some(Rest { because, left })
    }

    /// Lets a call through, or says why not. True: it is the one that tries.
    pub(crate) fn admit(&self) -> Result<bool, Rest> {
        let mut state = self.state();
        match &*state {
            State::Closed(_) => Ok(false),
            State::Open(outage, until) => {
                let left = *until - Instant::now();
                if !left.is_zero() {
                    return Err(Rest { because: outage.because.clone(), left });
                }
                *state = State::Trying(outage.clone());
                Ok(true)
            }
            State::Trying(outage) => Err(Rest { because: outage.because.clone(), left: TRY_WAIT }),
        }
    }

    /// A call that was let through, as the one that tries or not, has shown how the provider is.
    pub(crate) fn note(&self, tries: bool, verdict: Verdict, error: Option<&CallError>) {
        let mut state = self.state();
        let rest = Duration::from_millis(self.config.rest_ms);
        match &mut *state {
            State::Closed(window) if verdict != Verdict::Nothing && self.config.failures > 0 => {
                let slice = Duration::from_millis(self.config.within_ms) / SLICES;
                window.count(verdict != Verdict::Works, slice);
                let trips = verdict == Verdict::Refuses || window.is_outage(self.config.failures);
                if let Some(because) = error.filter(|_| verdict != Verdict::Works && trips) {
                    *state = open(because, rest);
                }
            }
            State::Trying(outage) if tries => match (verdict, error) {
                (Verdict::Works, _) => *state = State::Closed(Window::default()),
                (Verdict::Fails | Verdict::Refuses, Some(because)) => {
                    *state = open(because, (outage.rest * 2).min(REST_MAX));
                }
                // Another one may try.
                _ => *state = State::Open(outage.clone(), Instant::now()),
            },
            _ => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(because: &CallError, rest: Duration) -> State {
    State::Open(Outage { because: because.clone(), rest }, Instant::now() + rest)
}

/// The calls that ended lately.
#[derive(Debug, Default)]
struct Window {
    slices: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    since: Instant,
    calls: u32,
    failures: u32,
}

impl Window {
    fn count(&mut self, failed: bool, length: Duration) {
        let now = Instant::now();
        while self.slices.front().is_some_and(|slice| now - slice.since >= length * SLICES) {
            self.slices.pop_front();
        }
        if self.slices.back().is_none_or(|slice| now - slice.since >= length) {
            self.slices.push_back(Slice { since: now, calls: 0, failures: 0 });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.calls = slice.calls.saturating_add(1);
            slice.failures = slice.failures.saturating_add(u32::from(failed));
        }
    }

    fn is_outage(&self, failures_min: u32) -> bool {
        let failures: u64 = self.slices.iter().map(|slice| u64::from(slice.failures)).sum();
        let calls: u64 = self.slices.iter().map(|slice| u64::from(slice.calls)).sum();
        failures >= u64::from(failures_min) && failures * 2 >= calls
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const FAILED: CallError = CallError::Failed { status: Some(500) };

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { failures: 3, within_ms: 1_000, rest_ms: 500 })
    }

    fn why(breaker: &Breaker) -> CallError {
        breaker.admit().unwrap_err().because
    }

    fn fail(breaker: &Breaker, tries: bool) {
        breaker.note(tries, Verdict::Fails, Some(&FAILED));
    }

    async fn opened() -> Breaker {
        let breaker = breaker();
        (0..3).for_each(|_| fail(&breaker, false));
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_failures_in_that_time_open_it() {
        let breaker = breaker();
        fail(&breaker, false);
        fail(&breaker, false);
        assert_eq!(breaker.admit(), Ok(false));
        advance(Duration::from_millis(1_001)).await;
        fail(&breaker, false);
        assert_eq!(breaker.admit(), Ok(false), "the first two were long ago");
        fail(&breaker, false);
        fail(&breaker, false);
        assert_eq!(why(&breaker), FAILED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_failures_among_many_calls_are_no_outage() {
        let breaker = breaker();
        for call in 0..100 {
            let failed = call % 3 == 0;
            breaker.note(false, if failed { Verdict::Fails } else { Verdict::Works }, Some(&FAILED));
        }
        assert_eq!(breaker.admit(), Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_rest_one_call_tries() {
        let breaker = opened().await;
        assert_eq!(
            breaker.rest().map(|rest| (rest.because, rest.left)),
            Some((FAILED, Duration::from_millis(500)))
        );
        advance(Duration::from_millis(500)).await;
        assert_eq!(breaker.rest(), None);
        assert_eq!(breaker.admit(), Ok(true));
        assert_eq!(why(&breaker), FAILED, "one at a time");
        breaker.note(true, Verdict::Works, None);
        assert_eq!(breaker.admit(), Ok(false));
        fail(&breaker, false);
        assert_eq!(breaker.admit(), Ok(false), "what was before is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_did_not_help_is_doubled_up_to_a_bound() {
        let breaker = opened().await;
        let mut rest = Duration::from_millis(500);
        for _ in 0..10 {
            advance(rest - Duration::from_millis(1)).await;
            assert!(breaker.admit().is_err(), "{rest:?}");
            advance(Duration::from_millis(1)).await;
            assert_eq!(breaker.admit(), Ok(true), "{rest:?}");
            fail(&breaker, true);
            rest = (rest * 2).min(REST_MAX);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_without_a_word_leaves_it_to_the_next() {
        let breaker = opened().await;
        advance(Duration::from_millis(500)).await;
        assert_eq!(breaker.admit(), Ok(true));
        breaker.note(true, Verdict::Nothing, None);
        assert_eq!(breaker.admit(), Ok(true));
        fail(&breaker, false);
        assert_eq!(why(&breaker), FAILED, "what began before says nothing of now");
        breaker.note(true, Verdict::Works, None);
        assert_eq!(breaker.admit(), Ok(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_not_accepted_opens_it_at_once() {
        let breaker = breaker();
        let refused = CallError::Configuration { status: 401 };
        breaker.note(false, Verdict::of(&refused), Some(&refused));
        assert_eq!(why(&breaker), refused);
    }

    #[tokio::test(start_paused = true)]
    async fn it_can_be_turned_off() {
        let breaker = Breaker::new(BreakerConfig { failures: 0, ..BreakerConfig::default() });
        (0..99).for_each(|_| fail(&breaker, false));
        assert_eq!(breaker.admit(), Ok(false));
    }
}
