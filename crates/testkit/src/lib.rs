//! A world for tests: the program under test as real processes, over real HTTP, real NATS and real Postgres, with a
//! provider whose calls can be scripted and read. For tests and benches only: what does not hold ends the test.
//!
//! - [`world`]: everything that one test needs, made in a line, gone when the test ends
//! - [`layout`]: all roles in one process, or each in its own; [`both_layouts!`] runs a test in both
//! - [`process`]: one process of the program: started, killed, terminated
//! - [`postgres`], [`nats`], [`nats_cluster`]: the private servers; [`folder`]: where all of it lives
//! - [`tls`]: servers behind TLS, with good certificates and others
//! - [`toolbox`]: programs of other people that judge us; [`litellm`]: one that serves us as a provider
//! - [`client`], [`user`]: HTTP as a client sees it; [`event_stream`]: server-sent events; [`stranger`]: NATS through a client we did not write;
//!   [`raw_nats`]: without any
//! - [`faults`]: all of it under load and faults, and the checks of what was promised
//! - [`eventually`](mod@eventually): waiting without sleeping

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, what does not hold ends the test"
)]

pub mod client;
pub mod event_stream;
pub mod eventually;
pub mod faults;
pub mod folder;
pub mod layout;
pub mod litellm;
pub mod nats;
pub mod nats_cluster;
pub mod postgres;
pub mod process;
pub mod raw_nats;
pub mod stranger;
pub mod tls;
pub mod toolbox;
pub mod user;
pub mod web_socket;
pub mod world;

pub use client::{Answer, Client};
pub use event_stream::{EventStream, StreamEvent};
pub use eventually::eventually;
pub use layout::{Layout, Role};
pub use litellm::LiteLlm;
pub use process::{Exit, Process};
pub use raw_nats::RawNats;
pub use rustix::process::Signal;
pub use stranger::{Reply, Stranger, Subscription};
pub use tls::Authority;
pub use toolbox::Toolbox;
pub use user::User;
pub use web_socket::WebSocket;
pub use world::{World, WorldBuilder};
