//! The limits that a provider sets to a key: who comes too soon waits, and nobody fails.

use std::time::{Duration, Instant};

use futures::future::join_all;
use testkit::{Layout, Role, User, World, user::text};
use time::OffsetDateTime;

use crate::world;

/// Sends so many messages at once, each in a conversation of its own; all are answered.
async fn flood(user: &User, messages: usize) -> Vec<serde_json::Value> {
    let sends = (0..messages).map(async |number| {
        let conversation = user.conversation().await;
        user.send(&conversation, &format!("message {number}")).await.ok()
    });
    join_all(sends).await
}

fn begun(world: &World) -> Vec<OffsetDateTime> {
    world.provider().calls().iter().map(|call| call.started_at).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_the_requests_of_a_key_and_who_comes_too_soon_waits() {
    let mut world =
        world(Layout::ProcessPerRole).set("providers.simulator.limits.requests_per_min", 240).start().await;
    let _second = world.join(Role::Chat).await;
    let ana = world.user().await;
    let asked = Instant::now();
    let answers = flood(&ana, 40).await;
    let begun = begun(&world);
    // Four a second, over both: 40 take some ten seconds, and no five seconds have many more than twenty.
    assert!(asked.elapsed() >= Duration::from_secs(7), "{:?}", asked.elapsed());
    let within = |from: &OffsetDateTime| {
        begun.iter().filter(|at| (*from..*from + Duration::from_secs(5)).contains(*at)).count()
    };
    let densest = begun.iter().map(within).max().unwrap();
    assert!(densest <= 26, "{densest} calls within five seconds");

    let mut waits = Vec::new();
    for answer in answers {
        let turn = ana.get(&format!("/turns/{}", text(&answer["turn_id"]))).await.ok();
        waits.push(turn["calls"][0]["queue_ms"].as_u64().unwrap());
    }
    let longest = waits.iter().max().unwrap();
    assert!(*longest >= 3_000, "the last in line is told how long it waited: {waits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_calls_run_at_a_time() {
    let world =
        world(Layout::OneProcess).set("providers.simulator.limits.concurrent", 3).pace(100, 0).start().await;
    let ana = world.user().await;
    flood(&ana, 15).await;
    let calls = world.provider().calls();
    let running = |at: OffsetDateTime| {
        calls.iter().filter(|call| call.started_at <= at && call.ended_at.is_some_and(|end| at < end)).count()
    };
    let most = calls.iter().map(|call| running(call.started_at)).max().unwrap();
    assert_eq!(most, 3);
}
