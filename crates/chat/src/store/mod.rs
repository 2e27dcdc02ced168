//! What the chat service reads and writes in Postgres, the turns' own writes aside (see [`crate::writer`]). Every statement
//! about a user's things has the owner in its `where`.

mod branches;
mod calls;
mod cancels;
mod conversations;
mod graveyard;
mod history;
mod messages;
mod pace;
mod partitions;
mod turns;

pub use calls::{Unsettled, Wanted};
pub use cancels::Running;
pub use graveyard::Graveyard;
pub(crate) use history::settings_from;
pub use history::{Bounds, History, OpenTurn, PastTurn};
use host::postgres::Pool;
pub use partitions::{Attempt, PartitionOwner};
use uuid::Uuid;
use wire::{List, Page, TurnKind};

pub use turns::{Sent, StoredTurn};

/// The chat service's access to Postgres.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Over a pool of connections made with [`SESSION`].
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

/// Bytes of a page as JSON: it must fit in one reply.
const PAGE_BYTES_MAX: i64 = wire::limits::PAYLOAD_BYTES_MAX as i64;
/// Bytes of an entry as JSON, without its free texts.
const FRAME_BYTES: i32 = 1000;

/// What a query for a page found.
pub struct Found<T> {
    /// The entries, as many as were wanted and fit.
    pub entries: Vec<T>,
    /// There are more behind them.
    pub more: bool,
}

impl<T> Found<T> {
    /// Of a query that looked for one more than `limit`, found `found` in all, and gave those that fit.
    fn new(fitting: impl Iterator<Item = T>, found: i64, limit: i64) -> Self {
        let mut entries: Vec<_> = fitting.collect();
        entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Self { more: i64::try_from(entries.len()).is_ok_and(|given| given < found), entries }
    }

    /// The page that begins here, if it does not end the list, under the cursor of its last entry.
    pub fn page(self, list: &List, position: impl Fn(&T) -> Uuid) -> Page<T> {
        let last = self.entries.last().filter(|_| self.more).map(position);
        Page { next: last.map(|last| list.cursor(last)), entries: self.entries }
    }
}

/// The kind of a turn as stored.
fn kind_from(name: &str) -> TurnKind {
    match name {
        "regenerate" => TurnKind::Regenerate,
        "edit" => TurnKind::Edit,
        _ => TurnKind::Send,
    }
}

/// Settings of every connection of this service. Its statements reach rows by key; a plan made while a table is still
/// empty may scan it instead, and stays in use while the table grows. None is worth compiling.
pub const SESSION: &[(&str, &str)] = &[("enable_seqscan", "off"), ("jit", "off")];
