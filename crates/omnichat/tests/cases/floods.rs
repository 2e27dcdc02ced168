//! Cases 81 and 82: users who connect, ask or listen without end.

use std::time::Duration;

use serde_json::json;
use testkit::{Layout, RawNats, World, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(40);
/// `max_connections` of the server.
const CONNECTIONS_MAX: usize = 1_000;
/// Requests of one user that a service works on at a time.
const SHARE: usize = 64;

async fn world() -> World {
    World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).start().await
}

async fn connect(url: &str) -> TcpStream {
    TcpStream::connect(url.trim_start_matches("nats://")).await.unwrap()
}

/// Case 81: the server has so many connections, and those that are there go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_too_many_is_refused() {
    let world = world().await;
    let ana = world.user().await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS_MAX + 100 {
        let url = world.nats_url();
        crowd.spawn(async move {
            let mut said = Vec::new();
            // Those who say nothing are put out after two seconds.
            let read = timeout(PATIENCE, connect(&url).await.read_to_end(&mut said)).await;
            (read.is_ok(), String::from_utf8_lossy(&said).contains("maximum connections exceeded"))
        });
    }
    let crowd = crowd.join_all().await;
    assert!(crowd.iter().all(|(closed, _)| *closed), "every one was closed");
    let refused = crowd.iter().filter(|(_, refused)| *refused).count();
    assert!((1..=200).contains(&refused), "{refused} were refused");
    ana.get("/projects").await.ok();
    // Who says nothing is put out, so there is room again.
    eventually("a user comes in again", PATIENCE, async || world.try_nats(&ana.token, &ana.id).await.ok())
        .await;
}

/// Case 81: more than a service works on at a time, all at once, in one user's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_user_is_refused_to_that_one() {
    let world = world().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let project = ana.project().await;
    let mut lock = world.sql().begin().await.unwrap();
    // His requests stay in work, as long as the table is held.
    sqlx::query("lock table projects in access exclusive mode").execute(&mut *lock).await.unwrap();
    let mut nats = RawNats::connect(&world.nats_url(), &bob.token).await.unwrap();
    let inbox = format!("_INBOX.{}.x", bob.id);
    assert_eq!(nats.subscribe(&inbox, "").await, None);
    let ask = format!("PUB omnichat.v1.u.{}.projects.list {inbox} 2\r\n{{}}\r\n", bob.id);
    let flood = 2_000;
    let mut heard = nats.say(&ask.repeat(flood)).await.unwrap();
    let mut refused = async || {
        heard.extend(nats.say("").await.unwrap());
        let count = heard.iter().filter(|line| line.contains("overloaded")).count();
        (count >= flood - SHARE).then_some(count)
    };
    let refused = eventually("what is over his share is refused", PATIENCE, &mut refused).await;
    assert_eq!(refused, flood - SHARE);
    let path = format!("/projects/{project}");
    let hers = ana.get(&path);
    let released = async {
        tokio::task::yield_now().await;
        lock.rollback().await.unwrap();
    };
    let (hers, ()) = tokio::join!(hers, released);
    assert_eq!(hers.ok()["id"], json!(project), "hers was taken, though his were in work");
}

/// Case 82: the server keeps so much for a reader who does not read, and nobody waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_cut_off() {
    let world = world().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let large = json!({ "name": "a", "description": "d".repeat(900) });
    for _ in 0..40 {
        bob.post("/projects", large.clone()).await.ok();
    }
    let mut stream = connect(&world.nats_url()).await;
    let options =
        json!({ "auth_token": bob.token, "verbose": false, "headers": true, "no_responders": true });
    let inbox = format!("_INBOX.{}.x", bob.id);
    stream.write_all(format!("CONNECT {options}\r\nSUB {inbox} 1\r\n").as_bytes()).await.unwrap();
    let ask = format!("PUB omnichat.v1.u.{}.projects.list {inbox} 2\r\n{{}}\r\n", bob.id);
    let cut = async {
        // Some 50 kB an answer; the kernel and then the server keep them, until it is too much.
        while stream.write_all(ask.repeat(20).as_bytes()).await.is_ok() {
            ana.get("/projects").await.ok();
        }
    };
    assert!(timeout(PATIENCE, cut).await.is_ok(), "he is still connected");
    ana.get("/projects").await.ok();
}
