//! That what is used stays within its bounds.

use super::super::evidence::Evidence;

const RSS_KIB_MAX: u64 = 300 * 1024;
const FILES_MAX: u64 = 1000;

/// I14: memory and open files of every process, looked at once a second.
pub fn memory_is_bounded(run: &Evidence) -> Vec<String> {
    let over = run.samples.iter().filter(|sample| sample.rss_kib > RSS_KIB_MAX || sample.files > FILES_MAX);
    over.map(|it| format!("{} has {} KiB and {} files", it.process, it.rss_kib, it.files)).collect()
}

/// I15: when every turn has its outcome, the stream is empty and nothing is unacknowledged.
pub fn queue_is_empty(run: &Evidence) -> Vec<String> {
    let (messages, unacknowledged) = run.left;
    let left = messages > 0 || unacknowledged > 0;
    left.then(|| format!("{messages} messages are left, {unacknowledged} unacknowledged"))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::spoiled;

    #[test]
    fn too_much_memory_and_too_many_files_are_found() {
        spoiled("I14", |run| run.samples[0].rss_kib = 400 * 1024);
        spoiled("I14", |run| run.samples[0].files = 1001);
    }

    #[test]
    fn what_is_left_in_the_queue_is_found() {
        spoiled("I15", |run| run.left = (1, 0));
        spoiled("I15", |run| run.left = (0, 1));
    }
}
