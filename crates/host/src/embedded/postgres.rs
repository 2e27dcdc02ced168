use super::child::Child;
use super::cluster::Cluster;
use super::socket_dir::SocketDir;
use super::{DataDir, Error};
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Long enough to recover from a crash under load.
const READY_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// "Fast" shutdown, then "immediate": the next start recovers from the log.
const STOP: [(Signal, Duration); 2] =
    [(Signal::INT, Duration::from_secs(10)), (Signal::QUIT, Duration::from_secs(5))];

/// How to run a private Postgres.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The folder of its programs (see [`super::Search`]).
    pub bin: PathBuf,
    /// Its home: data, socket and logs.
    pub dir: PathBuf,
    /// Memory for its buffers, in MB.
    pub shared_buffers_mb: u32,
    /// Connections it accepts.
    pub max_connections: u32,
    /// More settings, as `name`, `value`; they win over those of this module.
    pub settings: Vec<(String, String)>,
    /// Whether committed data survives a crash of the machine. `false` is for tests.
    pub durable: bool,
}

impl PostgresOptions {
    /// For a modest machine, and durable.
    #[must_use]
    pub fn new(bin: PathBuf, dir: PathBuf) -> Self {
        Self { bin, dir, shared_buffers_mb: 64, max_connections: 50, settings: Vec::new(), durable: true }
    }
}

/// A running private Postgres with an empty or kept database `omnichat`. It has no network port, only a socket in a folder
/// of its own. Dropped, it ends at once, and its next start recovers; [`Postgres::stop`] ends it in order.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    socket: SocketDir,
    dir: DataDir,
}

impl Postgres {
    /// Starts it, with a fresh database if its folder has none, and returns when it has answered a query: after about
    /// 0.1 s, the first time 1 s.
    ///
    /// # Errors
    /// [`Error::AlreadyRunning`]; [`Error::Exited`] and [`Error::NotReady`] with the end of its log; and the rest.
    pub async fn start(options: PostgresOptions) -> Result<Self, Error> {
        let began = Instant::now();
        let dir = DataDir::open(&options.dir)?;
        let cluster = Cluster::new(&options.bin, dir.path())?;
        cluster.ensure_created(options.durable).await?;
        cluster.clear_leftovers().await?;
        let socket = SocketDir::create(&cluster, dir.path())?;

        let mut command = cluster.command("postgres");
        command.arg("-D").arg(cluster.data());
        for (name, value) in settings(&options, &socket) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let child = Child::spawn("Postgres", command, cluster.log("postgres"), Signal::QUIT).await?;
        let postgres = Self { child, socket, dir };
        postgres.ready().await?;
        tracing::info!(ms = began.elapsed().as_millis(), dir = %postgres.dir.path().display(), "Postgres is ready");
        Ok(postgres)
    }

    /// URL of the database `omnichat`, for this machine's processes that may enter the socket's folder.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("omnichat")
    }

    /// URL of another database of this server.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("postgres://omnichat@localhost:5432/{database}?host={}", self.socket.url_encoded())
    }

    /// Its home: the data, the socket, the logs.
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

    /// Ends it in order: open transactions are rolled back, everything else is on disk.
    pub async fn stop(self) {
        self.child.stop(&STOP).await;
    }

    async fn ready(&self) -> Result<(), Error> {
        tokio::select! {
            error = self.child.died() => Err(error),
            ready = self.answers() => ready,
        }
    }

    /// Proof by use: it accepts a connection, and the database is there.
    async fn answers(&self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut connection = loop {
            match PgConnection::connect(&self.url_of("postgres")).await {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > deadline => {
                    return Err(self.child.not_ready(READY_WITHIN, error.to_string()));
                }
                Err(_) => sleep(POLL).await,
            }
        };
        ensure_database(&mut connection).await.map_err(refused("create the database"))?;
        connection.close().await.map_err(refused("end a connection"))
    }
}

fn refused(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Error {
    move |source| Error::Database { doing, source }
}

async fn ensure_database(connection: &mut PgConnection) -> sqlx::Result<()> {
    let exists = sqlx::query("select from pg_database where datname = 'omnichat'");
    if exists.fetch_optional(&mut *connection).await?.is_none() {
        sqlx::query("create database omnichat").execute(&mut *connection).await?;
    }
    Ok(())
}

/// In Postgres the last of two equal names wins.
fn settings(options: &PostgresOptions, socket: &SocketDir) -> Vec<(String, String)> {
    let mut settings = vec![
        ("listen_addresses", String::new()),
        ("port", "5432".into()), // part of the socket's name; the environment might say another
        ("unix_socket_directories", socket.setting()),
        ("shared_buffers", format!("{}MB", options.shared_buffers_mb)),
        ("max_connections", options.max_connections.to_string()),
        ("log_line_prefix", "%m [%p] %q%u@%d %a ".into()),
        ("log_checkpoints", "off".into()),
        ("timezone", "UTC".into()),
        ("log_timezone", "UTC".into()),
    ];
    if !options.durable {
        settings.extend(["fsync", "full_page_writes"].map(|name| (name, "off".into())));
    }
    let ours = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    ours.chain(options.settings.iter().cloned()).collect()
}
