//! Why the ingress does not start.

use std::{io, net::SocketAddr};

/// The ingress cannot serve. Each names its key.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error(
        "http.listen: cannot listen on {address}: {source}; choose another address, or port 0 for a free one"
    )]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// An entry that no browser would ever send as its origin.
    #[error(
        "http.allowed_origins: {0:?} is not an origin; write it like https://app.example.org, without a path"
    )]
    Origin(String),
    /// An entry that is neither an address nor a network.
    #[error("http.trusted_proxies: {0:?} is no address and no network; write it like 10.0.0.0/8")]
    Proxy(String),
    /// An entry that is neither an address nor a network.
    #[error("http.status_readers: {0:?} is no address and no network; write it like 10.0.0.0/8")]
    Reader(String),
}
