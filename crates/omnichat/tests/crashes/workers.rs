//! Workers that are killed in the middle of an answer.

use llm::{
    Message,
    simulator::{Ended, Script, answer},
};
use serde_json::json;
use testkit::{Layout, Role, Signal, StreamEvent, both_layouts, event_stream::shown, eventually, user::text};

use crate::{
    SLOW, SOON,
    ledger::{Ledger, ended},
    provider_was_called, sending, world,
};

both_layouts![
    a_turn_whose_worker_was_killed_is_finished_by_the_next,
    a_turn_that_was_interrupted_too_often_is_given_up,
    a_turn_outlives_the_queue,
    a_turn_outlives_the_ingress,
    a_worker_that_was_frozen_changes_nothing,
];

async fn a_turn_whose_worker_was_killed_is_finished_by_the_next(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = text(&ana.send(&conversation, "Before.").await.ok()["response"]);
    let nats = world.nats_as(&ana).await;
    let mut events = nats.subscribe(&format!("omnichat.v1.u.{}.events.turn.*", ana.id)).await;
    let sender = sending(&ana, &conversation, SLOW, "k1");
    while events.next().await.header("Oc-Event") != "delta" {}

    world.kill(Role::Chat);
    world.restart(Role::Chat).await;
    ended(&world, 2).await;
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1));
    let expected = answer(&[Message::user("Before."), Message::assistant(first), Message::user(SLOW)]);
    if layout == Layout::ProcessPerRole {
        let answer = sender.await.unwrap().unwrap().ok();
        assert_eq!(answer["response"], expected, "who waited at the ingress is answered by the next worker");
    }
    let again = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(again["response"], expected);
    let turn = ana.get(&format!("/turns/{}", text(&again["turn_id"]))).await.ok();
    assert_eq!((&turn["status"], &turn["attempt"]), (&json!("completed"), &json!(2)));
    let calls = world.provider().calls();
    assert_eq!(calls.len(), 3);
    assert_eq!((calls[1].ended, calls[2].ended), (Some(Ended::ClientGone), Some(Ended::Finished)));
    assert!(calls[1].messages == calls[2].messages, "both calls are told the same");
    assert_eq!(calls[2].call_id, format!("{}:2", text(&again["turn_id"])));
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1), "a repeat changes nothing");
    while events.next().await.header("Oc-Event") != "restarted" {}
}

async fn a_turn_that_was_interrupted_too_often_is_given_up(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, "Tell me. [[sim hang]]", "k1");
    for call in 1..=3 {
        provider_was_called(&world, call).await;
        world.restart(Role::Chat).await;
    }
    ended(&world, 1).await;
    sender.abort();
    let problem = ana.send_with_key(&conversation, "Tell me. [[sim hang]]", "k1").await;
    problem.fault(502, "attempts_exhausted");
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(world.provider().calls().len(), 4, "three for the first message, one for the second");
    let expected = Ledger { questions: 2, completed: 1, answers: 1, ..Ledger::all_answered(2, 2) };
    assert_eq!(Ledger::of(&world).await, expected);
}

async fn a_turn_outlives_the_queue(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(&world, 1).await;
    world.kill(Role::Chat);
    world.lose_queue().await;
    world.restart(Role::Chat).await;
    ended(&world, 1).await;
    sender.abort();
    let again = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(again["response"], answer(&[Message::user(SLOW)]));
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1));
}

async fn a_turn_outlives_the_ingress(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = sending(&ana, &conversation, SLOW, "k1");
    provider_was_called(&world, 1).await;
    world.kill(Role::Ingress);
    assert!(sender.await.unwrap().is_err(), "the connection is cut");
    world.restart(Role::Ingress).await;
    let again = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(again["response"], answer(&[Message::user(SLOW)]));
    // In one process the worker was killed as well.
    let repeated_calls = i64::from(layout == Layout::OneProcess);
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(1, repeated_calls));
}

async fn a_worker_that_was_frozen_changes_nothing(layout: Layout) {
    let mut world = world(layout).set("chat.hand_over_ms", 20_000).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let say = |word: &str| world.provider().play(Script { text: Some(word.into()), ..Script::default() });
    let question = "Tell me. [[sim first_ms=100 chunk_ms=60 chunks=30]]";
    say("old");
    let sender = sending(&ana, &conversation, question, "k1");
    provider_was_called(&world, 1).await;
    say("new");
    world.signal(Role::Chat, Signal::STOP);
    let frozen = world.replace(Role::Chat).await;
    provider_was_called(&world, 2).await;
    // Its answer was complete before the new one is.
    frozen.signal(Signal::CONT);

    // It hears so from Postgres: when it writes, or when it looks.
    let gives_way = async || frozen.logged().contains("later owner").then_some(());
    eventually("the worker that was frozen gives way", SOON, gives_way).await;
    let sent = sender.await.unwrap().unwrap().ok();
    assert_eq!(sent["response"], vec!["new"; 30].join(" "));
    assert_eq!(ana.send_with_key(&conversation, question, "k1").await.ok(), sent);
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(1, 1));
    ana.send(&conversation, "And now?").await.ok();
    assert_eq!(Ledger::of(&world).await, Ledger::all_answered(2, 1));
}

/// Only where the ingress is another process. The old worker goes on to tell its answer, at the same inbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_answer_goes_on_with_the_worker_that_takes_over() {
    let mut world = world(Layout::ProcessPerRole).set("chat.hand_over_ms", 20_000).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let say = |word: &str| world.provider().play(Script { text: Some(word.into()), ..Script::default() });
    let question = "Tell me. [[sim first_ms=100 chunk_ms=60 chunks=30]]";
    say("old");
    let path = format!("/conversations/{conversation}/messages");
    let body = json!({ "content": question, "stream": true });
    let mut stream = ana.post_stream(&path, &[("idempotency-key", "k1")], &body).await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &StreamEvent| event.name != "delta") {
        told.push(stream.next().await.unwrap());
    }
    say("new");
    world.signal(Role::Chat, Signal::STOP);
    let frozen = world.replace(Role::Chat).await;
    provider_was_called(&world, 2).await;
    frozen.signal(Signal::CONT);
    while let Some(event) = stream.next().await {
        told.push(event);
    }
    let names: Vec<_> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "restarted").count(), 1, "{names:?}");
    let shown = shown(&told);
    assert_eq!((&*shown, names.last()), (&*vec!["new"; 30].join(" "), Some(&"completed")));
    assert_eq!(ana.send_with_key(&conversation, question, "k1").await.ok()["response"], shown);
}
