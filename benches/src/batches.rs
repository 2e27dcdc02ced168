//! How the writer commits, as `/metrics` tells.

use std::ops::Sub;

use crate::http::Connection;

/// The writer's commits so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Batches {
    commits: f64,
    entries: f64,
    commit_s: f64,
}

impl Batches {
    /// Reads the counters.
    pub async fn read(connection: &mut Connection) -> anyhow::Result<Self> {
        Ok(Self::parse(&connection.text("/metrics").await?))
    }

    fn parse(metrics: &str) -> Self {
        let value = |name: &str| {
            let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            lines.next().and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        Self {
            commits: value("omnichat_writer_batch_entries_count"),
            entries: value("omnichat_writer_batch_entries_sum"),
            commit_s: value("omnichat_writer_commit_seconds_sum"),
        }
    }

    /// Turns and outcomes per commit.
    pub fn entries(&self) -> f64 {
        self.entries / self.commits
    }

    /// How long a commit takes, in milliseconds.
    pub fn commit_ms(&self) -> f64 {
        self.commit_s * 1000.0 / self.commits
    }
}

impl Sub for Batches {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            commits: self.commits - earlier.commits,
            entries: self.entries - earlier.entries,
            commit_s: self.commit_s - earlier.commit_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writers_histograms_are_found() {
        let metrics = "# TYPE omnichat_writer_batch_entries histogram\n\
            omnichat_writer_batch_entries_bucket{le=\"+Inf\"} 4\nomnichat_writer_batch_entries_sum 10\n\
            omnichat_writer_batch_entries_count 4\nomnichat_writer_commit_seconds_sum 0.02\n";
        let batches = Batches::parse(metrics);
        assert_eq!((batches.entries(), batches.commit_ms()), (2.5, 5.0));
    }
}
