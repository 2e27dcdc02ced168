//! The private nats-server of a world: the accounts and permissions of every installation, passwords of its own.

use std::net::SocketAddr;

use bus::{
    CalloutKeys,
    connection::{CalloutConfig, SERVER_USERS},
};
use host::embedded::{Nats, NatsOptions, Search};

use crate::{Stranger, folder::Folder};

/// As `omnichat up` has it.
const CONFIG: &str =
    concat!(include_str!("../../../nats/permissions.conf"), include_str!("../../../nats/embedded.conf"));

/// A nats-server, and what is needed to start it again.
#[derive(Debug)]
pub struct NatsServer {
    running: Option<Nats>,
    address: SocketAddr,
    secret: String,
    callout: CalloutKeys,
    folder: Folder,
}

impl NatsServer {
    /// Starts an empty one.
    pub async fn start() -> Self {
        Self::start_in(Folder::new("nats")).await
    }

    /// Starts an empty one whose files are in this folder.
    pub(crate) async fn start_in(folder: Folder) -> Self {
        let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let callout = CalloutKeys::random();
        let mut server = Self { running: None, address, secret, callout, folder };
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
        options.config = CONFIG.to_owned();
        options.environment = SERVER_USERS.map(|user| variable(user, &self.password(user))).into();
        options.environment.push(variable("callout_issuer", &self.callout.issuer()));
        options.environment.push(variable("callout_curve", &self.callout.curve()));
        let nats = Nats::start(options).await.expect("the nats-server starts");
        assert_eq!(nats.taken(), None, "another process has taken the address meanwhile");
        self.address = nats.url().trim_start_matches("nats://").parse().unwrap();
        self.running = Some(nats);
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The password of one of its users.
    pub fn password(&self, user: &str) -> String {
        format!("{user}-{}", self.secret)
    }

    /// The seeds of the keys that users are let in with.
    pub fn callout(&self) -> CalloutConfig {
        self.callout.seeds().expect("they were made with their seeds")
    }

    /// A client of another make, as this user.
    pub async fn connect(&self, user: &str, inbox_prefix: &str) -> Stranger {
        Stranger::connect(&self.url(), user, &self.password(user), inbox_prefix).await
    }
}

/// Quoted, as the server would read something like 12e3 as a number.
fn variable(name: &str, value: &str) -> (String, String) {
    (format!("OMNICHAT_NATS_{}", name.to_uppercase()), format!("\"{value}\""))
}
