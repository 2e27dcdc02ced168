use super::child::Child;
use super::{DataDir, Error, data_dir, leftover, unique_name};
use rustix::process::Signal;
use serde::Deserialize;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Long enough to read a large store again.
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
const GREETING_BYTES_MAX: u64 = 64 * 1024;
const STOP: [(Signal, Duration); 1] = [(Signal::TERM, Duration::from_secs(5))];

/// How to run a private nats-server.
#[derive(Clone)]
pub struct NatsOptions {
    /// The program (see [`super::Search`]).
    pub program: PathBuf,
    /// Its home: configuration, JetStream store and log.
    pub dir: PathBuf,
    /// The address it should listen on. If another process has the port, a free one is taken; port 0 means a free one.
    pub listen: SocketAddr,
    /// The name it greets with. Absent: one that no other server and no earlier start has. A node of a cluster keeps its name:
    /// under another one it would be another node.
    pub name: Option<String>,
    /// Its configuration (accounts, limits, `jetstream {}`). The server's name and its addresses for clients are set here,
    /// whatever it says about them; so is the folder of the store, which it must leave open. Durations must be quoted (`"2m"`).
    pub config: String,
    /// Variables that the configuration names (`$NAME`), such as passwords.
    pub environment: Vec<(String, String)>,
}

impl NatsOptions {
    /// On a free port, with JetStream, and open to every local process.
    #[must_use]
    pub fn new(program: PathBuf, dir: PathBuf) -> Self {
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let config = "jetstream {}\n".into();
        Self { program, dir, listen, name: None, config, environment: Vec::new() }
    }
}

/// A running private nats-server. Dropped, it is killed; [`Nats::stop`] ends it in order.
#[derive(Debug)]
pub struct Nats {
    child: Child,
    name: String,
    wanted: SocketAddr,
    addr: SocketAddr,
    monitoring: String,
    routes: Option<SocketAddr>,
    dir: DataDir,
}

impl Nats {
    /// Starts it, and returns when it has greeted with its name: after about 25 ms.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`]; [`Error::Exited`] and [`Error::NotReady`] with the end of its log;
    /// [`Error::Stranger`] if another server answers at its address; and the rest.
    pub async fn start(options: NatsOptions) -> Result<Self, Error> {
        let began = Instant::now();
        let dir = DataDir::open(&options.dir)?;
        let config = dir.path().join("nats.conf");
        if config.exists() {
            leftover::end(dir.path(), ARG0, Signal::TERM, None).await?;
        }
        write_config(&config, &options.config)?;
        let ports = dir.path().join("ports");
        let _ = fs::remove_dir_all(&ports);
        data_dir::create(&ports, 0o700)?;

        let name = options.name.clone().unwrap_or_else(|| format!("omnichat-{}", unique_name()));
        let port = if is_taken(options.listen)? { 0 } else { options.listen.port() };
        let command = command(&options, dir.path(), &name, port);
        let child = Child::spawn("nats-server", command, dir.path().join("nats.log"), Signal::KILL).await?;
        let ports = ports.join(format!("{ARG0}_{}.ports", child.pid()));
        let Ports { nats, monitoring, cluster } = tokio::select! {
            error = child.died() => return Err(error),
            ports = listening(&ports, &child) => ports?,
        };
        let addr = SocketAddr::new(reachable(options.listen.ip()), port_of(&nats).unwrap_or_default());
        check_name(addr, &name).await?;
        let ms = began.elapsed().as_millis();
        tracing::info!(ms, %addr, wanted = %options.listen, "nats-server is ready");
        let monitoring = monitoring.into_iter().next().unwrap_or_default();
        let routes = port_of(&cluster).map(|port| SocketAddr::new(addr.ip(), port));
        Ok(Self { child, name, wanted: options.listen, addr, monitoring, routes, dir })
    }

    /// Where clients connect: `nats://127.0.0.1:4222`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// The address that was asked for, if another process has it and the server took a free port instead.
    #[must_use]
    pub fn taken(&self) -> Option<SocketAddr> {
        (self.wanted.port() != 0 && self.wanted.port() != self.addr.port()).then_some(self.wanted)
    }

    /// Base URL of its monitoring pages (`/varz`, `/jsz`, …), on loopback.
    #[must_use]
    pub fn monitoring_url(&self) -> &str {
        &self.monitoring
    }

    /// Where the other nodes of its cluster connect, if its configuration makes it one of a cluster (`cluster {}`).
    #[must_use]
    pub fn routes(&self) -> Option<SocketAddr> {
        self.routes
    }

    /// The name it greets with; unless it was given one, no other server and no earlier start has it.
    #[must_use]
    pub fn server_name(&self) -> &str {
        &self.name
    }

    /// Its home: the configuration, the store, the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Once it has ended, though nobody asked it to: [`Error::Exited`].
    pub async fn died(&self) -> Error {
        self.child.died().await
    }

    /// Ends it in order: the store is flushed.
    pub async fn stop(self) {
        self.child.stop(&STOP).await;
    }
}

/// The name it is started under, whatever its file is called: it names its ports file after that.
const ARG0: &str = "nats-server";

/// Flags win over the configuration. Its folder is its current directory, by which the next run knows it.
fn command(options: &NatsOptions, dir: &Path, name: &str, port: u16) -> Command {
    let mut command = Command::new(&options.program);
    command.arg0(ARG0).current_dir(dir).envs(options.environment.iter().cloned());
    command.arg("--config").arg(dir.join("nats.conf")).args(["--name", name]);
    command.args(["--addr", &options.listen.ip().to_string(), "--port", &or_any(port), "--http_port", "-1"]);
    command.arg("--ports_file_dir").arg(dir.join("ports")).arg("--store_dir").arg(dir.join("store"));
    command
}

fn or_any(port: u16) -> String {
    if port == 0 { "-1".into() } else { port.to_string() }
}

/// There is no flag for the monitoring pages' host. The file may hold secrets.
fn write_config(path: &Path, config: &str) -> Result<(), Error> {
    let write = || {
        let _ = fs::remove_file(path);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        file.write_all(config.as_bytes())?;
        file.write_all(b"\nhttp: \"127.0.0.1:-1\"\n")
    };
    write().map_err(Error::io("write", path))
}

fn is_taken(addr: SocketAddr) -> Result<bool, Error> {
    match TcpListener::bind(addr) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(Error::io("listen on", addr.to_string())(error)),
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip }
}

/// What the server writes down once it listens.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
    #[serde(default)]
    cluster: Vec<String>,
}

fn port_of(urls: &[String]) -> Option<u16> {
    urls.first()?.rsplit_once(':')?.1.parse().ok()
}

async fn listening(file: &Path, child: &Child) -> Result<Ports, Error> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let written = fs::read(file).map_err(|error| error.to_string());
        match written.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string())) {
            Ok(ports) => return Ok(ports),
            Err(because) if Instant::now() > deadline => return Err(child.not_ready(READY_WITHIN, because)),
            Err(_) => sleep(POLL).await,
        }
    }
}

/// The first line of a NATS connection: `INFO {"server_name":…}`.
#[derive(Deserialize)]
struct Greeting {
    server_name: String,
}

async fn check_name(addr: SocketAddr, expected: &str) -> Result<(), Error> {
    let greeting = timeout(Duration::from_secs(5), greeting(addr));
    let greeting = greeting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let found = greeting.map_err(Error::io("read the greeting of", addr.to_string()))?.server_name;
    if found == expected { Ok(()) } else { Err(Error::Stranger { addr, expected: expected.into(), found }) }
}

async fn greeting(addr: SocketAddr) -> io::Result<Greeting> {
    let stream = TcpStream::connect(addr).await?;
    let mut line = String::new();
    BufReader::new(stream.take(GREETING_BYTES_MAX)).read_line(&mut line).await?;
    Ok(serde_json::from_str(line.strip_prefix("INFO ").unwrap_or_default())?)
}
