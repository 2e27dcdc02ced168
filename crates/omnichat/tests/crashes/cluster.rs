//! Several workers: each has its share, and what one leaves the others take.

use std::time::{Duration, Instant};

use llm::{Message, simulator::answer};
use serde_json::json;
use testkit::{
    Answer, Exit, Layout, Process, Role, Signal, User, World, both_layouts, eventually, user::text,
};
use tokio::task::JoinHandle;
use wire::subject;

use crate::{
    SLOW, SOON,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

const PARTITIONS: usize = 16;

both_layouts![
    a_worker_that_joins_takes_its_share_and_gives_it_back_when_it_leaves,
    what_a_dead_worker_had_is_finished_by_the_others,
    a_worker_that_leaves_finishes_what_runs,
    an_answer_that_takes_longer_than_a_worker_may_is_begun_anew_elsewhere,
    a_worker_that_hangs_is_replaced_and_changes_nothing_when_it_wakes,
    what_is_asked_while_a_worker_hangs_is_answered_by_the_others,
];

/// Two workers, and a slow turn that runs at the second one.
struct Two {
    ana: User,
    second: Process,
    conversation: String,
    running: JoinHandle<Result<Answer, reqwest::Error>>,
}

async fn two_workers(world: &mut World) -> Two {
    let ana = world.user().await;
    let first = only_worker(world).await;
    let second = world.join(Role::Chat).await;
    shared_out(world, &[8, 8]).await;
    let conversation = conversation_not_of(world, &ana, &first).await;
    let running = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(world, 1).await;
    Two { ana, second, conversation, running }
}

/// How many partitions each owner has, by Postgres's word, fewest first.
async fn shares(world: &World) -> Vec<i64> {
    let sql = "select count(*) from partition_owner group by worker order by 1";
    sqlx::query_scalar(sql).fetch_all(world.sql()).await.unwrap()
}

async fn shared_out(world: &World, expected: &[i64]) {
    eventually("the partitions are shared out", SOON, async || {
        (shares(world).await == expected).then_some(())
    })
    .await;
}

/// Of a fresh conversation, the worker that owns it: the one that joined last, or not.
async fn owner_of(world: &World, conversation: &str) -> String {
    let sql = "select worker from partition_owner where partition = $1";
    let conversation = conversation.parse().unwrap();
    let partition = subject::partition_of(conversation, PARTITIONS as u16);
    sqlx::query_scalar(sql).bind(i16::try_from(partition).unwrap()).fetch_one(world.sql()).await.unwrap()
}

/// A conversation of the worker that is not `other`.
async fn conversation_not_of(world: &World, user: &User, other: &str) -> String {
    loop {
        let conversation = user.conversation().await;
        if owner_of(world, &conversation).await != other {
            return conversation;
        }
    }
}

/// The name of the only worker there is.
async fn only_worker(world: &World) -> String {
    let sql = "select distinct worker from partition_owner";
    sqlx::query_scalar(sql).fetch_one(world.sql()).await.unwrap()
}

async fn a_worker_that_joins_takes_its_share_and_gives_it_back_when_it_leaves(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    shared_out(&world, &[16]).await;
    let mut second = world.join(Role::Chat).await;
    shared_out(&world, &[8, 8]).await;
    let listed = world.command_line(&["partitions"]).await;
    assert!(listed.matches(": 8 of 16 partitions").count() == 2, "{listed}");
    assert!(!listed.contains("does not answer"), "{listed}");
    for number in 0..PARTITIONS {
        let conversation = ana.conversation().await;
        ana.send(&conversation, &format!("Question {number}.")).await.ok();
    }
    let asked = Instant::now();
    assert_eq!(second.terminate().await, Exit::SUCCESS);
    assert!(asked.elapsed() < Duration::from_secs(10), "it had nothing to finish: {:?}", asked.elapsed());
    shared_out(&world, &[16]).await;
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(PARTITIONS as i64, 0));
}

async fn what_a_dead_worker_had_is_finished_by_the_others(layout: Layout) {
    let mut world = world(layout).start().await;
    let Two { ana, second, running: sender, .. } = two_workers(&mut world).await;
    second.signal(Signal::KILL);
    let answered = sender.await.unwrap().unwrap().ok();
    assert_eq!(answered["response"], answer(&[Message::user(SLOW)]), "nobody was started again");
    let turn = ana.get(&format!("/turns/{}", text(&answered["turn_id"]))).await.ok();
    assert_eq!((&turn["status"], &turn["attempt"]), (&json!("completed"), &json!(2)));
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(1, 1));
    shared_out(&world, &[16]).await;
}

async fn a_worker_that_leaves_finishes_what_runs(layout: Layout) {
    let mut world = world(layout).set("chat.hand_over_ms", 20_000).start().await;
    let Two { ana, mut second, conversation, running } = two_workers(&mut world).await;
    let next = sending(&ana, &conversation, "And then?", "k2");
    assert_eq!(second.terminate().await, Exit::SUCCESS);
    running.await.unwrap().unwrap().ok();
    assert!(next.await.unwrap().is_ok(), "{}", second.logged());
    assert_eq!(world.provider().calls().len(), 2, "no call was made twice");
    assert_eq!(Ledger::of(&world).await.completed, 2);
}

async fn an_answer_that_takes_longer_than_a_worker_may_is_begun_anew_elsewhere(layout: Layout) {
    let mut world = world(layout).set("chat.hand_over_ms", 200).start().await;
    let Two { mut second, running, .. } = two_workers(&mut world).await;
    assert_eq!(second.terminate().await, Exit::SUCCESS);
    assert_eq!(running.await.unwrap().unwrap().ok()["response"], answer(&[Message::user(SLOW)]));
    assert_eq!(world.provider().calls().len(), 2);
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(1, 1));
}

async fn a_worker_that_hangs_is_replaced_and_changes_nothing_when_it_wakes(layout: Layout) {
    let mut world = world(layout).start().await;
    let Two { ana, second, conversation, running: sender } = two_workers(&mut world).await;
    second.signal(Signal::STOP);
    ended(&world, 1).await;
    shared_out(&world, &[16]).await;
    second.signal(Signal::CONT);
    assert_eq!(sender.await.unwrap().unwrap().ok()["response"], answer(&[Message::user(SLOW)]));
    // It is one of them again, and has its share.
    shared_out(&world, &[8, 8]).await;
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1));
}

/// A worker that hangs is in the queue groups of NATS until the server ends its connection, as the others ask for.
async fn what_is_asked_while_a_worker_hangs_is_answered_by_the_others(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let second = world.join(Role::Chat).await;
    shared_out(&world, &[8, 8]).await;
    let conversation = ana.conversation().await;
    second.signal(Signal::STOP);
    let system = world.nats_as_staff("system").await;
    eventually("the server knows one worker", SOON, async || {
        let question = json!({ "acc": "OMNICHAT", "filter_subject": subject::cluster("*") }).to_string();
        let answer = system.request("$SYS.REQ.SERVER.PING.CONNZ", &[], question).await.json();
        (answer["data"]["connections"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    // Reads are not repeated by anybody.
    for _ in 0..20 {
        ana.get(&format!("/conversations/{conversation}")).await.ok();
    }
    second.signal(Signal::CONT);
    shared_out(&world, &[8, 8]).await;
}
