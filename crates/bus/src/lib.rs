//! The only crate that knows async-nats. Everything else speaks of operations, deliveries and events.
//!
//! - [`connection`]: one connection per role, with the role's own identity
//! - [`call`]: a request and its reply (the ingress); [`steps`]: one that is answered step by step
//! - [`endpoints`]: answering requests (the services); [`incoming`]: one request, [`reply`]: where its answer may go;
//!   `discovery`: what `nats micro` shows of them
//! - [`queue`]: the front's way into the stream of turns
//! - [`partitions`], [`delivery`]: the owner's way out of it
//! - [`cluster`]: which workers are alive; [`handover`]: passing a partition from one to another
//! - [`live`]: events, told to whom it may concern, and listened to; `relay`: by many at once; [`snapshot`]: what was told
//!   before; [`signal`]: what processes of one role tell each other
//! - [`provision`]: stream and consumers, made from data
//! - [`callout`]: who of the users may connect, and to what; [`connections`]: those who are, and how to end them

#![expect(clippy::disallowed_types, reason = "this is the crate that the ban points to")]

pub mod call;
pub mod callout;
pub mod cluster;
pub mod connection;
pub mod connections;
pub mod context;
pub mod delivery;
mod discovery;
pub mod endpoints;
pub mod handover;
pub mod incoming;
pub mod live;
pub mod partitions;
pub mod provision;
pub mod queue;
mod relay;
pub mod reply;
pub mod signal;
pub mod snapshot;
pub mod steps;

pub use call::{CallError, Reply, Request, SendKey};
pub use callout::CalloutKeys;
pub use cluster::Cluster;
pub use connection::{Bus, Config, ConnectError, Passwords, Role};
pub use connections::{Connection, Connections, ConnectionsError};
pub use context::Context;
pub use delivery::{AckHandle, Delivery};
pub use endpoints::{Endpoints, SubscribeError, observe};
pub use handover::{Asked, Claim, Claims};
pub use incoming::Incoming;
pub use live::{ConversationEvents, Events, Noticed, TurnEvents, UserEvents};
pub use partitions::{Backlog, Deliveries, PartitionError, Partitions};
pub use provision::{Difference, ProvisionError, Provisioner};
pub use queue::{Enqueued, Queue, QueueError, QueuedTurn};
pub use reply::{ReplyTo, Wants};
pub use snapshot::Snapshot;
pub use steps::{Said, Step};
