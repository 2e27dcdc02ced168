//! Who serves a model: an ordered list of providers, gone along from call to call.

use std::{sync::Arc, time::Duration};

use crate::{
    breaker::Rest,
    error::CallError,
    key::{Key, Pass},
    price::Prices,
    provider::Provider,
    settings::Settings,
};

/// The providers of one model, best first.
pub(crate) struct Route {
    pub(crate) steps: Vec<Step>,
    /// What the model can read and write in one call, in tokens.
    pub(crate) context_tokens: Option<u32>,
    /// How it is asked to answer where a call says nothing else.
    pub(crate) settings: Option<Settings>,
}

/// Who serves a model, under which name, for what.
pub(crate) struct Step {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: String,
    pub(crate) prices: Option<Prices>,
}

/// Where a call is to be made.
pub(crate) struct Place {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: String,
    pub(crate) prices: Option<Prices>,
    pub(crate) pass: Pass,
}

/// Why no call can be made just now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct NoPlace {
    /// What the last call was that failed.
    pub error: CallError,
    /// When to ask again. None: it would be useless.
    pub wait: Option<Duration>,
}

impl NoPlace {
    /// The first reason counts, and the shortest rest. A key that is not accepted does not mend by resting.
    fn after(before: Option<Self>, rest: Rest) -> Self {
        let mends = !matches!(rest.because, CallError::Configuration { .. });
        let wait = mends.then_some(rest.left);
        match before {
            Some(Self { error, wait: before }) => Self { error, wait: before.into_iter().chain(wait).min() },
            None => Self { error: rest.because, wait },
        }
    }
}

impl Route {
    /// Where the call of this attempt, from 1, is to be made: each goes one step further than the one before, and passes over
    /// what rests. The number alone decides, so that whoever goes on after a crash goes on along the route.
    ///
    /// # Errors
    /// All of them rest: why the first one does, and when to ask again.
    pub(crate) fn place(&self, attempt: u32) -> Result<Place, NoPlace> {
        let mut why: Option<NoPlace> = None;
        for step in self.from(attempt) {
            match step.provider.pass() {
                Ok(pass) => {
                    let provider = Arc::clone(&step.provider);
                    return Ok(Place { provider, model: step.model.clone(), prices: step.prices, pass });
                }
                Err(rest) => why = Some(NoPlace::after(why, rest)),
            }
        }
        let nobody = || NoPlace { error: CallError::Unavailable("the model has no provider"), wait: None };
        Err(why.unwrap_or_else(nobody))
    }

    /// When the first of its keys has rested. None: none of them ever will, by itself.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let rests = self.steps.iter().filter_map(|step| step.provider.rest());
        rests.fold(None, |why, rest| Some(NoPlace::after(why, rest)))?.wait
    }

    /// Who would be asked by the call of this attempt.
    pub(crate) fn next(&self, attempt: u32) -> Option<&Step> {
        self.from(attempt).find(|step| step.provider.is_awake())
    }

    fn from(&self, attempt: u32) -> impl Iterator<Item = &Step> {
        let first = attempt.saturating_sub(1) as usize % self.steps.len().max(1);
        self.steps[first..].iter().chain(&self.steps[..first])
    }
}

/// Picks among the keys that do not rest, each as often as its weight says.
///
/// # Errors
/// All rest: the shortest of their rests.
pub(crate) fn pass(keys: &[Arc<Key>]) -> Result<Pass, Rest> {
    if let [key] = keys {
        return key.pass();
    }
    let awake: Vec<_> = keys.iter().filter(|key| key.rests().is_none()).collect();
    let sum: u32 = awake.iter().map(|key| key.weight).sum();
    let mut left = if awake.len() > 1 && sum > 0 { rand::random_range(0..sum) } else { 0 };
    let picked = awake.iter().position(|key| {
        let here = left < key.weight;
        left = left.saturating_sub(key.weight);
        here
    });
    // Another call may have taken the try of one that has just ended its rest: then the others may still do.
    let (before, after) = awake.split_at(picked.unwrap_or_default());
    let passed = after.iter().chain(before).find_map(|key| key.pass().ok());
    passed.ok_or_else(|| shortest_rest(keys))
}

/// Of keys of which none is awake.
pub(crate) fn shortest_rest(keys: &[Arc<Key>]) -> Rest {
    let rests = keys.iter().filter_map(|key| key.rests());
    // One may have woken up since.
    let awake = || Rest { because: CallError::Failed { status: None }, left: Duration::ZERO };
    rests.min_by_key(|rest| rest.left).unwrap_or_else(awake)
}
