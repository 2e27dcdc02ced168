//! What every actor of this process works with.

use bus::Bus;
use host::{Drain, share::Shares};
use llm::Gateway;
use wire::UserId;

use crate::{
    Config, holdings::Holdings, in_hand::InHand, residents::Residents, store::Store, writer::Writer,
};

/// Shared by all actors.
pub struct Resources {
    /// The connection in the role `chat`.
    pub bus: Bus,
    /// What turns need to read, and the rare writes.
    pub store: Store,
    /// What users ask for, over connections of their own: turns never wait for it.
    pub requests: Store,
    /// The writes of turns.
    pub writer: Writer,
    /// The models.
    pub gateway: Gateway,
    /// What can be set.
    pub config: Config,
    /// Owns the tasks.
    pub drain: Drain,
    /// Names this process among the workers, and in the database.
    pub worker: String,
    /// Turns that run now, by user.
    pub running: Shares<UserId>,
    /// Conversations in memory, to tell them that something is to stop.
    pub in_hand: InHand,
    /// Partitions that this process owns now.
    pub holdings: Holdings,
    /// Conversations in memory, counted.
    pub residents: Residents,
}
