//! What must hold after a run, whatever was done to the system meanwhile. Each check is a function from the evidence to
//! what it found against the promise; each has tests that break the promise and see it found.

mod answers;
mod bill;
mod bounds;
mod calls;
mod cancels;
mod isolation;
mod keys;
mod liveness;
mod order;
#[cfg(test)]
mod sample;
mod storage;
mod streams;

use super::evidence::Evidence;

/// A predicate over a run.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its number.
    pub name: &'static str,
    /// What it says.
    pub promise: &'static str,
    /// What it finds against it, one sentence with ids each.
    pub find: fn(&Evidence) -> Vec<String>,
}

/// Every check.
pub const CHECKS: [Check; 24] = [
    Check {
        name: "I1",
        promise: "what was answered is there when its owner reads, then and in the end",
        find: answers::accepted_is_kept,
    },
    Check { name: "I2", promise: "no turn comes from nowhere", find: answers::nothing_from_nowhere },
    Check {
        name: "I3",
        promise: "every turn has exactly one outcome, written once",
        find: answers::one_outcome,
    },
    Check {
        name: "I4",
        promise: "a completed turn has one answer, that of exactly one attempt; another has none",
        find: answers::one_answer,
    },
    Check {
        name: "I5",
        promise: "one key is one turn with one answer, and another text is refused",
        find: keys::one_key_one_turn,
    },
    Check {
        name: "I6",
        promise: "turns are numbered without gaps, in the order of real time",
        find: order::numbered_in_order,
    },
    Check {
        name: "I7",
        promise: "the provider is told exactly what was said before, and only when it was",
        find: order::prompts_are_prefixes,
    },
    Check {
        name: "I8",
        promise: "only the owner of a partition writes, and its epochs rise",
        find: order::only_owners_write,
    },
    Check {
        name: "I9",
        promise: "nobody receives a text of somebody else, or learns whether something is there",
        find: isolation::nobody_hears_others,
    },
    Check {
        name: "I10",
        promise: "a reader of a turn's events is told one text without a gap, over all its connections",
        find: streams::told_without_a_gap,
    },
    Check {
        name: "I11",
        promise: "every reader is told in time how the turn ended",
        find: streams::told_the_end,
    },
    Check {
        name: "I12",
        promise: "a turn is called for three times at most, and once when nothing failed",
        find: calls::few_calls,
    },
    Check {
        name: "I13",
        promise: "what a cancel was answered is so, and no call begins for what has ended",
        find: cancels::cancelled_is_final,
    },
    Check {
        name: "I14",
        promise: "no process takes more than 300 MiB or 1,000 files",
        find: bounds::memory_is_bounded,
    },
    Check { name: "I15", promise: "nothing is left in the queue", find: bounds::queue_is_empty },
    Check { name: "I16", promise: "every turn ends in time", find: liveness::every_turn_ends },
    Check {
        name: "I17",
        promise: "after the faults all is well at once, over every way and with every worker",
        find: liveness::all_is_well_again,
    },
    Check {
        name: "I18",
        promise: "only an explicit finish makes a completed turn",
        find: answers::finished_explicitly,
    },
    Check { name: "I19", promise: "no log holds a secret or a text", find: isolation::logs_are_clean },
    Check { name: "I20", promise: "a forged credential opens nothing", find: isolation::forged_is_refused },
    Check {
        name: "I21",
        promise: "what is deleted is not read or answered any more",
        find: isolation::deleted_is_gone,
    },
    Check { name: "I22a", promise: "what is stored fits together", find: storage::rows_fit },
    Check { name: "I22b", promise: "what is stored rests when nothing runs", find: storage::rows_rest },
    Check {
        name: "I23",
        promise: "calls, tokens and cost are recorded as the provider bills them",
        find: bill::recorded_as_billed,
    },
];

/// What a check found against its promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which check.
    pub check: &'static str,
    /// The sentences, the first five of them.
    pub first: Vec<String>,
    /// How many there are.
    pub count: usize,
}

/// Every promise that was broken.
pub fn violations(evidence: &Evidence) -> Vec<Violation> {
    let broken = CHECKS.iter().filter_map(|check| {
        let found = (check.find)(evidence);
        let (count, first) = (found.len(), found.into_iter().take(5).collect());
        (count > 0).then_some(Violation { check: check.name, first, count })
    });
    broken.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_run_breaks_no_promise() {
        let found = violations(&sample::run());
        assert!(found.is_empty(), "{found:#?}");
    }
}
