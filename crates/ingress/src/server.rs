//! Connections: accepted up to a bound, each a task of its own, all of them ended in order when the process drains.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{BoxError, Router, body::Body};
use host::{Drain, limit::hit, telemetry::Metric};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use wire::{
    Fault, FaultCode,
    limit::{CONNECTIONS, CONNECTIONS_PER_ADDRESS, HEAD_TIME, IDLE_TIME, Limit},
};

use crate::{
    Config, StartError, answer,
    door::seconds,
    peer::{Peer, TrustedProxies, customer},
    slots::{Bound, Slot, Slots},
    socket::{Late, Patience, Progress, Socket},
};

const REFUSED: &str = "omnichat_http_connections_refused_total";

/// The metrics of connections.
pub(crate) const METRICS: &[Metric] =
    &[Metric::counter(REFUSED, "HTTP connections refused because there were too many.")];

/// The longest head that is read; hyper answers 431 to a longer one, without a body. What is shorter and still too long
/// is refused with a problem. Hyper's own bound is 400 KiB per connection.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// After a failed accept, which mostly means that the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// Long enough for an answer to arrive, short enough not to hold a slot.
const LINGER: Duration = Duration::from_secs(1);
/// Refused connections that are told why at a time; any more are closed at once.
const REFUSALS_MAX: usize = 64;

/// Serves connections.
pub(crate) struct Server {
    http: http1::Builder,
    service: TowerToHyperService<Router>,
    patience: Patience,
    slots: Arc<Slots<IpAddr>>,
    refusals: Arc<Semaphore>,
    proxies: TrustedProxies,
    drain: Drain,
}

impl Server {
    /// # Errors
    /// [`StartError::Proxy`].
    pub fn new(config: &Config, router: Router, drain: &Drain) -> Result<Self, StartError> {
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
        let patience =
            Patience { head: seconds(config.header_read_timeout_s), idle: seconds(config.idle_timeout_s) };
        Ok(Self {
            http,
            service: TowerToHyperService::new(router),
            patience,
            slots: Slots::new(
                Bound { limit: &CONNECTIONS, max: config.connections_max.get() },
                Bound { limit: &CONNECTIONS_PER_ADDRESS, max: config.connections_per_address_max },
            ),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            proxies: TrustedProxies::parse(&config.trusted_proxies).map_err(StartError::Proxy)?,
            drain: drain.clone(),
        })
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
                Ok((stream, address)) => {
                    // Without it answers come late, and that is all.
                    let _ = stream.set_nodelay(true);
                    server.clone().take(stream, Peer(address));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn take(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        // A proxy has the connections of all its clients.
        let address = (!self.proxies.include(peer)).then(|| customer(peer.0.ip()));
        match self.slots.take(address) {
            Ok(slot) => {
                self.drain.clone().spawn("http-connection", self.serve(stream, peer, slot));
            }
            Err(limit) => self.refuse(stream, limit),
        }
    }

    /// Says why, if there are not too many already to whom it is said, and hangs up.
    fn refuse(&self, stream: TcpStream, limit: &'static Limit) {
        metrics::counter!(REFUSED).increment(1);
        hit(limit.name);
        tracing::debug!(limit = limit.name, "a connection was refused");
        if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
            let code =
                if *limit == CONNECTIONS { FaultCode::Overloaded } else { FaultCode::TooManyConnections };
            self.drain.spawn("refused-connection", tell(stream, code, permit));
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, peer: Peer, _slot: Slot<IpAddr>) {
        let progress = Arc::new(Progress::default());
        let (socket, given_back) = Socket::new(stream, progress.clone(), self.patience);
        let served = self.converse(socket, peer, &progress).await;
        // A WebSocket has it for as long as it is open.
        let Ok(mut stream) = given_back.await else { return };
        match (progress.late(), served) {
            (Some(Late::Start), _) => hit(HEAD_TIME.name),
            (Some(Late::Head), _) => {
                hit(HEAD_TIME.name);
                say(&mut stream, FaultCode::RequestTimedOut).await;
            }
            (Some(Late::Next | Late::Reader), _) => hit(IDLE_TIME.name),
            (None, Ok(())) => linger(&mut stream).await,
            (None, Err(error)) => tracing::debug!(%error, "a connection broke"),
        }
    }

    async fn converse(&self, socket: Socket, peer: Peer, progress: &Arc<Progress>) -> Result<(), BoxError> {
        let inner = self.service.clone();
        let service = service_fn(|mut request: Request<Incoming>| {
            let answering = progress.answering();
            request.extensions_mut().insert(peer);
            let answer = inner.call(request);
            async move {
                let (head, body) = answer.await?.into_parts();
                if head.status == StatusCode::SWITCHING_PROTOCOLS {
                    answering.upgrade();
                }
                // The answer is under way until its body is dropped.
                let body = Body::new(body.map_err(move |error| {
                    let _ = &answering;
                    error
                }));
                Ok::<_, std::convert::Infallible>(http::Response::from_parts(head, body))
            }
        });
        let connection = self.http.serve_connection(TokioIo::new(socket), service).with_upgrades();
        let mut connection = pin!(connection);
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

async fn tell(mut stream: TcpStream, code: FaultCode, _permit: OwnedSemaphorePermit) {
    say(&mut stream, code).await;
}

/// Says a fault on a connection that has no request to answer, for as long as a moment, and that this was all.
async fn say(stream: &mut TcpStream, code: FaultCode) {
    let answer = answer::bare(&Fault::new(code));
    let said = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    if let Ok(Ok(())) = timeout(LINGER, said).await {
        linger(stream).await;
    }
}

/// Binds the address.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
