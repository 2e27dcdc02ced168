//! What a follower hears of its turn: over a subscription of its own, or from whoever hears all turns of the user.

use bus::{Noticed, TurnEvents};
use tokio::sync::mpsc;

/// Where events come from.
pub(crate) enum Ear {
    /// A subscription to this turn alone.
    Own(TurnEvents),
    /// Somebody hands on what is of this turn.
    Handed(mpsc::Receiver<Noticed>),
}

impl Ear {
    /// Waits for the next one; none when nothing more can come. Nothing is lost if this is dropped while it waits.
    pub async fn next(&mut self) -> Option<Noticed> {
        match self {
            Self::Own(events) => events.next().await,
            Self::Handed(events) => events.recv().await,
        }
    }
}
