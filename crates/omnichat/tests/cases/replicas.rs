//! On how many nodes of NATS the queue is.

use testkit::{
    Stranger,
    folder::Folder,
    nats_cluster::{NatsCluster, number_of},
};

use crate::{
    program::{Ended, end, omnichat},
    servers::nats,
};

async fn provision(url: &str, password: &str, replicas: &str, check: bool) -> Ended {
    let variables = [
        ("NATS_URL", url),
        ("OMNICHAT__NATS__PASSWORDS__PROVISIONER", password),
        ("OMNICHAT__NATS__REPLICAS", replicas),
    ];
    let arguments: &[&str] = if check { &["provision", "--check"] } else { &["provision"] };
    end(omnichat(arguments, &variables)).await
}

#[tokio::test]
async fn a_single_server_says_that_it_is_no_three_nodes() {
    let folder = Folder::new("single");
    let single = nats(&folder, "max_payload: 8388608\njetstream {}\n").await;
    let refused = provision(&single.url(), "", "3", false).await;
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    refused.says("nats.replicas asks for more nodes than there are").unwrap();
    provision(&single.url(), "", "2", false).await.refuses("nats.replicas").unwrap();
}

#[tokio::test]
async fn a_queue_on_one_node_becomes_one_on_three_that_outlives_its_leader() {
    let cluster = NatsCluster::start((0..3).map(|_| Folder::new("node")).collect()).await;
    let urls: Vec<_> = cluster.addresses().iter().map(|address| format!("nats://{address}")).collect();
    let (url, password) = (urls.join(","), cluster.users().password("provisioner"));
    let made = provision(&url, &password, "1", false).await;
    assert_eq!(made.code, Some(0), "{}", made.said);
    let differs = provision(&url, &password, "3", true).await;
    assert!(differs.printed.contains("TURNS: num_replicas is 1, should be 3"), "{}", differs.printed);
    let mended = provision(&url, &password, "3", false).await;
    assert_eq!(mended.code, Some(0), "{}", mended.said);
    let staff =
        Stranger::connect(&url, "operator", &cluster.users().password("operator"), "_INBOX.operator").await;
    let leaders = cluster.whole(&staff).await;
    assert_eq!(leaders.len(), 17, "the stream and its consumers, each with two followers");
    let leader = leaders["TURNS"].as_deref().and_then(number_of).unwrap();
    let mut node = cluster.node(leader).await;
    node.kill();
    let same = provision(&url, &password, "3", true).await;
    assert_eq!(same.code, Some(0), "without node {leader}: {}{}", same.said, same.printed);
    cluster.restart(leader, &mut node).await;
    drop(node);
    cluster.whole(&staff).await;
}
