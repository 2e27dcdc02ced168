//! What the chat service reads and writes in Postgres, the turns' own writes aside (see [`crate::writer`]). Every statement
//! about a user's things has the owner in its `where`.

mod conversations;
mod history;
mod partitions;
mod turns;

pub(crate) use history::settings_from;
pub use history::{History, OpenTurn, PastTurn};
pub use partitions::Attempt;
use sqlx::PgPool;
pub use turns::{Sent, StoredTurn};

/// The chat service's access to Postgres.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
}

impl Store {
    /// Over a pool of connections made with [`SESSION`].
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// Settings of every connection of this service. Its statements reach rows by key; a plan made while a table is still
/// empty may scan it instead, and stays in use while the table grows. None is worth compiling.
pub const SESSION: &[(&str, &str)] = &[("enable_seqscan", "off"), ("jit", "off")];
