//! `omnichat up`: everything on one machine, from the first start to the last signal; and what a wrong configuration is
//! told.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a test awaits the tasks it spawns, or ends with them")]

mod banner;
mod configuration;
mod contexts;
mod installation;
mod restarts;

use std::time::Duration;

/// Longer than a first start takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(60);
