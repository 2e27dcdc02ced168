//! Places: so many in all, and so many for one of those who take them. Connections have them, streams and sockets.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wire::limit::Limit;

/// Places, to be taken for a `K`.
pub(crate) struct Slots<K: Hash + Eq> {
    all: Bound,
    of_one: Bound,
    taken: Mutex<Taken<K>>,
}

/// So many at a time; 0: no bound.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub limit: &'static Limit,
    pub max: u32,
}

struct Taken<K> {
    all: u32,
    by_key: HashMap<K, u32>,
}

/// A place, free again when it is dropped.
pub(crate) struct Slot<K: Hash + Eq> {
    slots: Arc<Slots<K>>,
    /// Whose it is, if that counts.
    key: Option<K>,
}

impl Bound {
    const fn is_reached(&self, taken: u32) -> bool {
        self.max > 0 && taken >= self.max
    }
}

impl<K: Hash + Eq + Clone> Slots<K> {
    pub fn new(all: Bound, of_one: Bound) -> Arc<Self> {
        let taken = Mutex::new(Taken { all: 0, by_key: HashMap::new() });
        Arc::new(Self { all, of_one, taken })
    }

    /// Takes a place for `key`; without one, for somebody who may have all of them.
    ///
    /// # Errors
    /// The limit that was reached.
    pub fn take(self: &Arc<Self>, key: Option<K>) -> Result<Slot<K>, &'static Limit> {
        let mut taken = self.taken();
        if self.all.is_reached(taken.all) {
            return Err(self.all.limit);
        }
        taken.all += 1;
        drop(taken);
        let mut slot = Slot { slots: self.clone(), key: None };
        if let Some(key) = key {
            slot.give(key)?;
        }
        Ok(slot)
    }
}

impl<K: Hash + Eq> Slots<K> {
    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Clone> Slot<K> {
    /// Says whose it is, once that is known.
    ///
    /// # Errors
    /// The limit that was reached: the place is nobody's as before.
    pub fn give(&mut self, key: K) -> Result<(), &'static Limit> {
        let Bound { limit, max } = self.slots.of_one;
        if max > 0 && self.key.is_none() {
            let mut taken = self.slots.taken();
            let own = taken.by_key.get(&key).copied().unwrap_or_default();
            if self.slots.of_one.is_reached(own) {
                return Err(limit);
            }
            taken.by_key.insert(key.clone(), own + 1);
            drop(taken);
            self.key = Some(key);
        }
        Ok(())
    }
}

impl<K: Hash + Eq> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.all -= 1;
        if let Some(key) = &self.key
            && let Some(own) = taken.by_key.get_mut(key)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::limit::{CONNECTIONS, CONNECTIONS_PER_ADDRESS};

    use super::*;

    fn slots(all: u32, of_one: u32) -> Arc<Slots<char>> {
        let bound = |limit, max| Bound { limit, max };
        Slots::new(bound(&CONNECTIONS, all), bound(&CONNECTIONS_PER_ADDRESS, of_one))
    }

    fn refused(taken: Result<Slot<char>, &'static Limit>) -> Option<&'static str> {
        taken.err().map(|limit| limit.name)
    }

    #[test]
    fn one_too_many_is_refused_until_one_leaves() {
        let slots = slots(3, 2);
        let [ana, bob] = ['a', 'b'].map(Some);
        let first = slots.take(ana).ok().unwrap();
        let _second = slots.take(ana).ok().unwrap();
        assert_eq!(refused(slots.take(ana)), Some("connections_per_address"));
        let third = slots.take(bob).ok().unwrap();
        assert_eq!(refused(slots.take(bob)), Some("connections"));
        drop(third);
        assert_eq!(
            refused(slots.take(ana)),
            Some("connections_per_address"),
            "one of bob's is not one of hers"
        );
        drop(first);
        let _again = slots.take(ana).ok().unwrap();
        assert_eq!(slots.taken().by_key.len(), 1, "who has left is forgotten");
    }

    #[test]
    fn a_place_may_be_given_later() {
        let slots = slots(3, 1);
        let mut first = slots.take(None).ok().unwrap();
        let mut second = slots.take(None).ok().unwrap();
        assert!(first.give('a').is_ok());
        assert_eq!(second.give('a').err().map(|limit| limit.name), Some("connections_per_address"));
        assert!(second.give('b').is_ok());
        drop(first);
        assert_eq!(slots.taken().by_key.len(), 1, "it is free again with its key");
        assert!(slots.take(Some('a')).is_ok());
    }

    #[test]
    fn some_may_have_all_and_with_zero_everybody_may() {
        let few = slots(3, 1);
        let held: Vec<_> = (0..3).map(|_| few.take(None).ok().unwrap()).collect();
        assert_eq!(refused(few.take(None)), Some("connections"));
        drop(held);
        let open = slots(3, 0);
        let _held: Vec<_> = (0..3).map(|_| open.take(Some('a')).ok().unwrap()).collect();
        assert_eq!(refused(open.take(Some('a'))), Some("connections"));
        let endless = slots(0, 2);
        let _some: Vec<_> = (0..9).map(|_| endless.take(None).ok().unwrap()).collect();
        let _hers: Vec<_> = (0..2).map(|_| endless.take(Some('a')).ok().unwrap()).collect();
        assert_eq!(refused(endless.take(Some('a'))), Some("connections_per_address"));
    }
}
