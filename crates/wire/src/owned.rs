//! What workers tell operators of the partitions they own. Between processes of one version: no client depends on it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A worker's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnedPartitions {
    /// The name of the worker.
    pub worker: String,
    /// What it owns, by number.
    pub partitions: Vec<OwnedPartition>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnedPartition {
    /// Which.
    pub partition: u16,
    /// Counts its owners.
    pub epoch: i64,
    /// When it was taken.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Its conversations that are in memory.
    pub conversations: usize,
}
