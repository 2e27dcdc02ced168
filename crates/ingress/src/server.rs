//! Connections: accepted up to a bound, each a task of its own, all of them ended in order when the process drains.

use std::{io::Write, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{BoxError, Router};
use host::{Drain, telemetry::Metric};
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use uuid::Uuid;
use wire::{Fault, FaultCode, Problem};

use crate::{Config, StartError, door::seconds, peer::Peer};

const REFUSED: &str = "omnichat_http_connections_refused_total";

/// The metrics of connections.
pub(crate) const METRICS: &[Metric] =
    &[Metric::counter(REFUSED, "HTTP connections refused because there were too many.")];

/// The longest head of a request; hyper answers 431 to a longer one. Its own bound is 400 KiB per connection.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After a failed accept, which mostly means that the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// Long enough for an answer to arrive, short enough not to hold a slot.
const LINGER: Duration = Duration::from_secs(1);

/// Serves connections.
pub(crate) struct Server {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    slots: Arc<Semaphore>,
    drain: Drain,
}

impl Server {
    pub fn new(config: &Config, router: Router, drain: &Drain) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(seconds(config.header_read_timeout_s))
            .max_buf_size(HEAD_BYTES_MAX);
        let slots = Arc::new(Semaphore::new(config.connections_max.get() as usize));
        Self { http, service: TowerToHyperService::new(router), slots, drain: drain.clone() }
    }

    /// Accepts until the process drains, then gives the address free.
    pub async fn run(self, listener: TcpListener) {
        let server = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = server.drain.draining() => return,
            };
            match accepted {
                Ok((stream, address)) => server.clone().take(stream, Peer(address)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => {
                self.drain.clone().spawn("http-connection", self.serve(stream, peer, slot));
            }
            Err(_) => refuse(stream),
        }
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, peer: Peer, _slot: OwnedSemaphorePermit) {
        if let Err(error) = self.converse(&mut stream, peer).await {
            tracing::debug!(%error, "a connection broke");
        } else {
            linger(&mut stream).await;
        }
    }

    async fn converse(&self, stream: &mut TcpStream, peer: Peer) -> Result<(), BoxError> {
        stream.set_nodelay(true)?;
        let inner = self.service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            inner.call(request)
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            served = connection.as_mut() => return Ok(served?),
            () = self.drain.draining() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}

/// Waits for the client to hang up as well, for a moment. A socket that is closed while the client still sends (a body that
/// was refused for its size) is reset, and the reset may overtake the answer.
async fn linger(stream: &mut TcpStream) {
    let mut sink = [0; 4096];
    let hung_up = async { while matches!(stream.read(&mut sink).await, Ok(1..)) {} };
    // When the moment is over, the connection has had its chance.
    timeout(LINGER, hung_up).await.ok();
}

/// Says why, if the socket takes it at once, and hangs up.
fn refuse(stream: TcpStream) {
    metrics::counter!(REFUSED).increment(1);
    let request_id = Uuid::now_v7().to_string();
    let problem = Problem::of(&Fault::new(FaultCode::Overloaded), Some(&request_id));
    let body = serde_json::to_string(&problem).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let written = stream.into_std().and_then(|mut socket| socket.write(answer.as_bytes()));
    tracing::debug!(told = written.is_ok(), "a connection was refused: there are too many");
}

/// Binds the address.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
