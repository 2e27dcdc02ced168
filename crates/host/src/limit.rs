//! Limits: so many requests per minute, and a count of what was too much.

use std::{hash::Hash, num::NonZeroU32};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, QuantaClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};

use crate::telemetry::Metric;

const HITS: &str = "omnichat_limit_hits_total";

/// The metrics of limits.
pub const METRICS: &[Metric] =
    &[Metric::counter(HITS, "Requests and connections refused because a limit was reached, by limit.")];

/// Of every rate, in seconds.
const WINDOW_S: u32 = 60;
/// Keys that are remembered before those that have all of their limit are cleared away.
const KEYS_MAX: usize = 100_000;

/// Counts that the limit of this name was reached.
pub fn hit(limit: &'static str) {
    metrics::counter!(HITS, "limit" => limit).increment(1);
}

type Limiter<K> = RateLimiter<K, DashMapStateStore<K>, QuantaClock, StateInformationMiddleware>;

/// So many requests per key and minute, counted in this process.
#[derive(Debug)]
pub struct RateLimit<K: Hash + Eq + Clone> {
    name: &'static str,
    per_min: NonZeroU32,
    limiter: Limiter<K>,
}

/// Where a key stands with its limit, in the words of the `RateLimit` header fields for HTTP (IETF draft).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `RateLimit-Policy`: what is allowed in which time.
    pub policy: String,
    /// `RateLimit`: what is left of it, and in how many seconds all of it is there again.
    pub left: String,
}

/// A request too many.
#[derive(Debug)]
pub struct Excess {
    /// Nothing is left.
    pub standing: Standing,
    /// When the next one may come, in seconds, at least 1.
    pub retry_after_s: u32,
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// A limit of so many requests per minute; none for 0.
    pub fn new(name: &'static str, per_min: u32) -> Option<Self> {
        let per_min = NonZeroU32::new(per_min)?;
        Some(Self {
            name,
            per_min,
            limiter: RateLimiter::dashmap(Quota::per_minute(per_min)).with_middleware(),
        })
    }

    /// Takes one request.
    ///
    /// # Errors
    /// [`Excess`], which is counted, if none is left.
    pub fn take(&self, key: &K) -> Result<Standing, Excess> {
        if self.limiter.len() > KEYS_MAX {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(key) {
            Ok(state) => {
                let left = state.remaining_burst_capacity();
                let used = self.per_min.get().saturating_sub(left);
                // In 64 bits: the limit is the operator's to say.
                let whole_in_s = (u64::from(used) * u64::from(WINDOW_S)).div_ceil(self.per_min.get().into());
                Ok(self.standing(left, whole_in_s))
            }
            Err(until) => {
                hit(self.name);
                let wait = until.wait_time_from(QuantaClock::default().now());
                let retry_after_s = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                Err(Excess { standing: self.standing(0, WINDOW_S.into()), retry_after_s })
            }
        }
    }

    fn standing(&self, left: u32, whole_in_s: u64) -> Standing {
        let Self { name, per_min, .. } = self;
        Standing {
            policy: format!("\"{name}\";q={per_min};w={WINDOW_S}"),
            left: format!("\"{name}\";r={left};t={whole_in_s}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_limit_and_hears_what_is_left() {
        let limit = RateLimit::new("logins", 2).unwrap();
        let standing = limit.take(&"ana").unwrap();
        assert_eq!(
            (standing.policy.as_str(), standing.left.as_str()),
            ("\"logins\";q=2;w=60", "\"logins\";r=1;t=30")
        );
        assert_eq!(limit.take(&"ana").unwrap().left, "\"logins\";r=0;t=60");
        let excess = limit.take(&"ana").unwrap_err();
        assert_eq!(excess.standing.left, "\"logins\";r=0;t=60");
        assert!((1..=31).contains(&excess.retry_after_s), "{excess:?}");
        assert!(limit.take(&"bob").is_ok());
    }

    #[test]
    fn zero_is_no_limit_and_the_largest_number_is_one() {
        assert!(RateLimit::<u8>::new("logins", 0).is_none());
        assert!(RateLimit::new("logins", u32::MAX).unwrap().take(&1).is_ok());
    }
}
