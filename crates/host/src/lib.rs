//! What any process needs to live, and nothing of the product: configuration, telemetry, health, Postgres, an orderly
//! end, and (for `omnichat up` and the tests) private servers.
//!
//! - [`config`]: layers of file, environment and defaults, with errors that name the key
//! - [`telemetry`]: logs and metrics
//! - [`trace`]: which request a piece of work belongs to
//! - [`health`]: named readiness checks
//! - [`postgres`]: the pool, the migrations, the version floor
//! - [`limit`]: how often what may be asked; [`share`]: how much at a time
//! - [`drain`]: every task is spawned where shutdown can wait for it
//! - [`embedded`]: a private nats-server and a private Postgres as direct children

pub mod config;
pub mod drain;
pub mod embedded;
pub mod health;
pub mod limit;
pub mod postgres;
pub mod share;
pub mod telemetry;
pub mod trace;

pub use config::{ConfigError, Environment};
pub use drain::Drain;
pub use health::Health;
pub use telemetry::Telemetry;
pub use trace::TraceParent;
