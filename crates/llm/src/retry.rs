//! Whether a call that failed is worth making once more, and after which rest.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::{breaker::Verdict, error::CallError};

/// A provider that asks for more is asked again after this: by then somebody has been waiting for long enough.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// The longest rest before the second call. It doubles with each further one.
const FIRST: Duration = Duration::from_millis(500);
/// The longest before any.
const LONGEST: Duration = Duration::from_secs(8);

/// Whether the same call, to the same provider, may go better another time: the provider was busy, or does not work just now.
pub(crate) fn may_pass(error: &CallError) -> bool {
    matches!(error, CallError::Busy { .. }) || Verdict::of(error) == Verdict::Fails
}

/// The rest before the same provider is asked again, after its failure of this attempt, from 1: what it asks for, else any time
/// up to an exponentially growing bound (full jitter), so that calls which failed together do not come back together.
pub(crate) fn rest(attempt: u32, error: &CallError) -> Duration {
    if let CallError::Busy { retry_after: Some(wait) } = error {
        return (*wait).min(RETRY_AFTER_MAX);
    }
    let growing =
        ExponentialBuilder::new().with_min_delay(FIRST).with_max_delay(LONGEST).without_max_times().build();
    let bound = growing.take(attempt.clamp(1, 16) as usize).last().unwrap_or(FIRST);
    bound.mul_f64(rand::random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(attempt: u32) -> u128 {
        let rests = (0..1_000).map(|_| rest(attempt, &CallError::Truncated).as_millis());
        rests.max().unwrap_or_default()
    }

    #[test]
    fn rests_spread_below_a_bound_that_grows() {
        for (attempt, bound_ms) in [(1, 500), (2, 1_000), (3, 2_000), (5, 8_000), (99, 8_000)] {
            let longest = longest(attempt);
            assert!(longest <= bound_ms && longest > bound_ms * 9 / 10, "{attempt}: {longest}");
        }
    }

    #[test]
    fn a_provider_that_says_when_is_asked_then_within_reason() {
        let wait = |seconds| rest(1, &CallError::Busy { retry_after: Some(Duration::from_secs(seconds)) });
        assert_eq!([0, 2, 30, 31, 1_000_000_000].map(|it| wait(it).as_secs()), [0, 2, 30, 30, 30]);
    }
}
