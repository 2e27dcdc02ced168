//! Connections to the simulator: counted, and each known by its calls.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::net::{TcpListener, TcpStream};

use super::log::Log;

/// Where they come in.
pub(super) struct Door {
    pub listener: TcpListener,
    pub log: Arc<Log>,
}

/// One of them.
#[derive(Clone, Default)]
pub(super) struct Connection(Arc<AtomicBool>);

impl Connection {
    /// Has a call come over it before? From now on, one has.
    pub(super) fn used(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let (connection, address) = Listener::accept(&mut self.listener).await;
        self.log.connected();
        let _ = connection.set_nodelay(true); // slower without, no worse
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Connection {
    fn connect_info(_: IncomingStream<'_, Door>) -> Self {
        Self::default()
    }
}
