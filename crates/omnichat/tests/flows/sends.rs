//! A send in the other two manners: answered by the events of its turn, or as soon as the turn is accepted.

use serde_json::{Value, json};
use testkit::{
    Answer, EventStream, Layout, Role, StreamEvent, User, World, both_layouts, event_stream::shown,
    eventually, user::text,
};
use tokio::time::timeout;

use crate::{NOWHERE, SOON, world};

both_layouts![
    a_send_streams_its_own_answer,
    what_is_refused_before_it_is_streamed_has_its_status,
    a_repeat_streams_the_same_turn,
    who_goes_away_stops_nothing,
    a_streamed_turn_that_is_cancelled_says_so,
    a_streamed_answer_is_begun_anew_by_another_worker,
    a_streamed_send_is_told_its_end_though_nats_was_lost,
    a_send_that_is_lost_before_the_queue_is_ensured_in_every_manner,
    another_answer_can_be_streamed,
    a_send_is_answered_as_soon_as_it_is_accepted,
    one_manner_is_chosen,
];

/// Some 60 words, one every 40 ms: an answer that can be met on its way.
const SLOW: &str = "tell me [[sim first_ms=300 chunk_ms=40 chunks=60]]";
const STREAMED: [(&str, &str); 1] = [("accept", "text/event-stream")];
const LATER: [(&str, &str); 2] = [("content-type", "application/json"), ("prefer", "respond-async")];

fn messages(conversation: &str) -> String {
    format!("/conversations/{conversation}/messages")
}

async fn streamed(user: &User, conversation: &str, content: &str, key: &str) -> EventStream {
    let body = json!({ "content": content, "stream": true });
    user.post_stream(&messages(conversation), &[("idempotency-key", key)], &body).await.unwrap()
}

/// Sends, and does not wait.
async fn later(user: &User, path: &str, key: &str, body: Value) -> Answer {
    let headers = [&LATER[..], &[("idempotency-key", key)]].concat();
    user.request(reqwest::Method::POST, path, &headers, Some(body.to_string().into())).await.unwrap()
}

/// Of an answer to such a send, which must be accepted: the turn, and its id.
fn accepted(answer: &Answer) -> (Value, String) {
    let turn = answer.json();
    let id = text(&turn["id"]);
    let headers = ["content-type", "location", "preference-applied"].map(|name| answer.header(name));
    assert_eq!(
        (answer.status, headers),
        (202, ["application/json", &format!("/turns/{id}"), "respond-async"])
    );
    (turn, id)
}

fn names(events: &[StreamEvent]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// Reads on until a delta has come.
async fn until_text(stream: &mut EventStream) -> Vec<StreamEvent> {
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &StreamEvent| event.name != "delta") {
        told.push(stream.next().await.unwrap());
    }
    told
}

async fn a_send_streams_its_own_answer(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = streamed(&ana, &conversation, SLOW, "k1").await;
    let headers = ["content-type", "cache-control", "x-accel-buffering"].map(|name| stream.header(name));
    assert_eq!(headers, ["text/event-stream", "no-store", "no"]);
    let told = stream.rest().await;
    let mut names = names(&told);
    names.retain(|name| *name != "queued");
    assert_eq!((names[..2].join(" "), names.last()), ("accepted started".into(), Some(&"completed")));
    assert!(names.len() > 8 && names[2..names.len() - 1].iter().all(|name| *name == "delta"), "{names:?}");
    let (answer, last) = (ana.send_with_key(&conversation, SLOW, "k1").await.ok(), told.last().unwrap());
    assert_eq!(json!(shown(&told)), answer["response"]);
    let mut data = last.data.clone();
    data.as_object_mut().unwrap().remove("event");
    assert_eq!(data, answer, "the last event is what a repeat gets");
    let accepted = told.iter().find(|event| event.name == "accepted").unwrap();
    assert_eq!(
        (&accepted.data["turn_id"], &accepted.data["queue_position"]),
        (&answer["turn_id"], &json!(0))
    );

    // From each of its ids on, the rest is told by the stream of the turn.
    let turn = text(&answer["turn_id"]);
    let path = format!("/turns/{turn}/events");
    let numbered = told.iter().filter(|event| event.name != "queued");
    for (place, event) in numbered.enumerate().filter(|(place, _)| place % 7 < 3) {
        let mut rest = ana.stream(&path, &[("last-event-id", &event.id)]).await.unwrap();
        let rest = rest.rest().await;
        let before = told.iter().filter(|event| event.name != "queued").take(place + 1);
        let whole: String = before.chain(&rest).filter_map(|event| event.data["text"].as_str()).collect();
        assert!(json!(whole) == answer["response"], "{event:?}");
        assert_eq!(rest.last().unwrap().name, "completed");
    }
    assert_eq!(world.provider().calls().len(), 1);
}

async fn what_is_refused_before_it_is_streamed_has_its_status(layout: Layout) {
    let world = world(layout).set("limits.streams_per_user", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    ana.send_with_key(&conversation, "hi", "k1").await.ok();
    let path = messages(&conversation);
    let refused = async |path: &str, key: &str, body: Value| {
        ana.post_stream(path, &[STREAMED[0], ("idempotency-key", key)], &body).await.unwrap_err()
    };
    let hi = || json!({ "content": "hi" });
    refused(&messages(NOWHERE), "k2", hi()).await.fault(404, "conversation_not_found");
    refused(&path, "k1", json!({ "content": "other" })).await.fault(422, "idempotency_key_reused");
    refused(&path, "k2", json!({ "content": "" })).await.fault(422, "invalid_body");
    refused(&path, "k2", json!({ "content": "hi", "model": "huge" })).await.fault(422, "unknown_model");
    refused(&path, "", hi()).await.fault(400, "invalid_idempotency_key");
    let mut open = streamed(&ana, &conversation, "hi [[sim hang]]", "k3").await;
    until_accepted(&mut open).await;
    refused(&path, "k4", hi()).await.fault(429, "rate_limited");
    assert_eq!(ana.history(&conversation).await.len(), 3, "what was refused is not there");
    drop(open);
}

async fn until_accepted(stream: &mut EventStream) -> String {
    loop {
        let event = stream.next().await.unwrap();
        if event.name == "accepted" {
            return text(&event.data["turn_id"]);
        }
    }
}

async fn a_repeat_streams_the_same_turn(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut first = streamed(&ana, &conversation, SLOW, "k1").await;
    let mut told = until_text(&mut first).await;
    // It comes while the answer is under way, and is told all of it without waiting for the end.
    let mut second = streamed(&ana, &conversation, SLOW, "k1").await;
    let mut again = until_text(&mut second).await;
    assert!(text(&again.last().unwrap().data["text"]).len() > 1 && again.last().unwrap().data["offset"] == 0);
    assert_eq!(
        ana.get(&format!("/turns/{}", text(&again[again.len() - 3].data["turn_id"]))).await.ok()["status"],
        "running"
    );
    told.extend(first.rest().await);
    again.extend(second.rest().await);
    let third = streamed(&ana, &conversation, SLOW, "k1").await.rest().await;
    assert_eq!(names(&third), ["accepted", "delta", "completed"], "after the end it is told at once");
    for events in [&again, &third] {
        assert_eq!(shown(events), shown(&told));
        assert_eq!(events.last(), told.last());
    }
    assert_eq!((world.provider().calls().len(), ana.history(&conversation).await.len()), (1, 2));
}

async fn who_goes_away_stops_nothing(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = streamed(&ana, &conversation, SLOW, "k1").await;
    let told = until_text(&mut stream).await;
    drop(stream);
    let turn = told.iter().find(|event| event.name == "accepted").unwrap();
    let path = format!("/turns/{}", text(&turn.data["turn_id"]));
    let seen = told.last().unwrap().id.clone();
    let mut rest = ana.stream(&format!("{path}/events"), &[("last-event-id", &seen)]).await.unwrap();
    let rest = rest.rest().await;
    assert_eq!(rest.last().unwrap().name, "completed");
    let whole: String = told.iter().chain(&rest).filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(json!(whole), ana.get(&path).await.ok()["messages"][1]["content"]);
}

async fn a_streamed_turn_that_is_cancelled_says_so(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = streamed(&ana, &conversation, SLOW, "k1").await;
    let told = until_text(&mut stream).await;
    let turn = text(&told.iter().find(|event| event.name == "accepted").unwrap().data["turn_id"]);
    ana.post_nothing(&format!("/turns/{turn}/cancel")).await.ok();
    let rest = stream.rest().await;
    assert_eq!(rest.last().unwrap().name, "cancelled");
    let whole: String = told.iter().chain(&rest).filter_map(|event| event.data["text"].as_str()).collect();
    assert_eq!(json!(whole), ana.get(&format!("/turns/{turn}")).await.ok()["partial"]);
    let failing = streamed(&ana, &conversation, "[[sim status=403]]", "k2").await.rest().await;
    assert_eq!(failing.last().unwrap().data["code"], "provider_misconfigured");
}

/// Where the ingress is killed as well its reader comes back with what it has.
async fn a_streamed_answer_is_begun_anew_by_another_worker(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = streamed(&ana, &conversation, SLOW, "k1").await;
    let mut told = until_text(&mut stream).await;
    world.kill(Role::Chat);
    if layout == Layout::OneProcess {
        drop(stream);
        world.restart(Role::Chat).await;
        told = streamed(&ana, &conversation, SLOW, "k1").await.rest().await;
    } else {
        world.restart(Role::Chat).await;
        told.extend(stream.rest().await);
        let restarted = told.iter().position(|event| event.name == "restarted").expect("it is begun anew");
        assert!(
            names(&told)[restarted..].iter().filter(|name| **name == "delta").count() > 5,
            "{:?}",
            names(&told)
        );
    }
    let answer = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(
        (json!(shown(&told)), told.last().unwrap().name.as_str()),
        (answer["response"].clone(), "completed")
    );
}

/// The queue's message comes again to the worker that has the turn: it stands for the one before, and nobody is told twice.
async fn a_streamed_send_is_told_its_end_though_nats_was_lost(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut stream = streamed(&ana, &conversation, SLOW, "k1").await;
    let mut told = until_text(&mut stream).await;
    world.restart_nats().await;
    told.extend(stream.rest().await);
    let answer = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(json!(shown(&told)), answer["response"]);
    let names = names(&told);
    assert_eq!(
        (names.iter().filter(|name| **name == "accepted").count(), names.last()),
        (1, Some(&"completed"))
    );
    assert_eq!((world.provider().calls().len(), ana.history(&conversation).await.len()), (1, 2));
}

/// NATS promises no delivery: here somebody takes about every second request, and every second attempt to ensure it, and is silent.
async fn a_send_that_is_lost_before_the_queue_is_ensured_in_every_manner(layout: Layout) {
    const SENDS: usize = 8;
    let world = world(layout).start().await;
    let ana = world.user().await;
    let thief = world.nats_as_staff("chat").await;
    let mut stolen = thief.join("omnichat.v1.u.*.conversations.*.send", "omnichat-chat").await;
    for number in 0..SENDS {
        let conversation = ana.conversation().await;
        let told = timeout(SOON, async {
            streamed(&ana, &conversation, "hi", &format!("s{number}")).await.rest().await
        });
        assert_eq!(told.await.expect("an end").last().unwrap().name, "completed");
        let (path, key) = (messages(&conversation), format!("l{number}"));
        let answer = later(&ana, &path, &key, json!({ "content": "hi" }));
        accepted(&timeout(SOON, answer).await.expect("an answer"));
    }
    let mut lost = 0;
    while !stolen.is_empty() {
        lost += 1;
    }
    assert!(lost > 0, "of {} requests none was lost", 2 * SENDS);
    let calls = async || (world.provider().calls().len() == 2 * SENDS).then_some(());
    eventually("each turn has had its call, and one only", SOON, calls).await;
}

async fn another_answer_can_be_streamed(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let first = ana.send(&conversation, SLOW).await.ok();
    let path = format!("/turns/{}/regenerate", text(&first["turn_id"]));
    let mut stream = ana.post_stream(&path, &[], &json!({ "stream": true })).await.unwrap();
    let told = stream.rest().await;
    assert_eq!(json!(shown(&told)), told.last().unwrap().data["response"]);
    assert_ne!(told.last().unwrap().data["turn_id"], first["turn_id"]);
    let (turn, id) = accepted(&later(&ana, &path, "k1", json!({})).await);
    assert_eq!((&turn["kind"], &turn["status"]), (&json!("regenerate"), &json!("running")));
    completed(&ana, &id).await;
    assert_eq!(world.provider().calls().len(), 3);
}

async fn completed(user: &User, turn: &str) -> Value {
    let path = format!("/turns/{turn}");
    eventually("the turn completes", SOON, async || {
        let turn = user.get(&path).await.ok();
        (turn["status"] == "completed").then_some(turn)
    })
    .await
}

async fn a_send_is_answered_as_soon_as_it_is_accepted(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let path = messages(&conversation);
    let (first, id) = accepted(&later(&ana, &path, "k1", json!({ "content": SLOW })).await);
    stored(&world, &id).await;
    assert_eq!((&first["status"], &first["messages"][0]["content"]), (&json!("running"), &json!(SLOW)));
    let (second, next) = accepted(&later(&ana, &path, "k2", json!({ "content": "and then?" })).await);
    stored(&world, &next).await;
    assert_eq!((&second["status"], &second["queue_position"]), (&json!("queued"), &json!(1)));
    let (same, _) = accepted(&later(&ana, &path, "k1", json!({ "content": SLOW })).await);
    assert_eq!(same["id"], first["id"]);
    let done = completed(&ana, &next).await;
    let (repeated, _) = accepted(&later(&ana, &path, "k2", json!({ "content": "and then?" })).await);
    assert_eq!(repeated, done, "a repeat is answered in the same form after the end");

    later(&ana, &path, "k2", json!({ "content": "hi" })).await.fault(422, "idempotency_key_reused");
    later(&ana, &messages(NOWHERE), "k3", json!({ "content": "hi" }))
        .await
        .fault(404, "conversation_not_found");
    later(&ana, &path, "k3", json!({ "content": "" })).await.fault(422, "invalid_body");
    let (failing, id) =
        accepted(&later(&ana, &path, "k4", json!({ "content": "[[sim status=403 first_ms=500]]" })).await);
    assert_eq!(failing["fault"], Value::Null);
    let fault = eventually("the turn fails", SOON, async || {
        let turn = ana.get(&format!("/turns/{id}")).await.ok();
        (turn["status"] == "failed").then(|| turn["fault"].clone())
    });
    assert_eq!(fault.await["code"], "provider_misconfigured");
    let (again, _) =
        accepted(&later(&ana, &path, "k4", json!({ "content": "[[sim status=403 first_ms=500]]" })).await);
    assert_eq!(again["status"], "failed");
    assert_eq!(world.provider().calls().len(), 3);
}

/// It is in Postgres, not only on its way there.
async fn stored(world: &World, turn: &str) {
    let count = sqlx::query_scalar::<_, i64>("select count(*) from turns where id = $1::uuid").bind(turn);
    assert_eq!(count.fetch_one(world.sql()).await.unwrap(), 1);
}

async fn one_manner_is_chosen(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let path = messages(&conversation);
    let send = async |headers: &[(&str, &str)], body: Value| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let answer =
            ana.request(reqwest::Method::POST, &path, &headers, Some(body.to_string().into())).await.unwrap();
        (answer.status, answer.header("content-type").to_owned())
    };
    let (hi, yes, no) = (
        json!({ "content": "hi" }),
        json!({ "content": "hi", "stream": true }),
        json!({ "content": "hi", "stream": false }),
    );
    let (events, json) = ("text/event-stream".to_owned(), "application/json".to_owned());
    for (headers, body, expected) in [
        (&[][..], &yes, (200, &events)),
        (&[("accept", "application/json")], &yes, (200, &events)),
        (&STREAMED, &hi, (200, &events)),
        (&STREAMED, &no, (200, &json)),
        (&[("accept", "application/json, text/event-stream")], &hi, (200, &json)),
        (&[("accept", "application/json;q=0.1, text/event-stream")], &hi, (200, &events)),
        (&[("prefer", "respond-async")], &yes, (200, &events)),
        (&[("prefer", "respond-async, wait=5")], &no, (202, &json)),
        (&[("prefer", "return=minimal")], &hi, (200, &json)),
    ] {
        let (status, kind) = send(headers, body.clone()).await;
        assert_eq!((status, &kind), expected, "{headers:?} {body}");
    }
}
