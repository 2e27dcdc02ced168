//! HTTP in, wire out: proves who calls, bounds what is sent, and makes exactly the NATS request that a direct client would
//! make. Bodies pass unread in both directions, but for the field of a send that says how it is to be answered: the services
//! decode, judge and answer.
//!
//! - [`config`], [`error`]: the section `[http]`, and why it does not start
//! - `server`: connections; `slots`: how many; `socket`: how long their clients are waited for; `route`, `routes`: every route, as a table, and its function;
//!   `router`: what the table leads to; [`openapi`]: what it says to readers
//! - `exchange`: what surrounds every request; `head`: what it may not exceed; `record`: its line in the log and its count;
//!   `in_flight`: what is counted while it lasts; `cors`: which pages may read the answer
//! - `credential`, `address`, `body`: what a request says, taken apart; `credentials`: whose a credential is
//! - `caller`: calls over the bus; `send`: the ones that may take minutes, in three manners; `stream`: events, told while they
//!   happen; `websocket`: both over one socket
//! - `peer`, `throttle`: where a request comes from, and how often; `deadline`: how long it may take; `reader`: who may
//!   read what machines ask about
//! - `answer`: replies and faults as HTTP; `assets`: pages

pub mod config;
pub mod error;

mod address;
mod answer;
mod body;
mod caller;
mod cors;
mod credential;
mod credentials;
mod deadline;
mod door;
mod exchange;
mod head;
mod in_flight;
pub mod openapi;
mod peer;
mod reader;
mod record;
mod route;
mod router;
mod routes;
mod send;
mod server;
mod slots;
mod socket;
mod stream;
mod throttle;
mod websocket;

use std::{net::SocketAddr, sync::Arc};

use bus::Bus;
use host::{Drain, limit, telemetry::describe};
use identity::Verifier;

pub use config::{Config, Limits};
pub use error::StartError;
pub use routes::status::Vitals;

use crate::{door::Door, reader::Readers, routes::status, server::Server};

/// Serves the HTTP API until `drain` begins; requests in flight are finished first. Returns once connections are taken,
/// with the address they are taken at.
///
/// # Errors
/// The address cannot be had, or the configuration holds an origin that is none.
pub async fn start(
    config: &Config,
    limits: &Limits,
    bus: Bus,
    verifier: Verifier,
    vitals: Vitals,
    drain: &Drain,
) -> Result<SocketAddr, StartError> {
    describe(credentials::METRICS);
    describe(record::METRICS);
    describe(server::METRICS);
    describe(stream::METRICS);
    describe(websocket::METRICS);
    describe(limit::METRICS);
    let door = Door::new(config, limits, bus, verifier, drain)?;
    let router = router::router(Arc::new(door), vitals, Readers::new(config)?);
    let server = Server::new(config, router, drain)?;
    let (listener, address) = server::listen(config.listen).await?;
    drain.spawn("http-listener", server.run(listener));
    Ok(address)
}

/// Serves only what machines ask about a process, for one that does not serve the API: `/livez`, `/readyz`, `/version`,
/// `/metrics`, at `status_listen`.
///
/// # Errors
/// The address cannot be had.
pub async fn start_status(
    config: &Config,
    listen: SocketAddr,
    vitals: Vitals,
    drain: &Drain,
) -> Result<SocketAddr, StartError> {
    describe(server::METRICS);
    describe(limit::METRICS);
    let server = Server::new(config, status::router(vitals), drain)?;
    let (listener, address) = server::listen(listen).await?;
    drain.spawn("status-listener", server.run(listener));
    Ok(address)
}

/// The `allowed_origins` that let in the pages of this machine, whatever their port.
pub fn origins_of_this_machine() -> Vec<String> {
    vec![cors::THIS_MACHINE.to_owned()]
}
