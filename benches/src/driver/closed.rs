//! A closed loop: as many messages in flight as there are workers, always.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The next message is due when the one before it is answered.
pub struct Closed {
    until: Option<Instant>,
    left: AtomicU64,
}

impl Closed {
    /// For so long, from now on.
    pub fn lasting(length: Duration) -> Self {
        Self { until: Some(Instant::now() + length), left: AtomicU64::new(u64::MAX) }
    }

    /// For so many messages.
    pub const fn of(messages: u64) -> Self {
        Self { until: None, left: AtomicU64::new(messages) }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        if self.until.is_some_and(|until| now >= until) {
            return None;
        }
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.is_ok().then_some(now)
    }
}
