//! One key of a provider: what it is sent as, its share of the calls, and how it does.

use std::sync::Arc;

use reqwest::header::{HeaderName, HeaderValue};

use crate::{
    breaker::{Breaker, BreakerConfig, Rest, Verdict},
    error::CallError,
    limiter::{Limiter, Limits},
};

/// A key, or the lack of one.
pub(crate) struct Key {
    /// The header that carries it.
    pub(crate) header: Option<(HeaderName, HeaderValue)>,
    /// Its part of the calls, relative to the provider's other keys.
    pub(crate) weight: u32,
    breaker: Breaker,
    limiter: Arc<Limiter>,
}

/// A call that may be made with a key. Dropped without a verdict, it has said nothing about the key.
pub(crate) struct Pass {
    key: Arc<Key>,
    tries: bool,
    judged: bool,
}

impl Key {
    pub(crate) fn new(
        header: Option<(HeaderName, HeaderValue)>,
        weight: u32,
        breaker: BreakerConfig,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self { header, weight, breaker: Breaker::new(breaker), limiter: Limiter::new(limits) })
    }

    /// What its provider allows to it.
    pub(crate) fn limiter(&self) -> &Arc<Limiter> {
        &self.limiter
    }

    /// Why no call is made with it just now.
    pub(crate) fn rests(&self) -> Option<Rest> {
        self.breaker.rest()
    }

    /// Lets a call through, or says why not.
    pub(crate) fn pass(self: &Arc<Self>) -> Result<Pass, Rest> {
        self.breaker.admit().map(|tries| Pass { key: Arc::clone(self), tries, judged: false })
    }
}

impl Pass {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The provider answers.
    pub(crate) fn works(&mut self) {
        if !std::mem::replace(&mut self.judged, true) {
            self.key.breaker.note(self.tries, Verdict::Works, None);
        }
    }

    /// The call has failed; that it began well before says no more.
    pub(crate) fn failed(&mut self, error: &CallError) {
        let again = std::mem::replace(&mut self.judged, true);
        let verdict = Verdict::of(error);
        if !again || verdict != Verdict::Works {
            self.key.breaker.note(self.tries && !again, verdict, Some(error));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.judged {
            self.key.breaker.note(self.tries, Verdict::Nothing, None);
        }
    }
}
