//! Everything that one test needs.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::Arc,
};

use llm::simulator::{Options, Simulator};
use rustix::process::Signal;
use secrecy::ExposeSecret;
use sqlx::PgPool;

use crate::{
    Client, Exit, Layout, RawNats, Role, Stranger, User,
    client::Door,
    eventually,
    folder::Folder,
    nats::{NatsServer, NatsUsers},
    postgres::Database,
    process::{self, PATIENCE, Process},
};

/// The models that a world serves, the default one first.
pub const MODELS: [&str; 2] = ["small", "large"];
const JWT_SECRET: &str = "a secret of the tests, of more than 32 bytes";

/// A world to be: see [`World::builder`].
#[derive(Debug)]
pub struct WorldBuilder {
    binary: &'static str,
    layout: Layout,
    variables: BTreeMap<String, String>,
    provider: Options,
    nats: String,
}

/// The program under test, its servers and its provider. All of it ends with the test; if the test fails, the ends of the
/// logs are shown.
pub struct World {
    binary: &'static str,
    variables: BTreeMap<String, String>,
    processes: Vec<Running>,
    starts: u32,
    door: Arc<Door>,
    nats: NatsServer,
    database: Database,
    provider: Simulator,
    folder: Folder,
}

/// A process, and what runs in it; none while it is down.
struct Running {
    roles: &'static [Role],
    process: Option<Process>,
}

impl WorldBuilder {
    /// Sets a key of the configuration: `set("http.answer_timeout_s", 1)`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        let name = format!("OMNICHAT__{}", key.replace('.', "__").to_uppercase());
        self.variables.insert(name, value.to_string());
        self
    }

    /// Sets a variable of the processes' environment that is no key of the configuration.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.insert(name.to_owned(), value.to_string());
        self
    }

    /// Adds to the configuration of the nats-server, which is as `nats/embedded.conf` says.
    #[must_use]
    pub fn nats(mut self, more: &str) -> Self {
        self.nats = more.to_owned();
        self
    }

    /// The pace of the provider, in milliseconds: before the first word, and before each further one.
    #[must_use]
    pub fn pace(mut self, first_ms: u64, chunk_ms: u64) -> Self {
        self.provider = Options { first_ms, chunk_ms, ..self.provider };
        self
    }

    /// Starts everything, and returns when the API is ready.
    pub async fn start(self) -> World {
        let (database, nats) = tokio::join!(Database::new(self.binary), NatsServer::start_with(self.nats));
        let provider = Simulator::start((Ipv4Addr::LOCALHOST, 0).into(), self.provider).await;
        let processes =
            self.layout.processes().iter().map(|roles| Running { roles, process: None }).collect();
        let mut world = World {
            binary: self.binary,
            variables: BTreeMap::new(),
            processes,
            starts: 0,
            door: Arc::new(Door::new((Ipv4Addr::LOCALHOST, 0).into())),
            nats,
            database,
            provider: provider.expect("a port for the provider"),
            folder: Folder::new("world"),
        };
        let (nats, provider) = (&world.nats, world.provider.base_url());
        world.variables = configuration(world.database.url(), &nats.url(), nats.users(), &provider);
        world.variables.extend(self.variables);
        world.provision().await;
        for roles in self.layout.processes() {
            world.spawn(roles[0]);
        }
        for roles in self.layout.processes() {
            world.ready(roles[0]).await;
        }
        world
    }
}

impl World {
    /// A world of the program at `binary` (`env!("CARGO_BIN_EXE_omnichat")`).
    pub fn builder(binary: &'static str, layout: Layout) -> WorldBuilder {
        WorldBuilder {
            binary,
            layout,
            variables: BTreeMap::new(),
            provider: Options::default(),
            nats: String::new(),
        }
    }

    /// Where the API is.
    pub fn http(&self) -> SocketAddr {
        self.door.address()
    }

    /// Where NATS is: `nats://127.0.0.1:4222`.
    pub fn nats_url(&self) -> String {
        self.nats.url()
    }

    /// The password of one of its users.
    pub fn nats_password(&self, user: &str) -> String {
        self.nats.users().password(user)
    }

    /// Somebody without a token.
    pub fn client(&self) -> Client {
        Client::new(self.door.clone())
    }

    /// Somebody new, logged in.
    pub async fn user(&self) -> User {
        User::register(&self.client()).await
    }

    /// A user's own connection to NATS.
    pub async fn nats_as(&self, user: &User) -> Stranger {
        self.try_nats(&user.token, &user.id).await.expect("NATS lets the user in")
    }

    /// A connection to NATS with this credential, and inboxes of this user.
    pub async fn try_nats(&self, credential: &str, user: &str) -> Result<Stranger, String> {
        Stranger::with_token(&self.nats.url(), credential, &format!("_INBOX.{user}")).await
    }

    /// A connection to NATS as one of the users of its configuration, such as `operator`.
    pub async fn nats_as_staff(&self, name: &str) -> Stranger {
        self.nats.connect(name, &format!("_INBOX.{name}")).await
    }

    /// As [`World::nats_as_staff`], without a library.
    pub async fn raw_nats_as_staff(&self, name: &str) -> RawNats {
        let login = serde_json::json!({ "user": name, "pass": self.nats.users().password(name) });
        RawNats::with(&self.nats.url(), &login).await.expect("NATS lets staff in")
    }

    /// Disables a user, as operators do.
    pub async fn sql_disable(&self, user: &User) {
        let disabled = sqlx::query("update users set is_active = false where id = $1::uuid").bind(&user.id);
        disabled.execute(self.sql()).await.expect("the user is disabled");
    }

    /// The database, to look into.
    pub fn sql(&self) -> &PgPool {
        self.database.pool()
    }

    /// The provider, to script it and to read its log.
    pub fn provider(&self) -> &Simulator {
        &self.provider
    }

    /// Sends the process of this role a signal.
    pub fn signal(&mut self, role: Role, kind: Signal) {
        self.running(role).process.as_ref().expect("it runs").signal(kind);
    }

    /// Kills the process of this role (SIGKILL), and with it all other roles of the same process.
    pub fn kill(&mut self, role: Role) {
        drop(self.running(role).process.take().expect("it runs"));
    }

    /// Asks the process of this role to end (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self, role: Role) -> Exit {
        self.running(role).process.take().expect("it runs").terminate().await
    }

    /// Starts the process of this role again; kills it first if it runs.
    pub async fn restart(&mut self, role: Role) {
        self.begin(role);
        self.ready(role).await;
    }

    /// Starts the process of this role again, and does not wait until it is ready; kills it first if it runs.
    pub fn begin(&mut self, role: Role) {
        drop(self.running(role).process.take());
        self.spawn(role);
    }

    /// Starts another process in place of this role's; the old one goes on, and is the caller's.
    pub async fn replace(&mut self, role: Role) -> Process {
        let old = self.running(role).process.take().expect("it runs");
        self.spawn(role);
        self.ready(role).await;
        old
    }

    /// Starts one more process of this role beside the one that runs; it is the caller's.
    pub async fn join(&mut self, role: Role) -> Process {
        let first = self.running(role).process.take().expect("it runs");
        self.spawn(role);
        let address = self.door.address();
        self.ready(role).await;
        self.door.move_to(address);
        self.running(role).process.replace(first).expect("it was started")
    }

    /// What the process of this role has logged since its last start.
    pub fn logged(&mut self, role: Role) -> String {
        self.running(role).process.as_ref().expect("it runs").logged()
    }

    /// Kills the nats-server, and starts it again with the same store.
    pub async fn restart_nats(&mut self) {
        self.nats.restart().await;
    }

    /// Kills the nats-server, starts it again without anything that it had stored, and makes the streams anew.
    pub async fn lose_nats_store(&mut self) {
        self.nats.lose_store();
        self.nats.restart().await;
        self.provision().await;
    }

    /// Loses the queue with all that was in it, and makes it anew, empty.
    pub async fn lose_queue(&self) {
        let operator = self.nats.connect("provisioner", "_INBOX.provisioner").await;
        let deleted = operator.request("$JS.API.STREAM.DELETE.TURNS", &[], "").await;
        assert_eq!(deleted.json()["success"], true, "{:?}", deleted.body());
        self.provision().await;
    }

    /// Runs a command of the program, which must end well, in the environment of its processes; gives what it printed.
    pub async fn command_line(&self, arguments: &[&str]) -> String {
        process::run(self.command(arguments)).await
    }

    /// Makes what is missing of the streams.
    async fn provision(&self) {
        process::run(self.command(&["provision"])).await;
    }

    fn running(&mut self, role: Role) -> &mut Running {
        self.processes.iter_mut().find(|running| running.roles.contains(&role)).expect("every role runs")
    }

    fn spawn(&mut self, role: Role) {
        self.starts += 1;
        let roles = self.running(role).roles;
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        let log = self.folder.path().join(format!("{}-{}.log", self.starts, names.join("+")));
        let process = Process::start(self.command(&[&["serve"], &names[..]].concat()), log);
        self.running(role).process = Some(process);
    }

    /// Waits until the process of this role, which was started, is ready.
    pub async fn ready(&mut self, role: Role) {
        let running = self.running(role);
        let address = running.process.as_mut().expect("it was started").ready().await;
        let process = Client::at(address);
        let ready = async || (process.get("/readyz").await.status == 200).then_some(());
        eventually("the process is ready for requests", PATIENCE, ready).await;
        if self.running(role).roles.contains(&Role::Ingress) {
            self.door.move_to(address);
        }
    }

    /// The program in its environment, and nothing of ours.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path());
        command
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "what the test's reader needs, and only if it failed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for Running { roles, process } in &self.processes {
                let last = process.as_ref().map_or("(not running)".into(), Process::last_words);
                eprintln!("---- {roles:?} ----\n{last}");
            }
        }
    }
}

/// What a process of the program is told: where its servers are, and nothing that one address or one user may do only so
/// often.
pub(crate) fn configuration(
    database_url: &str,
    nats_url: &str,
    users: &NatsUsers,
    provider_url: &str,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: &str| drop(variables.insert(name.to_owned(), value.to_owned()));
    set("DATABASE_URL", database_url);
    set("NATS_URL", nats_url);
    set("JWT_SECRET", JWT_SECRET);
    // Everybody here has the same address, and some are busy.
    for limit in
        ["LOGINS_PER_ADDRESS", "REGISTRATIONS_PER_ADDRESS", "REFRESHES_PER_ADDRESS", "TURNS_PER_USER"]
    {
        set(&format!("OMNICHAT__LIMITS__{limit}_PER_MIN"), "0");
    }
    set("OMNICHAT__HTTP__CONNECTIONS_PER_ADDRESS_MAX", "0");
    set("LLM_MODEL", MODELS[0]);
    set("OMNICHAT__HTTP__LISTEN", "127.0.0.1:0");
    set("OMNICHAT__HTTP__STATUS_LISTEN", "127.0.0.1:0");
    set("OMNICHAT__LOG__FORMAT", "json");
    set("OMNICHAT__LOG__FILTER", "info,chat=debug");
    set("OMNICHAT__POSTGRES__POOL_SIZE", "8");
    set("OMNICHAT__PROVIDERS__SIMULATOR__KIND", "openai-compatible");
    set("OMNICHAT__PROVIDERS__SIMULATOR__BASE_URL", provider_url);
    set("OMNICHAT__PROVIDERS__SIMULATOR__ALLOW_INSECURE", "true");
    for model in MODELS {
        let route = format!(r#"[{{ provider = "simulator", model = "{model}" }}]"#);
        set(&format!("OMNICHAT__MODELS__{}__ROUTE", model.to_uppercase()), &route);
    }
    let seeds = users.callout();
    for (name, seed) in [("ISSUER", seeds.issuer_seed), ("CURVE", seeds.curve_seed)] {
        let seed = seed.expect("both are set");
        set(&format!("OMNICHAT__NATS__CALLOUT__{name}_SEED"), seed.expose_secret());
    }
    for user in ["ingress", "auth", "projects", "chat", "provisioner", "callout", "warden"] {
        set(&format!("OMNICHAT__NATS__PASSWORDS__{}", user.to_uppercase()), &users.password(user));
    }
    variables
}
