//! Guessing passwords: an account that was failed five times in a row answers the next tries only after a delay, which
//! grows. Nobody is ever locked out, and an address without an account is treated alike.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::model::Email;

/// Failures before the first delay.
const FREE_FAILURES: u32 = 5;
/// The longest delay.
const DELAY_MAX_S: u64 = 60;
/// Accounts that are remembered.
const ACCOUNTS_MAX: u64 = 100_000;
/// Failures are forgotten after so long without one.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// Counts failures per account, in this process.
pub struct Throttle {
    /// By a keyed hash: addresses are not kept.
    accounts: Cache<[u8; 32], Arc<Mutex<Failures>>>,
    key: [u8; 32],
}

#[derive(Debug, Default)]
struct Failures {
    /// In a row, those that are being tried included.
    count: u32,
    /// No try before.
    until: Option<Instant>,
}

/// A try that was let through. It counts as a failure until it is told to be none.
pub struct Attempt<'a> {
    throttle: &'a Throttle,
    account: [u8; 32],
}

impl Default for Throttle {
    /// Without any failures.
    fn default() -> Self {
        let accounts = Cache::builder().max_capacity(ACCOUNTS_MAX).time_to_idle(MEMORY).build();
        Self { accounts, key: rand::random() }
    }
}

impl Throttle {
    /// Lets a try through, or tells after how many seconds the next one may come.
    pub fn attempt(&self, email: &Email, now: Instant) -> Result<Attempt<'_>, u32> {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(email.as_str());
        let account = hash.finalize().into();
        let failures = self.accounts.get_with(account, Arc::default);
        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = failures.until.and_then(|until| until.checked_duration_since(now)) {
            return Err(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
        }
        failures.count = failures.count.saturating_add(1);
        failures.until = delay(failures.count).map(|delay| now + delay);
        Ok(Attempt { throttle: self, account })
    }
}

impl Attempt<'_> {
    /// It was the right password: all is forgotten.
    pub fn succeeded(self) {
        self.throttle.accounts.invalidate(&self.account);
    }

    /// It was not tried after all.
    pub fn forget(self) {
        if let Some(failures) = self.throttle.accounts.get(&self.account) {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.count = failures.count.saturating_sub(1);
            failures.until = None;
        }
    }
}

/// How long after this many failures.
fn delay(failures: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(FREE_FAILURES)?;
    Some(Duration::from_secs(1_u64.checked_shl(beyond).unwrap_or(DELAY_MAX_S).clamp(1, DELAY_MAX_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_try_waits_and_a_success_forgets() {
        let (throttle, email, mut now) = (Throttle::default(), Email::folded("a@b.org"), Instant::now());
        for _ in 0..5 {
            assert!(throttle.attempt(&email, now).is_ok());
        }
        for delay_s in [1_u64, 2, 4, 8, 16, 32, 60, 60] {
            assert!(throttle.attempt(&email, now).is_err(), "before {delay_s} s");
            assert!(throttle.attempt(&Email::folded("other@b.org"), now).is_ok());
            now += Duration::from_secs(delay_s) + Duration::from_millis(1);
            assert!(throttle.attempt(&email, now).is_ok(), "after {delay_s} s");
        }
        now += Duration::from_secs(61);
        throttle.attempt(&email, now).ok().unwrap().succeeded();
        for _ in 0..5 {
            assert!(throttle.attempt(&email, now).is_ok());
        }
    }

    #[test]
    fn what_was_not_tried_does_not_count() {
        let (throttle, email, now) = (Throttle::default(), Email::folded("a@b.org"), Instant::now());
        for _ in 0..20 {
            throttle.attempt(&email, now).ok().unwrap().forget();
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..ACCOUNTS_MAX + 20_000 {
            drop(throttle.attempt(&Email::folded(&format!("{number}@b.org")), now));
        }
        throttle.accounts.run_pending_tasks();
        assert!(throttle.accounts.entry_count() <= ACCOUNTS_MAX);
    }
}
