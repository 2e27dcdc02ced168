//! `omnichat partitions`: who owns what, since when, and how much of it is in hand.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::Context;
use bus::{Backlog, Partitions, Role};
use host::{Environment, postgres};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;
use wire::owned::{OwnedPartition, OwnedPartitions};

use crate::{cli::Shared, config, errand};

/// A worker that is alive answers within this.
const PATIENCE: Duration = Duration::from_millis(300);

/// Postgres's word on one partition, and what its owner and the stream say.
struct Line {
    partition: u16,
    owner: chat::store::PartitionOwner,
    /// Unless the owner does not answer, or says that it has not got it.
    held: Option<OwnedPartition>,
    backlog: Option<Backlog>,
}

/// Shows every partition.
#[expect(clippy::print_stdout, reason = "what the command is for")]
pub async fn run(shared: &Shared) -> anyhow::Result<()> {
    let (config, _) = config::load(shared, &Environment::of_process())?;
    let pool = postgres::connect(&config.postgres, "omnichat-partitions", Instant::now()).await?;
    let bus = errand::connect(&config, Role::Chat).await?;
    let partitions = Partitions::open(&bus).await?;
    let answers = bus.ask_everywhere(wire::subject::OWNED, PATIENCE).await?;
    let workers: Vec<OwnedPartitions> = answers
        .iter()
        .map(|answer| serde_json::from_slice(answer))
        .collect::<Result<_, _>>()
        .context("a worker of another version answered")?;
    println!("{HEAD}");
    for owner in chat::store::Store::new(pool).partition_owners().await? {
        let Ok(partition) = u16::try_from(owner.partition) else { continue };
        let backlog = partitions.backlog(partition).await;
        let line = Line { partition, held: held(&workers, &owner), owner, backlog };
        println!("{line}");
    }
    let shares: BTreeMap<_, _> =
        workers.iter().map(|worker| (worker.worker.as_str(), worker.partitions.len())).collect();
    for (worker, count) in &shares {
        println!("{worker}: {count} of {} partitions", partitions.count());
    }
    if shares.is_empty() {
        println!("no worker answers");
    }
    Ok(())
}

const HEAD: &str = "partition  epoch  since                 turns in hand  waiting  conversations  owner";

fn held(workers: &[OwnedPartitions], owner: &chat::store::PartitionOwner) -> Option<OwnedPartition> {
    let worker = workers.iter().find(|worker| worker.worker == owner.worker)?;
    worker
        .partitions
        .iter()
        .find(|held| held.epoch == owner.epoch && i32::from(held.partition) == i32::from(owner.partition))
        .cloned()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "?".to_owned();
        let (in_hand, waiting) = match self.backlog {
            Some(Backlog { in_hand, waiting }) => (in_hand.to_string(), waiting.to_string()),
            None => (unknown(), unknown()),
        };
        let conversations = self.held.as_ref().map_or_else(unknown, |held| held.conversations.to_string());
        let answers = if self.held.is_some() { "" } else { " (does not answer for it)" };
        write!(
            f,
            "{:>9}  {:>5}  {:<20}  {in_hand:>13}  {waiting:>7}  {conversations:>13}  {}{answers}",
            self.partition,
            self.owner.epoch,
            seconds(self.owner.taken_at),
            self.owner.worker,
        )
    }
}

fn seconds(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}
