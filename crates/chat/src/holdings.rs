//! What this process owns at the moment: for readiness, for the rescue, and for operators who ask.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use time::OffsetDateTime;
use wire::owned::{OwnedPartition, OwnedPartitions};

use crate::model::Ownership;

/// The partitions that this process owns.
#[derive(Debug, Default, Clone)]
pub struct Holdings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wanted: AtomicU16,
    held: Mutex<BTreeMap<u16, Holding>>,
}

#[derive(Debug)]
struct Holding {
    epoch: i64,
    since: OffsetDateTime,
    conversations: Arc<AtomicUsize>,
}

/// One of them; dropped when it is given up.
#[derive(Debug)]
pub struct Hold {
    holdings: Holdings,
    partition: u16,
    epoch: i64,
    /// Its conversations that are in memory.
    pub conversations: Arc<AtomicUsize>,
}

impl Holdings {
    /// This process owns one more.
    pub fn hold(&self, partition: u16, epoch: i64) -> Hold {
        let conversations = Arc::new(AtomicUsize::new(0));
        let holding =
            Holding { epoch, since: OffsetDateTime::now_utc(), conversations: conversations.clone() };
        self.lock().insert(partition, holding);
        Hold { holdings: self.clone(), partition, epoch, conversations }
    }

    /// So many it should own.
    pub fn want(&self, partitions: usize) {
        self.0.wanted.store(u16::try_from(partitions).unwrap_or(u16::MAX), Ordering::Relaxed);
    }

    /// All of them.
    pub fn all(&self) -> Vec<Ownership> {
        let number = |partition: u16| i16::try_from(partition).unwrap_or(i16::MAX);
        self.lock()
            .iter()
            .map(|(partition, holding)| Ownership { partition: number(*partition), epoch: holding.epoch })
            .collect()
    }

    /// For readiness: a process that owns nothing, and should, runs nothing.
    pub fn check(&self, of: u16) -> Result<String, String> {
        match (self.lock().len(), self.0.wanted.load(Ordering::Relaxed)) {
            (0, wanted) if wanted > 0 => Err("no partition is owned by this process".into()),
            (held, _) => Ok(format!("{held} of {of}")),
        }
    }

    /// For operators.
    pub fn report(&self, worker: &str) -> OwnedPartitions {
        let owned = |(partition, holding): (&u16, &Holding)| OwnedPartition {
            partition: *partition,
            epoch: holding.epoch,
            since: holding.since,
            conversations: holding.conversations.load(Ordering::Relaxed),
        };
        OwnedPartitions { worker: worker.to_owned(), partitions: self.lock().iter().map(owned).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Holding>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holdings.lock();
        // A later epoch of this same process may hold it already.
        if held.get(&self.partition).is_some_and(|holding| holding.epoch == self.epoch) {
            held.remove(&self.partition);
        }
    }
}
