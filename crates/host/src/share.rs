//! What is in work, counted by whose it is, so that what one asks for without end is refused to that one.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What each may have in work at a time, and all together.
#[derive(Clone)]
pub struct Shares<K: Hash + Eq + Copy> {
    each_max: usize,
    all_max: usize,
    held: Arc<Mutex<Held<K>>>,
}

/// One thing in work; over when it is dropped.
pub struct Share<K: Hash + Eq + Copy> {
    of: Shares<K>,
    key: K,
}

/// There is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Of this one's.
    Each,
    /// At all.
    All,
}

struct Held<K> {
    by_key: HashMap<K, usize>,
    all: usize,
}

impl<K: Hash + Eq + Copy> Shares<K> {
    /// Up to so many for each, and for all together; 0 is no bound.
    pub fn new(each_max: usize, all_max: usize) -> Self {
        let bound = |max| if max == 0 { usize::MAX } else { max };
        let held = Held { by_key: HashMap::new(), all: 0 };
        Self { each_max: bound(each_max), all_max: bound(all_max), held: Arc::new(Mutex::new(held)) }
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// There is not.
    pub fn room(&self, key: K) -> Result<(), Full> {
        self.room_in(&self.held(), key)
    }

    /// Takes room for one more.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self, key: K) -> Result<Share<K>, Full> {
        let mut held = self.held();
        self.room_in(&held, key)?;
        *held.by_key.entry(key).or_default() += 1;
        held.all += 1;
        Ok(Share { of: self.clone(), key })
    }

    fn room_in(&self, held: &Held<K>, key: K) -> Result<(), Full> {
        if held.all >= self.all_max {
            return Err(Full::All);
        }
        let own = held.by_key.get(&key).copied().unwrap_or_default();
        if own >= self.each_max { Err(Full::Each) } else { Ok(()) }
    }

    /// No code panics while it holds this lock, and the counts would be sound if one did.
    fn held(&self) -> MutexGuard<'_, Held<K>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Copy> Drop for Share<K> {
    fn drop(&mut self) {
        let mut held = self.of.held();
        held.all -= 1;
        if let Entry::Occupied(mut count) = held.by_key.entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl<K: Hash + Eq + Copy> fmt::Debug for Share<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_share_and_no_more() {
        let shares = Shares::new(2, 0);
        let taken = [shares.take("ana").unwrap(), shares.take("ana").unwrap()];
        assert_eq!(shares.take("ana").err(), Some(Full::Each));
        assert!(shares.take("bob").is_ok(), "the other has one of his own");
        drop(taken);
        assert!(shares.room("ana").is_ok());
        assert!(shares.held().by_key.is_empty(), "who asks nothing is not remembered");
    }

    #[test]
    fn all_together_have_a_bound_too() {
        let shares = Shares::new(0, 3);
        let taken: Vec<_> = (0..3).map(|_| shares.take("ana").unwrap()).collect();
        assert_eq!(shares.room("bob"), Err(Full::All));
        drop(taken);
        assert_eq!(shares.held().all, 0);
    }
}
