//! What befalls a node of a cluster of NATS.

use tokio::time::sleep;

use super::{
    fault::{Fault, What},
    installation::Installation,
};
use crate::nats_cluster::{name_of, number_of};

/// Makes it happen, and returns when the cluster is whole again: what it befell, and how many leaders and clients moved.
pub(super) async fn befall(fault: &Fault, on: &Installation) -> (String, u64) {
    let (cluster, staff) = (&on.nats, on.nats_as_staff("operator").await);
    let before = cluster.whole(&staff).await;
    let count = cluster.addresses().len();
    let number = match fault.what {
        What::LeaderKilled => {
            before["TURNS"].as_deref().and_then(number_of).expect("a node leads the stream")
        }
        What::NodeKilled => cluster.busiest().await,
        _ => fault.target % count,
    };
    let name = name_of(number);
    let led = before.values().flatten().filter(|leader| **leader == name).count();
    let elsewhere = clients_elsewhere(on, number).await;
    let mut node = cluster.node(number).await;
    match fault.what {
        What::NodeFrozen => {
            node.freeze(true);
            sleep(fault.hold).await;
            node.freeze(false);
        }
        What::RouteCut => {
            let ways: Vec<_> = cluster.between(number, (number + 1) % count).collect();
            ways.iter().for_each(|way| way.freeze(true));
            sleep(fault.hold).await;
            ways.iter().for_each(|way| way.cut());
            ways.iter().for_each(|way| way.freeze(false));
        }
        _ => {
            node.kill();
            sleep(fault.hold / 2).await;
            cluster.restart(number, &mut node).await;
        }
    }
    drop(node);
    let after = cluster.whole(&staff).await;
    let clients = clients_elsewhere(on, number).await.saturating_sub(elsewhere);
    let leaders = before.iter().filter(|(group, leader)| after.get(*group) != Some(*leader)).count() as u64;
    let whom = format!("{name}, leader of {led} groups; {leaders} leaders and {clients} clients moved");
    (whom, leaders + clients)
}

/// Clients that are connected to the other nodes.
async fn clients_elsewhere(on: &Installation, than: usize) -> u64 {
    let mut clients = 0;
    for number in (0..on.nats.addresses().len()).filter(|number| *number != than) {
        clients += on.nats.node(number).await.clients().await;
    }
    clients
}
