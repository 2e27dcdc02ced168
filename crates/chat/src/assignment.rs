//! Which worker should own which partition: computed by each worker for itself, from nothing but the names of those alive.
//!
//! Bounded rendezvous hashing: every partition goes to the worker with the highest hash that has room, and nobody has more
//! than their share, rounded up. When a worker comes or goes, little more than its share moves.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The partitions of `own` among `workers`, of `count` in all. None if it is not one of them.
pub fn share_of(own: &str, workers: &[String], count: u16) -> Vec<u16> {
    assign(workers, count)
        .into_iter()
        .filter(|(_, worker)| *worker == own)
        .map(|(partition, _)| partition)
        .collect()
}

fn assign(workers: &[String], count: u16) -> BTreeMap<u16, &str> {
    let share = usize::from(count).div_ceil(workers.len().max(1));
    let mut loads: BTreeMap<&str, usize> = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for partition in 0..count {
        let free = workers.iter().filter(|worker| loads.get(worker.as_str()).copied().unwrap_or(0) < share);
        let Some(owner) = free.max_by_key(|worker| (weight(partition, worker), *worker)) else { break };
        *loads.entry(owner).or_default() += 1;
        owners.insert(partition, owner.as_str());
    }
    owners
}

/// The same in every process and every version.
fn weight(partition: u16, worker: &str) -> [u8; 32] {
    Sha256::new().chain_update(partition.to_be_bytes()).chain_update(worker).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("chat-{number}")).collect()
    }

    fn moved(before: &BTreeMap<u16, &str>, after: &BTreeMap<u16, &str>) -> usize {
        before.iter().filter(|(partition, owner)| after[*partition] != **owner).count()
    }

    #[test]
    fn every_partition_has_one_owner_and_nobody_more_than_their_share() {
        for (workers, count) in [(1, 16), (2, 16), (3, 16), (5, 64), (16, 16), (40, 16)] {
            let workers = names(workers);
            let shares: Vec<_> = workers.iter().map(|own| share_of(own, &workers, count)).collect();
            let mut all: Vec<_> = shares.iter().flatten().copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            let most = usize::from(count).div_ceil(workers.len());
            assert!(shares.iter().all(|share| share.len() <= most), "{shares:?}");
        }
    }

    #[test]
    fn the_order_of_the_names_does_not_matter() {
        let (forth, mut back) = (names(5), names(5));
        back.reverse();
        assert_eq!(assign(&forth, 64), assign(&back, 64));
    }

    #[test]
    fn little_more_than_its_share_moves_when_a_worker_comes_or_goes() {
        for workers in 2..8 {
            let (few, many) = (names(workers), names(workers + 1));
            let moves = moved(&assign(&few, 64), &assign(&many, 64));
            let share = 64_usize.div_ceil(workers + 1);
            assert!(
                moves >= share - workers && moves <= 2 * share,
                "{workers} + 1 workers: {moves} of 64 move"
            );
        }
    }

    #[test]
    fn without_workers_there_are_no_owners() {
        assert!(assign(&[], 16).is_empty());
        assert!(share_of("chat-9", &names(2), 16).is_empty());
    }
}
