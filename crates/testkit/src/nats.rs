//! The private nats-server of a world: the accounts and permissions of every installation, passwords of its own.

use std::net::SocketAddr;

use bus::{
    CalloutKeys,
    connection::{CalloutConfig, SERVER_USERS},
};
use host::embedded::{Nats, NatsOptions, Search};
use rustix::process::Signal;

use crate::{Stranger, folder::Folder, process};

/// As `omnichat up` has it.
const CONFIG: &str =
    concat!(include_str!("../../../nats/permissions.conf"), include_str!("../../../nats/embedded.conf"));

/// Who may connect, and with what.
#[derive(Debug, Clone)]
pub struct NatsUsers {
    secret: String,
    callout: CalloutKeys,
}

/// A nats-server, and what is needed to start it again.
#[derive(Debug)]
pub struct NatsServer {
    running: Option<Nats>,
    address: SocketAddr,
    users: NatsUsers,
    /// What makes it one of a cluster.
    member: Option<Member>,
    /// What its configuration says besides.
    more: String,
    folder: Folder,
}

/// A node among others.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its name, for life.
    pub name: String,
    /// Where it finds the others.
    pub others: Vec<SocketAddr>,
}

impl NatsUsers {
    /// New passwords and keys.
    pub fn random() -> Self {
        Self { secret: uuid::Uuid::new_v4().simple().to_string(), callout: CalloutKeys::random() }
    }

    /// The password of one of the configuration's users.
    pub fn password(&self, user: &str) -> String {
        format!("{user}-{}", self.secret)
    }

    /// The seeds of the keys that users are let in with.
    pub fn callout(&self) -> CalloutConfig {
        self.callout.seeds().expect("they were made with their seeds")
    }

    fn environment(&self) -> Vec<(String, String)> {
        let passwords = SERVER_USERS.map(|user| variable(user, &self.password(user)));
        let keys = [("callout_issuer", self.callout.issuer()), ("callout_curve", self.callout.curve())];
        passwords.into_iter().chain(keys.map(|(name, key)| variable(name, &key))).collect()
    }
}

impl NatsServer {
    /// Starts an empty one.
    pub async fn start() -> Self {
        Self::start_with(String::new()).await
    }

    /// Starts an empty one, with more in its configuration.
    pub async fn start_with(more: String) -> Self {
        Self::started(Folder::new("nats"), NatsUsers::random(), None, more).await
    }

    /// Starts an empty one whose files are in this folder.
    pub(crate) async fn start_in(folder: Folder, users: NatsUsers, member: Option<Member>) -> Self {
        Self::started(folder, users, member, String::new()).await
    }

    async fn started(folder: Folder, users: NatsUsers, member: Option<Member>, more: String) -> Self {
        let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let mut server = Self { running: None, address, users, member, more, folder };
        server.restart().await;
        server
    }

    /// Kills it.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// Kills it, and loses all that it had stored.
    pub fn lose_store(&mut self) {
        self.kill();
        let store = self.folder.path().join("home/store");
        std::fs::remove_dir_all(store).expect("the store goes");
    }

    /// Kills it, and starts it again with the same store at the same address.
    pub async fn restart(&mut self) {
        self.kill();
        let program = Search::from_environment().find_nats_server().await.expect("a nats-server");
        let mut options = NatsOptions::new(program, self.folder.path().join("home"));
        options.listen = self.address;
        options.config = format!("{CONFIG}\n{}\n", self.more);
        options.environment = self.users.environment();
        if let Some(member) = &self.member {
            options.name = Some(member.name.clone());
            options.config += &member.section(&self.users);
        }
        let nats = Nats::start(options).await.expect("the nats-server starts");
        assert_eq!(nats.taken(), None, "another process has taken the address meanwhile");
        self.address = nats.url().trim_start_matches("nats://").parse().unwrap();
        self.running = Some(nats);
    }

    /// Stops it where it is (SIGSTOP), or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let nats = self.running.as_ref().expect("it runs");
        process::signal(nats.pid(), if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Where the other nodes of its cluster find it, since it was started last.
    pub(crate) fn routes(&self) -> Option<SocketAddr> {
        self.running.as_ref()?.routes()
    }

    /// How many clients are connected to it.
    pub(crate) async fn clients(&self) -> u64 {
        let monitoring = self.running.as_ref().expect("it runs").monitoring_url();
        let answer = reqwest::get(format!("{monitoring}/varz")).await.expect("it answers");
        let varz: serde_json::Value = answer.json().await.expect("JSON");
        varz["connections"].as_u64().expect("a number")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same, as clients are told.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Who may connect.
    pub fn users(&self) -> &NatsUsers {
        &self.users
    }

    /// A client of another make, as this user.
    pub async fn connect(&self, user: &str, inbox_prefix: &str) -> Stranger {
        Stranger::connect(&self.url(), user, &self.users.password(user), inbox_prefix).await
    }
}

impl Member {
    /// As `nats/cluster.conf` has it, on a port of the system's choice. Nodes are found where they are configured, and
    /// nowhere else: what they tell one another leads nowhere.
    fn section(&self, users: &NatsUsers) -> String {
        let password = users.password("route");
        let routes: Vec<_> =
            self.others.iter().map(|other| format!("\"nats://route:{password}@{other}\"")).collect();
        format!(
            "\ncluster {{\n  name: omnichat\n  listen: \"127.0.0.1:-1\"\n  advertise: \"127.0.0.1:1\"\n  no_advertise: true\n  \
             authorization {{ user: route, password: \"{password}\", timeout: 2 }}\n  routes: [{}]\n}}\n",
            routes.join(", ")
        )
    }
}

/// Quoted, as the server would read something like 12e3 as a number.
fn variable(name: &str, value: &str) -> (String, String) {
    (format!("OMNICHAT_NATS_{}", name.to_uppercase()), format!("\"{value}\""))
}
