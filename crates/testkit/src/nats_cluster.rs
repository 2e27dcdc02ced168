//! One nats-server, or a private cluster of them, each with files and a name of its own, and a proxy on every way from one
//! node to another.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use crate::{
    Stranger, eventually,
    faults::proxy::{Proxy, Upstream},
    folder::Folder,
    nats::{Member, NatsServer, NatsUsers},
    process::PATIENCE,
};

/// For the servers' word on their groups: half of a cluster that elects its leaders says nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// The servers of an installation.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<Mutex<NatsServer>>,
    addresses: Vec<SocketAddr>,
    routes: Vec<Route>,
    users: NatsUsers,
    /// Held by whoever disturbs a node: one at a time.
    disturbing: Mutex<()>,
}

/// The way on which one node calls another.
#[derive(Debug)]
struct Route {
    from: usize,
    to: usize,
    proxy: Proxy,
}

/// Who leads the stream (`TURNS`) and each of its consumers; nobody, where it is not known.
pub type Leaders = BTreeMap<String, Option<String>>;

impl NatsCluster {
    /// Starts empty ones, each with one of these folders.
    pub async fn start(folders: Vec<Folder>) -> Self {
        let (users, count) = (NatsUsers::random(), folders.len());
        let mut routes = Vec::new();
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            if from != to {
                routes.push(Route { from, to, proxy: Proxy::start(Upstream::Nowhere).await });
            }
        }
        let (mut nodes, mut addresses) = (Vec::new(), Vec::new());
        for (number, folder) in folders.into_iter().enumerate() {
            let others = routes.iter().filter(|route| route.from == number);
            let others: Vec<_> = others.map(|route| route.proxy.address()).collect();
            let member = (count > 1).then(|| Member { name: name_of(number), others });
            let node = NatsServer::start_in(folder, users.clone(), member).await;
            aim(&routes, number, &node);
            addresses.push(node.address());
            nodes.push(Mutex::new(node));
        }
        Self { nodes, addresses, routes, users, disturbing: Mutex::new(()) }
    }

    /// Where clients find each node.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Who may connect.
    pub fn users(&self) -> &NatsUsers {
        &self.users
    }

    /// The node of this number; of a single server, the server.
    pub async fn node(&self, number: usize) -> MutexGuard<'_, NatsServer> {
        self.nodes[number].lock().await
    }

    /// Waits until nobody else disturbs a node.
    pub async fn alone(&self) -> MutexGuard<'_, ()> {
        self.disturbing.lock().await
    }

    /// Starts the node of this number again, which was killed or is killed now.
    pub async fn restart(&self, number: usize, node: &mut NatsServer) {
        node.restart().await;
        aim(&self.routes, number, node);
    }

    /// The ways between two nodes.
    pub fn between(&self, one: usize, other: usize) -> impl Iterator<Item = &Proxy> {
        let joins = move |route: &&Route| [(one, other), (other, one)].contains(&(route.from, route.to));
        self.routes.iter().filter(joins).map(|route| &route.proxy)
    }

    /// All ways between nodes.
    pub fn routes(&self) -> impl Iterator<Item = &Proxy> {
        self.routes.iter().map(|route| &route.proxy)
    }

    /// The number of the node that most clients are connected to.
    pub async fn busiest(&self) -> usize {
        let mut busiest = (0, 0);
        for number in 0..self.nodes.len() {
            let clients = self.node(number).await.clients().await;
            busiest = busiest.max((clients, number));
        }
        busiest.1
    }

    /// Waits until every group has a leader and every node has what its groups have; tells the leaders.
    pub async fn whole(&self, staff: &Stranger) -> Leaders {
        eventually("the cluster is whole", PATIENCE, async || {
            let (leaders, whole) = timeout(ANSWER, groups(staff)).await.ok().flatten()?;
            (whole && leaders.values().all(Option::is_some)).then_some(leaders)
        })
        .await
    }
}

/// The name of a node.
pub fn name_of(number: usize) -> String {
    format!("nats-{}", number + 1)
}

/// The number of a node.
pub fn number_of(name: &str) -> Option<usize> {
    name.strip_prefix("nats-")?.parse::<usize>().ok()?.checked_sub(1)
}

fn aim(routes: &[Route], number: usize, node: &NatsServer) {
    for route in routes.iter().filter(|route| route.to == number) {
        route.proxy.aim(node.routes().map_or(Upstream::Nowhere, Upstream::Tcp));
    }
}

/// The leaders, and whether all their followers are up to date.
async fn groups(staff: &Stranger) -> Option<(Leaders, bool)> {
    let stream = staff.try_request("$JS.API.STREAM.INFO.TURNS", &[], "").await.ok()?.json();
    let consumers = staff.try_request("$JS.API.CONSUMER.LIST.TURNS", &[], "{}").await.ok()?.json();
    let consumers = consumers["consumers"].as_array()?;
    let groups = consumers.iter().map(|consumer| (&consumer["name"], &consumer["cluster"]));
    let groups: Vec<_> = groups.chain([(&stream["config"]["name"], &stream["cluster"])]).collect();
    let leaders = groups.iter().filter_map(|(name, cluster)| {
        let leader = cluster["leader"].as_str().filter(|leader| !leader.is_empty());
        Some((name.as_str()?.to_owned(), leader.map(str::to_owned)))
    });
    let current = |cluster: &Value| {
        let followers = cluster["replicas"].as_array().into_iter().flatten();
        followers.filter(|follower| follower["current"] == true).count() >= 2
    };
    let whole = groups.iter().all(|(_, cluster)| current(cluster));
    let expected = stream["state"]["consumer_count"].as_u64()?;
    Some((leaders.collect(), whole && consumers.len() as u64 == expected))
}
