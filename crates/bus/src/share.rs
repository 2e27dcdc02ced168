//! Requests in work, counted by user, so that a flood of one user is refused to that one.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use wire::UserId;

/// What every user may have in work at a time.
#[derive(Clone)]
pub(crate) struct Shares {
    max: usize,
    held: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// One request in work; over when it is dropped.
pub(crate) struct Share {
    of: Shares,
    user: UserId,
}

impl Shares {
    /// Up to `max` for each.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }

    /// One more for this user; none if that were too many.
    pub(crate) fn take(&self, user: UserId) -> Option<Share> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(user).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Share { of: self.clone(), user })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.of.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = held.entry(self.user) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_share_and_no_more() {
        let (shares, ana, bob) = (Shares::new(2), UserId::new(), UserId::new());
        let taken = [shares.take(ana).unwrap(), shares.take(ana).unwrap()];
        assert!(shares.take(ana).is_none() && shares.take(bob).is_some(), "the other has one of his own");
        drop(taken);
        assert!(shares.take(ana).is_some());
        assert!(shares.held.lock().unwrap().is_empty(), "who asks nothing is not remembered");
    }
}
