//! A TCP proxy in front of a server, that can be told to misbehave: to cut, to fall silent, to be slow.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

const CHUNK_BYTES: usize = 16 * 1024;

/// Where a proxy leads.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Nowhere yet: connections are refused.
    Nowhere,
    /// A port.
    Tcp(SocketAddr),
    /// A socket in a folder.
    Unix(PathBuf),
}

/// What it does to its connections.
#[derive(Debug, Clone, Copy)]
struct Mode {
    /// Connections of an earlier number are cut.
    cut: u64,
    /// Connections of an earlier number are never served again, and not closed either.
    stranded: u64,
    /// Nothing passes, and new connections get no answer.
    frozen: bool,
    /// Everything comes so much later.
    delay: Duration,
}

/// A proxy. Dropped, it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    upstream: Arc<Mutex<Upstream>>,
    mode: watch::Sender<Mode>,
    generation: Arc<AtomicU64>,
    touched: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

impl Proxy {
    /// Listens on a port of its own.
    pub async fn start(upstream: Upstream) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for a proxy");
        let address = listener.local_addr().unwrap();
        let upstream = Arc::new(Mutex::new(upstream));
        let mode = watch::Sender::new(Mode { cut: 0, stranded: 0, frozen: false, delay: Duration::ZERO });
        let (generation, touched) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
        let mut server = JoinSet::new();
        let shared = Shared {
            upstream: upstream.clone(),
            mode: mode.subscribe(),
            generation: generation.clone(),
            touched: touched.clone(),
        };
        server.spawn(serve(listener, shared));
        Self { address, upstream, mode, generation, touched, _server: server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads elsewhere from the next connection on.
    pub fn aim(&self, upstream: Upstream) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        let next = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.mode.send_modify(|mode| mode.cut = next);
    }

    /// Forgets every connection, as a router does that was restarted: nothing passes any more, and nobody is told.
    pub fn strand(&self) {
        let next = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.mode.send_modify(|mode| mode.stranded = next);
    }

    /// Lets nothing pass, or lets pass what has come meanwhile.
    pub fn freeze(&self, frozen: bool) {
        self.mode.send_modify(|mode| mode.frozen = frozen);
    }

    /// Makes everything come later.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay);
    }

    /// How many connections were cut, or had to wait, so far.
    pub fn touched(&self) -> u64 {
        self.touched.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct Shared {
    upstream: Arc<Mutex<Upstream>>,
    mode: watch::Receiver<Mode>,
    generation: Arc<AtomicU64>,
    touched: Arc<AtomicU64>,
}

type Source = Box<dyn AsyncRead + Send + Unpin>;
type Sink = Box<dyn AsyncWrite + Send + Unpin>;

async fn serve(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let _ = client.set_nodelay(true);
                connections.spawn(connection(client, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(client: TcpStream, shared: Shared) {
    let number = shared.generation.load(Ordering::Relaxed);
    let mut mode = shared.mode.clone();
    let over = async {
        let _ = mode.wait_for(|mode| mode.cut > number).await;
        shared.touched.fetch_add(1, Ordering::Relaxed);
    };
    let passed = async {
        let mut mode = shared.mode.clone();
        let _ = mode.wait_for(|mode| !mode.frozen).await;
        let upstream = shared.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((from_server, to_server)) = connect(upstream).await else { return };
        let (from_client, to_client) = client.into_split();
        tokio::join!(
            pump(Box::new(from_client), to_server, &shared, number),
            pump(from_server, Box::new(to_client), &shared, number)
        );
    };
    tokio::select! {
        () = over => {}
        () = passed => {}
    }
}

async fn connect(upstream: Upstream) -> Option<(Source, Sink)> {
    match upstream {
        Upstream::Nowhere => None,
        Upstream::Tcp(address) => {
            let stream = TcpStream::connect(address).await.ok()?;
            let _ = stream.set_nodelay(true);
            let (source, sink) = stream.into_split();
            Some((Box::new(source), Box::new(sink)))
        }
        Upstream::Unix(path) => {
            let (source, sink) = UnixStream::connect(path).await.ok()?.into_split();
            Some((Box::new(source), Box::new(sink)))
        }
    }
}

/// Passes on what comes, as the mode of the moment allows, until it ends; then says so to the other side.
async fn pump(mut source: Source, mut sink: Sink, shared: &Shared, number: u64) {
    let mut mode = shared.mode.clone();
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        let now = *mode.borrow_and_update();
        if now.stranded > number {
            shared.touched.fetch_add(1, Ordering::Relaxed);
            // Whatever is sent is taken and lost, until its sender gives up.
            while matches!(source.read(&mut buffer).await, Ok(1..)) {}
            break;
        }
        if now.frozen || !now.delay.is_zero() {
            shared.touched.fetch_add(1, Ordering::Relaxed);
            sleep(now.delay).await;
            let _ = mode.wait_for(|mode| !mode.frozen).await;
        }
        if sink.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = sink.shutdown().await;
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const A_WHILE: Duration = Duration::from_millis(100);

    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (address, server)
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) -> Option<[u8; 4]> {
        stream.write_all(word).await.ok()?;
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.ok()?;
        Some(heard)
    }

    #[tokio::test]
    async fn what_comes_passes_until_it_is_cut() {
        let (server, _server) = echo().await;
        let proxy = Proxy::start(Upstream::Tcp(server)).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, b"one.").await, Some(*b"one."));
        proxy.cut();
        assert_eq!(timeout(SOON, say(&mut stream, b"two.")).await.unwrap(), None);
        assert_eq!(proxy.touched(), 1);
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut next, b"two.").await, Some(*b"two."), "the next connection is whole");
    }

    #[tokio::test]
    async fn a_frozen_proxy_gives_later_what_came_meanwhile() {
        let (server, _server) = echo().await;
        let proxy = Proxy::start(Upstream::Tcp(server)).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, b"one.").await, Some(*b"one."));
        proxy.freeze(true);
        stream.write_all(b"two.").await.unwrap();
        let mut heard = [0; 4];
        assert!(timeout(A_WHILE, stream.read_exact(&mut heard)).await.is_err());
        let mut fresh = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(timeout(A_WHILE, say(&mut fresh, b"hey.")).await.is_err(), "accepted, never answered");
        proxy.freeze(false);
        timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard, *b"two.");
    }

    #[tokio::test]
    async fn a_stranded_connection_is_silent_and_others_are_not() {
        let (server, _server) = echo().await;
        let proxy = Proxy::start(Upstream::Tcp(server)).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, b"one.").await, Some(*b"one."));
        proxy.strand();
        assert!(timeout(A_WHILE, say(&mut stream, b"two.")).await.is_err(), "neither an answer nor an end");
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut next, b"two.").await, Some(*b"two."));
    }

    #[tokio::test]
    async fn a_slow_proxy_is_slow_and_one_that_leads_nowhere_hangs_up() {
        let (server, _server) = echo().await;
        let proxy = Proxy::start(Upstream::Nowhere).await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(timeout(SOON, say(&mut stream, b"one.")).await.unwrap(), None);
        proxy.aim(Upstream::Tcp(server));
        proxy.delay(A_WHILE);
        let began = std::time::Instant::now();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, b"one.").await, Some(*b"one."));
        assert!(began.elapsed() >= 2 * A_WHILE, "each way");
    }
}
