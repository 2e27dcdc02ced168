//! What is done to an installation while it is used, and when: all of it follows from the seed.

use std::time::Duration;

use super::{
    dice::Dice,
    history::{Micros, now},
    installation::{Installation, Place},
    node,
    plan::Size,
    proxy::Proxy,
};

/// The part of the load that goes by before the first fault.
const QUIET: f64 = 0.05;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A worker is killed, and started again.
    WorkerKilled,
    /// A worker is stopped for 1 to 5 s.
    WorkerFrozen,
    /// A worker is asked to leave, and another comes.
    WorkerReplaced,
    /// An ingress is stopped in order, and another one started.
    IngressReplaced,
    /// The accounts are stopped in order, and started again.
    AccountsReplaced,
    /// An ingress is killed, and started again.
    IngressKilled,
    /// Accounts and projects are killed, and started again.
    AccountsKilled,
    /// The nats-server is killed, and started again with its files.
    NatsKilled,
    /// Postgres and its children are killed, and started again with their files.
    PostgresKilled,
    /// Postgres ends connections of the program.
    BackendsTerminated,
    /// Connections are cut.
    LinkCut,
    /// Connections fall silent for a while, and are cut then.
    LinkFrozen,
    /// Connections, but for those to Postgres, are forgotten on the way: nothing passes any more, and neither side is told.
    /// New ones are whole.
    LinkLost,
    /// The same of a process's connections to Postgres.
    DatabaseLost,
    /// What is sent comes late for a while.
    LinkSlow,
    /// The consumers of the stream are deleted.
    ConsumersDeleted,
    /// The stream is deleted, and provisioned anew.
    QueueLost,
    /// The nats-server loses its files, and is provisioned anew; the workers are started again.
    StoreLost,
    /// The node of a cluster of NATS that leads the stream is killed, and started again.
    LeaderKilled,
    /// The node that most clients are connected to is killed, and started again.
    NodeKilled,
    /// A node is stopped for 1 to 5 s.
    NodeFrozen,
    /// Two nodes hear nothing of each other for a while, and their connections are cut then.
    RouteCut,
}

impl What {
    /// Every kind that needs no cluster of NATS.
    pub const ALL: [Self; 16] = [
        Self::WorkerKilled,
        Self::WorkerFrozen,
        Self::WorkerReplaced,
        Self::IngressKilled,
        Self::AccountsKilled,
        Self::NatsKilled,
        Self::PostgresKilled,
        Self::BackendsTerminated,
        Self::LinkCut,
        Self::LinkFrozen,
        Self::LinkLost,
        Self::DatabaseLost,
        Self::LinkSlow,
        Self::ConsumersDeleted,
        Self::QueueLost,
        Self::StoreLost,
    ];

    /// A process of each role is stopped in order, and another one takes its place: what a rolling restart is made of. Only when
    /// asked for.
    pub const ROLLING: [Self; 3] = [Self::WorkerReplaced, Self::IngressReplaced, Self::AccountsReplaced];

    /// Those of a run on a cluster of NATS, as often as each should come.
    pub const CLUSTER: [Self; 9] = [
        Self::WorkerKilled,
        Self::IngressKilled,
        Self::LeaderKilled,
        Self::LeaderKilled,
        Self::NodeKilled,
        Self::NodeKilled,
        Self::NodeFrozen,
        Self::NodeFrozen,
        Self::RouteCut,
    ];

    /// Whether it befalls a node of a cluster of NATS: such happen one after the other, as two nodes of three must be there.
    const fn befalls_a_node(self) -> bool {
        matches!(self, Self::LeaderKilled | Self::NodeKilled | Self::NodeFrozen | Self::RouteCut)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().chain(Self::ROLLING).chain(Self::CLUSTER);
        known.into_iter().find(|what| what.name() == name)
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed",
            Self::WorkerFrozen => "worker frozen",
            Self::WorkerReplaced => "worker replaced",
            Self::IngressReplaced => "ingress replaced",
            Self::AccountsReplaced => "accounts replaced",
            Self::IngressKilled => "ingress killed",
            Self::AccountsKilled => "accounts killed",
            Self::NatsKilled => "nats-server killed",
            Self::PostgresKilled => "Postgres killed",
            Self::BackendsTerminated => "backends terminated",
            Self::LinkCut => "link cut",
            Self::LinkFrozen => "link frozen",
            Self::LinkLost => "link lost",
            Self::DatabaseLost => "database link lost",
            Self::LinkSlow => "link slow",
            Self::ConsumersDeleted => "consumers deleted",
            Self::QueueLost => "queue lost",
            Self::StoreLost => "store lost",
            Self::LeaderKilled => "leader killed",
            Self::NodeKilled => "node killed",
            Self::NodeFrozen => "node frozen",
            Self::RouteCut => "route cut",
        }
    }
}

/// A fault to come.
#[derive(Debug, Clone)]
pub struct Fault {
    /// When, from the beginning of the load.
    pub due: Duration,
    /// Which.
    pub what: What,
    /// Chooses among what it could befall.
    pub target: usize,
    /// How long it lasts, where it lasts.
    pub hold: Duration,
}

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Injected {
    /// Which.
    pub what: What,
    /// Its place in the schedule.
    pub number: usize,
    /// What it befell.
    pub whom: String,
    /// When it began.
    pub began: Micros,
    /// When its cause was over.
    pub healed: Micros,
    /// Connections that proxies cut or held up; and leaders and clients that moved to another node.
    pub touched: u64,
}

/// The faults of this seed and size, spread over the time of the load, each kind about as often as the others.
pub fn schedule(size: &Size) -> Vec<Fault> {
    let mut dice = Dice::new(size.seed, 0xfa17);
    let mut kinds = Vec::new();
    assert!(!size.kinds.is_empty(), "there is no kind of fault to choose from");
    while kinds.len() < size.faults {
        let mut round = size.kinds.clone();
        dice.shuffle(&mut round);
        kinds.extend(round);
    }
    kinds.truncate(size.faults);
    let length = size.turns as f64 / size.per_s;
    let quiet = QUIET * length;
    let gap = (length - quiet) / (size.faults.max(1) as f64);
    let faults = kinds.into_iter().enumerate().map(|(number, what)| {
        let jitter = dice.between(0, 400) as f64 / 1000.0;
        Fault {
            due: Duration::from_secs_f64(quiet + gap * (number as f64 + jitter)),
            what,
            target: dice.index(usize::MAX),
            hold: Duration::from_millis(dice.between(1000, 5000)),
        }
    });
    faults.collect()
}

impl Fault {
    /// Makes it happen, and returns when its cause is over.
    pub async fn inject(&self, number: usize, on: &Installation) -> Injected {
        let node = self.what.befalls_a_node();
        let _alone = if node { Some(on.nats.alone().await) } else { None };
        let began = now();
        let before = touched(on);
        let (whom, moved) = if node { node::befall(self, on).await } else { (self.happen(on).await, 0) };
        let touched = touched(on) - before + moved;
        Injected { what: self.what, number, whom, began, healed: now(), touched }
    }

    async fn happen(&self, on: &Installation) -> String {
        let worker = &on.workers()[self.target % on.workers().len()];
        let ingress = &on.ingresses()[self.target % on.ingresses().len()];
        match self.what {
            What::WorkerKilled => self.kill(on, worker).await,
            What::WorkerFrozen => {
                on.pause(worker, self.hold).await;
                format!("{} for {:?}", worker.name, self.hold)
            }
            What::WorkerReplaced => replace(on, worker).await,
            What::IngressReplaced => replace(on, ingress).await,
            What::AccountsReplaced => replace(on, on.accounts()).await,
            What::IngressKilled => self.kill(on, ingress).await,
            What::AccountsKilled => self.kill(on, on.accounts()).await,
            What::NatsKilled => {
                on.nats.node(0).await.restart().await;
                "nats-server".into()
            }
            What::PostgresKilled => {
                let mut record = on.record.lock().await;
                record.kill();
                tokio::time::sleep(self.hold / 10).await;
                record.restart().await;
                "Postgres".into()
            }
            What::BackendsTerminated => self.terminate_backends(on).await,
            What::LinkCut | What::LinkFrozen | What::LinkLost | What::DatabaseLost | What::LinkSlow => {
                self.disturb(on).await
            }
            What::ConsumersDeleted => delete_consumers(on).await,
            What::QueueLost => {
                let staff = on.nats_as_staff("provisioner").await;
                let _ = staff.try_request("$JS.API.STREAM.DELETE.TURNS", &[], "").await;
                on.provision().await;
                "TURNS".into()
            }
            What::StoreLost => {
                {
                    let mut nats = on.nats.node(0).await;
                    nats.lose_store();
                    nats.restart().await;
                }
                on.provision().await;
                for worker in on.workers() {
                    let mut held = on.kill(worker).await;
                    on.start_at(worker, &mut held).await;
                }
                "nats-server and every worker".into()
            }
            What::LeaderKilled | What::NodeKilled | What::NodeFrozen | What::RouteCut => {
                unreachable!("these befall nodes")
            }
        }
    }

    /// It stays down for a moment, as it would until somebody notices.
    async fn kill(&self, on: &Installation, place: &Place) -> String {
        let mut held = on.kill(place).await;
        tokio::time::sleep(self.hold / 5).await;
        on.start_at(place, &mut held).await;
        place.name.clone()
    }

    async fn terminate_backends(&self, on: &Installation) -> String {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                   where usename like 'process_%' and pid % 3 <> $1";
        let url = on.record.lock().await.url();
        let ended: i64 = async {
            let mut connection = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await?;
            sqlx::query_scalar(sql).bind((self.target % 3) as i32).fetch_one(&mut connection).await
        }
        .await
        .unwrap_or_default();
        format!("{ended} connections")
    }

    async fn disturb(&self, on: &Installation) -> String {
        let mut links = links(on);
        match self.what {
            What::LinkLost => links.retain(|(name, _)| !name.ends_with("Postgres")),
            What::DatabaseLost => links.retain(|(name, _)| name.ends_with("Postgres")),
            _ => {}
        }
        let (name, proxy) = &links[self.target % links.len()];
        match self.what {
            What::LinkCut => proxy.cut(),
            What::LinkLost | What::DatabaseLost => proxy.strand(),
            What::LinkFrozen => {
                proxy.freeze(true);
                tokio::time::sleep(self.hold).await;
                proxy.cut();
                proxy.freeze(false);
            }
            _ => {
                proxy.delay(Duration::from_millis(50));
                tokio::time::sleep(self.hold).await;
                proxy.delay(Duration::ZERO);
            }
        }
        name.clone()
    }
}

/// Every way that may be disturbed.
fn links(on: &Installation) -> Vec<(String, &Proxy)> {
    let mut links = Vec::new();
    links.extend(on.nats_doors.iter().map(|door| ("clients–NATS".to_owned(), door)));
    for worker in on.workers() {
        links.extend(worker.links.nats.iter().map(|way| (format!("{}–NATS", worker.name), way)));
        links.push((format!("{}–Postgres", worker.name), &worker.links.postgres));
        links.push((format!("{}–provider", worker.name), &worker.links.provider));
    }
    for ingress in on.ingresses() {
        links.push((format!("clients–{}", ingress.name), &ingress.door));
        links.extend(ingress.links.nats.iter().map(|way| (format!("{}–NATS", ingress.name), way)));
    }
    links.push(("accounts–Postgres".to_owned(), &on.accounts().links.postgres));
    links
}

fn touched(on: &Installation) -> u64 {
    links(on).iter().map(|(_, proxy)| *proxy).chain(on.nats.routes()).map(Proxy::touched).sum()
}

/// Stops a process in order, and starts another one in its place.
async fn replace(on: &Installation, place: &Place) -> String {
    let exit = on.replace(place).await;
    format!("{}: {exit:?}", place.name)
}

async fn delete_consumers(on: &Installation) -> String {
    let staff = on.nats_as_staff("provisioner").await;
    let names = staff.try_request("$JS.API.CONSUMER.NAMES.TURNS", &[], "{}").await;
    let names = names.map(|reply| reply.json()["consumers"].clone()).unwrap_or_default();
    let names: Vec<_> = names.as_array().into_iter().flatten().filter_map(|name| name.as_str()).collect();
    for name in &names {
        let _ = staff.try_request(&format!("$JS.API.CONSUMER.DELETE.TURNS.{name}"), &[], "").await;
    }
    format!("{} consumers", names.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_twice_in_twice_as_many_faults_as_kinds() {
        let size = Size { faults: 2 * What::ALL.len(), ..Size::small() };
        let faults = schedule(&size);
        for what in What::ALL {
            assert_eq!(faults.iter().filter(|fault| fault.what == what).count(), 2, "{what:?}");
        }
        let length = size.turns as f64 / size.per_s;
        assert!(faults.windows(2).all(|pair| pair[0].due < pair[1].due));
        assert!(faults.iter().all(|fault| fault.due.as_secs_f64() < length));
        let again: Vec<_> = schedule(&size).iter().map(|fault| (fault.what, fault.target)).collect();
        assert_eq!(faults.iter().map(|fault| (fault.what, fault.target)).collect::<Vec<_>>(), again);
    }
}
