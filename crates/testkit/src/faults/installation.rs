//! The program as it is run for real: processes of each role, over a NATS and a Postgres of their own, with a proxy on
//! every way between them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::future::join_all;
use llm::simulator::{Options, Simulator};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    disk::Disk,
    plan::Size,
    proxy::{Proxy, Upstream},
    record::Record,
};
use crate::{
    Client, Exit, Process, Signal, Stranger, eventually,
    folder::Folder,
    nats_cluster::NatsCluster,
    process::{self, PATIENCE},
    world,
};

/// What the program is told besides what every test tells it: short patience with the provider, short histories.
const SETTINGS: [(&str, &str); 15] = [
    ("OMNICHAT__CHAT__HISTORY_MESSAGES_MAX", "20"),
    ("OMNICHAT__AUTH__ACCESS_TOKEN_MINUTES", "1440"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__TIMEOUTS__CONNECT_MS", "1000"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__TIMEOUTS__FIRST_TOKEN_MS", "2000"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__TIMEOUTS__IDLE_MS", "2000"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__TIMEOUTS__TOTAL_MS", "20000"),
    ("OMNICHAT__HTTP__ANSWER_TIMEOUT_S", "30"),
    ("OMNICHAT__LOG__FILTER", "info"),
    ("OMNICHAT__HTTP__CONNECTIONS_MAX", "10000"),
    ("OMNICHAT__CHAT__SETTLE_EVERY_S", "1"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__KIND", "openrouter"),
    ("OMNICHAT__PROVIDERS__SIMULATOR__KNOWS_CALL_IDS", "true"),
    ("OMNICHAT__PROVIDERS__SPARE__KIND", "openrouter"),
    ("OMNICHAT__PROVIDERS__SPARE__KNOWS_CALL_IDS", "true"),
    ("OMNICHAT__PROVIDERS__SPARE__ALLOW_INSECURE", "true"),
];

/// What the provider charges for a token of a prompt, and for one of an answer, in micro-units.
pub const CHARGES: [i64; 2] = [3, 11];

/// [`super::plan::Size`]'s history bound, as the checks must know it.
pub const HISTORY_MESSAGES_MAX: usize = 20;

/// The ways of one process to what it needs.
#[derive(Debug)]
pub struct Links {
    /// To NATS, one to each server.
    pub nats: Vec<Proxy>,
    /// To Postgres.
    pub postgres: Proxy,
    /// To the provider.
    pub provider: Proxy,
}

/// A place for a process, which is started there again and again.
#[derive(Debug)]
pub struct Place {
    /// `chat-0`, `ingress-1`, `accounts`.
    pub name: String,
    roles: &'static [&'static str],
    /// Its ways out.
    pub links: Links,
    /// The clients' way in; only of an ingress.
    pub door: Proxy,
    process: Mutex<Option<Process>>,
    pid: AtomicU32,
    status: RwLock<Option<SocketAddr>>,
    starts: AtomicU32,
    crashes: AtomicU32,
}

/// Everything that runs.
pub struct Installation {
    binary: &'static str,
    folder: PathBuf,
    starts: AtomicU32,
    /// Workers first, then ingresses, then the accounts.
    pub places: Vec<Place>,
    /// The queue.
    pub nats: NatsCluster,
    /// The clients' ways to it, one to each server.
    pub nats_doors: Vec<Proxy>,
    /// The database.
    pub record: Mutex<Record>,
    /// What its files are on, if it is a disk of its own.
    disk: Mutex<Option<Disk>>,
    /// The provider.
    pub provider: Simulator,
    size: Size,
}

impl Installation {
    /// Starts all of it, and returns when every process is ready. Logs go to `folder`, the files of its servers are on `disk`
    /// if there is one, and Postgres has these settings.
    pub async fn start_on(
        binary: &'static str,
        size: &Size,
        folder: &Path,
        disk: Option<Disk>,
        settings: &[(&str, &str)],
    ) -> Self {
        let on_disk = |name: &str| disk.as_ref().map_or_else(|| Folder::new(name), |disk| disk.folder(name));
        let (record, nats) = tokio::join!(
            Record::start(binary, on_disk("record"), settings),
            NatsCluster::start(
                (1..=size.nats_servers).map(|number| on_disk(&format!("nats-{number}"))).collect()
            )
        );
        let calls = usize::try_from(size.turns).unwrap_or(usize::MAX).saturating_mul(4).max(100_000);
        let provider = Options {
            sign: true,
            log_prompts: false,
            log_calls_max: calls,
            charges: CHARGES,
            ..Options::default()
        };
        let provider = Simulator::start((Ipv4Addr::LOCALHOST, 0).into(), provider).await;
        let provider = provider.expect("a port for the provider");
        let ways =
            Ways { nats: nats.addresses().to_vec(), postgres: record.upstream(), provider: provider.addr() };
        let mut places = Vec::new();
        for number in 0..size.workers {
            places.push(Place::new(format!("chat-{number}"), &["chat"], &ways).await);
        }
        for number in 0..size.ingresses {
            places.push(Place::new(format!("ingress-{number}"), &["ingress"], &ways).await);
        }
        places.push(Place::new("accounts".into(), &["auth", "projects"], &ways).await);
        let installation = Self {
            binary,
            folder: folder.to_owned(),
            starts: AtomicU32::new(0),
            places,
            nats_doors: ways.to_nats().await,
            nats,
            record: Mutex::new(record),
            disk: Mutex::new(disk),
            provider,
            size: size.clone(),
        };
        installation.provision().await;
        for place in installation.places.iter().rev() {
            installation.start_at(place, &mut *place.process.lock().await).await;
        }
        installation
    }

    /// The workers.
    pub fn workers(&self) -> &[Place] {
        &self.places[..self.size.workers]
    }

    /// The ingresses.
    pub fn ingresses(&self) -> &[Place] {
        &self.places[self.size.workers..self.size.workers + self.size.ingresses]
    }

    /// The process of accounts and projects.
    pub fn accounts(&self) -> &Place {
        self.places.last().expect("there is one")
    }

    /// Where clients find NATS.
    pub fn nats_url(&self) -> String {
        urls(&self.nats_doors)
    }

    /// A connection as one of the users of NATS's configuration, such as `operator`.
    pub async fn nats_as_staff(&self, name: &str) -> Stranger {
        let password = self.nats.users().password(name);
        Stranger::connect(&self.nats_url(), name, &password, &format!("_INBOX.{name}")).await
    }

    /// Makes what is missing of the streams.
    pub async fn provision(&self) {
        let command = self.command(self.accounts(), 1, &["provision"]);
        process::run(command).await;
    }

    /// Holds the place, with the process that is there.
    pub async fn hold<'a>(&self, place: &'a Place) -> MutexGuard<'a, Option<Process>> {
        place.process.lock().await
    }

    /// Kills the process here (SIGKILL), and holds the place until it is started again.
    pub async fn kill<'a>(&self, place: &'a Place) -> MutexGuard<'a, Option<Process>> {
        let mut held = place.process.lock().await;
        drop(held.take());
        held
    }

    /// Starts a process here, and waits until it is ready; one that ends before is started again, as any supervisor does.
    pub async fn start_at(&self, place: &Place, held: &mut Option<Process>) {
        loop {
            let number = self.starts.fetch_add(1, Ordering::Relaxed) + 1;
            let arguments = [&["serve"], place.roles].concat();
            let log = self.folder.join(format!("{number}-{}.log", place.name));
            let mut process = Process::start(self.command(place, number, &arguments), log);
            place.pid.store(process.pid(), Ordering::Relaxed);
            place.starts.store(number, Ordering::Relaxed);
            match process.ready_or_ended().await {
                Ok(address) => {
                    place.door.aim(Upstream::Tcp(address));
                    *place.status.write().unwrap_or_else(PoisonError::into_inner) = Some(address);
                    *held = Some(process);
                    return;
                }
                Err(_) => place.crashes.fetch_add(1, Ordering::Relaxed),
            };
        }
    }

    /// Stops the process here for a while (SIGSTOP), unless it is down.
    pub async fn pause(&self, place: &Place, length: std::time::Duration) {
        let mut held = place.process.lock().await;
        if let Some(process) = held.as_mut()
            && !process.has_ended()
        {
            process.signal(Signal::STOP);
            tokio::time::sleep(length).await;
            process.signal(Signal::CONT);
        }
    }

    /// Asks the process here to end, and starts another.
    pub async fn replace(&self, place: &Place) -> Option<Exit> {
        let mut held = place.process.lock().await;
        let mut exit = None;
        if let Some(process) = held.as_mut()
            && !process.has_ended()
        {
            exit = Some(process.terminate().await);
        }
        drop(held.take());
        self.start_at(place, &mut held).await;
        exit
    }

    /// Starts again what has ended by itself.
    pub async fn revive(&self, place: &Place) {
        let Ok(mut held) = place.process.try_lock() else { return };
        if held.as_mut().is_some_and(Process::has_ended) {
            place.crashes.fetch_add(1, Ordering::Relaxed);
            drop(held.take());
            self.start_at(place, &mut held).await;
        }
    }

    /// Takes the power from everything at once, and starts everything again on what the disk had.
    pub async fn lose_power(&self) {
        let mut held = Vec::new();
        for place in &self.places {
            held.push(self.hold(place).await);
        }
        {
            let (mut record, mut nats, mut disk) =
                (self.record.lock().await, self.nats.node(0).await, self.disk.lock().await);
            let disk = disk.as_mut().expect("a disk of its own");
            // A write that is under way while a file system stops may be told that it was flushed.
            record.freeze().await;
            disk.cut();
            held.iter_mut().for_each(|process| drop(process.take()));
            record.kill();
            nats.kill();
            disk.restore();
            record.restart().await;
            nats.restart().await;
        }
        self.provision().await;
        for (place, process) in self.places.iter().zip(&mut held).rev() {
            self.start_at(place, process).await;
        }
    }

    /// Waits until every process says that it is ready for requests.
    pub async fn ready(&self) {
        for place in &self.places {
            let ready = async || {
                let address = place.status()?;
                let answer = Client::at(address).request(reqwest::Method::GET, "/readyz", &[], None).await;
                answer.is_ok_and(|answer| answer.status == 200).then_some(())
            };
            eventually(&format!("{} is ready for requests", place.name), PATIENCE, ready).await;
        }
    }

    /// The program in its environment, on its way through the proxies of this place.
    fn command(&self, place: &Place, number: u32, arguments: &[&str]) -> Command {
        let database = Record::url_through(place.links.postgres.address(), number);
        let provider = format!("http://{}/v1", place.links.provider.address());
        let nats = (urls(&place.links.nats), self.nats.users());
        let variables = world::configuration(&database, &nats.0, nats.1, &provider);
        let mut command = Command::new(self.binary);
        command.args(arguments).env_clear().envs(variables).envs(SETTINGS).current_dir(&self.folder);
        command.env("OMNICHAT__NATS__REPLICAS", self.size.nats_servers.to_string());
        command.env("OMNICHAT__PROVIDERS__SPARE__BASE_URL", &provider);
        let [prompt, completion] = CHARGES;
        for model in world::MODELS {
            let table = format!("OMNICHAT__MODELS__{}", model.to_uppercase());
            let step = |provider: &str| format!(r#"{{ provider = "{provider}", model = "{model}" }}"#);
            command.env(format!("{table}__ROUTE"), format!("[{}, {}]", step("simulator"), step("spare")));
            let prices = format!("{{ prompt = {prompt}, completion = {completion} }}");
            command.env(format!("{table}__PRICES"), prices);
        }
        command
    }
}

struct Ways {
    nats: Vec<SocketAddr>,
    postgres: Upstream,
    provider: SocketAddr,
}

impl Ways {
    async fn to_nats(&self) -> Vec<Proxy> {
        join_all(self.nats.iter().map(|server| Proxy::start(Upstream::Tcp(*server)))).await
    }
}

/// As clients are told.
fn urls(servers: &[Proxy]) -> String {
    let urls: Vec<_> = servers.iter().map(|server| format!("nats://{}", server.address())).collect();
    urls.join(",")
}

impl Place {
    async fn new(name: String, roles: &'static [&'static str], ways: &Ways) -> Self {
        let links = Links {
            nats: ways.to_nats().await,
            postgres: Proxy::start(ways.postgres.clone()).await,
            provider: Proxy::start(Upstream::Tcp(ways.provider)).await,
        };
        Self {
            name,
            roles,
            links,
            door: Proxy::start(Upstream::Nowhere).await,
            process: Mutex::new(None),
            pid: AtomicU32::new(0),
            status: RwLock::new(None),
            starts: AtomicU32::new(0),
            crashes: AtomicU32::new(0),
        }
    }

    /// The process id of the newest process here.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// The number of that process among all of the run; its role in Postgres is named after it.
    pub fn start_number(&self) -> u32 {
        self.starts.load(Ordering::Relaxed)
    }

    /// How often a process here ended though nobody asked it to.
    pub fn crashes(&self) -> u32 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Where its health and its metrics are.
    pub fn status(&self) -> Option<SocketAddr> {
        *self.status.read().unwrap_or_else(PoisonError::into_inner)
    }
}
