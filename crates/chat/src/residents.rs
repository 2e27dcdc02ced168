//! The conversations that are in memory: how many, and which of a partition's was used longest ago.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use wire::ConversationId;

/// How many conversations this process has in memory, and how many it may have while there are idle ones.
#[derive(Debug, Clone)]
pub struct Residents {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// One of them; dropped when it leaves.
#[derive(Debug)]
pub struct Resident(Residents);

impl Residents {
    /// At most `max`, but for those that are busy.
    pub fn new(max: u32) -> Self {
        Self { count: Arc::default(), max: max as usize }
    }

    /// One more is in memory.
    pub fn enter(&self) -> Resident {
        self.count.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("omnichat_conversations_alive").increment(1);
        Resident(self.clone())
    }

    /// How many there are too many.
    pub fn excess(&self) -> usize {
        self.count.load(Ordering::Relaxed).saturating_sub(self.max)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("omnichat_conversations_alive").decrement(1);
    }
}

/// In which order conversations were used. Uses are numbered; each conversation keeps the number of its last one.
#[derive(Debug, Default)]
pub struct Recency {
    next: u64,
    by_use: BTreeMap<u64, ConversationId>,
}

impl Recency {
    /// The conversation is used now, and was before at `last`. Gives the number of this use.
    pub fn touch(&mut self, conversation: ConversationId, last: Option<u64>) -> u64 {
        last.and_then(|last| self.by_use.remove(&last));
        self.next += 1;
        self.by_use.insert(self.next, conversation);
        self.next
    }

    /// The conversation that was last used at `last` is gone.
    pub fn forget(&mut self, last: u64) {
        self.by_use.remove(&last);
    }

    /// The one that was used longest ago.
    pub fn oldest(&self) -> Option<ConversationId> {
        self.by_use.values().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_used_longest_ago_is_the_oldest_and_each_is_known_once() {
        let mut recency = Recency::default();
        let [one, two] = [ConversationId::new(), ConversationId::new()];
        let first = recency.touch(one, None);
        let second = recency.touch(two, None);
        assert_eq!(recency.oldest(), Some(one));
        let again = recency.touch(one, Some(first));
        assert_eq!((recency.oldest(), recency.by_use.len()), (Some(two), 2));
        recency.forget(second);
        assert_eq!(recency.oldest(), Some(one));
        recency.forget(again);
        assert_eq!(recency.oldest(), None);
    }

    #[test]
    fn there_are_too_many_until_one_leaves() {
        let residents = Residents::new(1);
        let first = residents.enter();
        assert_eq!(residents.excess(), 0);
        let second = residents.enter();
        assert_eq!(residents.excess(), 1);
        drop(first);
        assert_eq!(residents.excess(), 0);
        drop(second);
        assert_eq!(residents.count.load(Ordering::Relaxed), 0);
    }
}
