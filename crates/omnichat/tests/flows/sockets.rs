//! Many conversations over one WebSocket: what is sent over it is answered once, what is told is what a stream tells, and what
//! breaks is gone on with.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Exit, Layout, Role, User, WebSocket, World, both_layouts, user::text};

use crate::{NOWHERE, world};

both_layouts![
    turns_of_many_conversations_are_told_over_one_socket,
    a_key_makes_one_turn_over_both_doors,
    a_turn_is_cancelled_and_answered_anew,
    a_turn_is_watched_from_where_it_was_left,
    a_second_tab_sees_what_the_first_one_sends,
    what_is_anothers_is_not_there,
    a_key_may_do_over_a_socket_what_its_scopes_say,
    a_socket_ends_with_its_credential,
    a_process_that_ends_sends_its_sockets_to_the_next,
];

/// Some 30 words, one every 40 ms: an answer that can be met on its way.
const SLOW: &str = "tell me [[sim first_ms=300 chunk_ms=40 chunks=30]]";
const ENDS: [&str; 3] = ["completed", "failed", "cancelled"];

async fn socket(world: &World, user: &User) -> WebSocket {
    WebSocket::open(world.http(), &user.token).await
}

fn send(conversation: &str, content: &str, key: &str) -> Value {
    json!({ "op": "send", "conversation_id": conversation, "idempotency_key": key, "body": { "content": content } })
}

/// What a reader has, who does what the events say.
#[derive(Debug, Default)]
struct Reading {
    text: String,
    names: Vec<String>,
    seen: Option<String>,
    last: Value,
}

impl Reading {
    fn take(&mut self, frame: &Value) {
        let number = |id: &str| id.rsplit(':').next().unwrap().parse::<u64>().unwrap();
        let (id, name) = (text(&frame["id"]), text(&frame["event"]));
        assert!(self.seen.iter().all(|seen| number(seen) < number(&id)), "{:?} {frame}", self.seen);
        assert!(!self.has_ended(), "after its end comes {frame}");
        match name.as_str() {
            "delta" => {
                assert_eq!(frame["data"]["offset"], self.text.len(), "{frame}");
                self.text.push_str(&text(&frame["data"]["text"]));
            }
            "restarted" => self.text.clear(),
            _ => self.last = frame["data"].clone(),
        }
        self.names.push(name);
        self.seen = Some(id);
    }

    fn has_ended(&self) -> bool {
        self.names.last().is_some_and(|name| ENDS.contains(&name.as_str()))
    }
}

/// What is read of each turn.
#[derive(Debug, Default)]
struct Readings(BTreeMap<String, Reading>);

impl Readings {
    /// Takes an event; what else comes is given back.
    fn take(&mut self, frame: Value) -> Option<Value> {
        let Some((turn, _)) = frame["id"].as_str().and_then(|id| id.split_once(':')) else {
            return Some(frame);
        };
        self.0.entry(turn.to_owned()).or_default().take(&frame);
        None
    }

    /// Asks for a turn, and gives its id.
    async fn send(&mut self, socket: &mut WebSocket, request: Value) -> String {
        let (mut others, reference) = (Vec::new(), socket.ask(request).await);
        let answer = socket.answer(&reference, &mut others).await;
        others.into_iter().for_each(|frame| drop(self.take(frame)));
        assert_eq!(answer["event"], "reply", "{answer}");
        text(&answer["data"]["turn_id"])
    }

    /// Reads until all of these have ended.
    async fn finish(&mut self, socket: &mut WebSocket, turns: &[&str]) {
        let has_ended = |of: &Self, turn: &str| of.0.get(turn).is_some_and(Reading::has_ended);
        while !turns.iter().all(|turn| has_ended(self, turn)) {
            let frame = socket.next().await.unwrap_or_else(|| panic!("it ended: {:?}", socket.closed));
            assert_eq!(self.take(frame), None);
        }
    }
}

async fn turns_of_many_conversations_are_told_over_one_socket(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let mut socket = socket(&world, &ana).await;
    let (mut readings, mut turns) = (Readings::default(), Vec::new());
    for number in 0..4 {
        let conversation = ana.conversation().await;
        let turn = readings.send(&mut socket, send(&conversation, SLOW, &format!("k{number}"))).await;
        turns.push((turn, conversation));
    }
    let ids: Vec<_> = turns.iter().map(|(turn, _)| turn.as_str()).collect();
    readings.finish(&mut socket, &ids).await;
    for (turn, conversation) in &turns {
        let reading = &readings.0[turn];
        let names: Vec<_> = reading.names.iter().filter(|name| *name != "started").collect();
        assert_eq!((names[0].as_str(), names[names.len() - 1].as_str()), ("accepted", "completed"));
        assert!(names.len() > 10, "it is told while it is made: {:?}", reading.names);
        assert_eq!(
            (&reading.last["response"], &reading.last["turn_id"]),
            (&json!(reading.text), &json!(turn))
        );
        let history = ana.history(conversation).await;
        assert_eq!(history[1], ("assistant".into(), reading.text.clone()));
        // A stream tells the same, under the same ids.
        let mut stream = ana.stream(&format!("/turns/{turn}/events"), &[]).await.unwrap();
        let told = stream.rest().await.pop().unwrap();
        assert_eq!((Some(&told.id), &told.data), (reading.seen.as_ref(), &reading.last));
    }
    let (turn, conversation) = &turns[0];
    let refused = socket.refused(send(conversation, " ", "blank"), "invalid_body").await;
    assert_eq!(refused["errors"][0]["field"], "content", "{refused}");
    socket.refused(send(conversation, "other words", "k0"), "idempotency_key_reused").await;
    let again = readings.send(&mut socket, send(conversation, "and then?", "k9")).await;
    assert_ne!(&again, turn);
    readings.finish(&mut socket, &[&again]).await;
}

async fn a_key_makes_one_turn_over_both_doors(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let [mut first, mut second] = [socket(&world, &ana).await, socket(&world, &ana).await];
    let (mut one, mut other) = (Readings::default(), Readings::default());
    let turn = one.send(&mut first, send(&conversation, SLOW, "k")).await;
    // One sends it again over another socket while it runs, one over HTTP, and one when it is over.
    let turns = [turn.as_str()];
    let ((), (), answer) = tokio::join!(
        one.finish(&mut first, &turns),
        async {
            assert_eq!(other.send(&mut second, send(&conversation, SLOW, "k")).await, turn);
            other.finish(&mut second, &turns).await;
        },
        ana.send_with_key(&conversation, SLOW, "k"),
    );
    let answer = answer.ok();
    for reading in [&one.0[&turn], &other.0[&turn]] {
        assert_eq!(
            (&reading.last["response"], reading.text.as_str()),
            (&answer["response"], answer["response"].as_str().unwrap())
        );
    }
    let mut late = Readings::default();
    let mut third = socket(&world, &ana).await;
    assert_eq!(late.send(&mut third, send(&conversation, SLOW, "k")).await, turn);
    late.finish(&mut third, &[&turn]).await;
    assert_eq!(late.0[&turn].text, one.0[&turn].text);
    assert_eq!(ana.history(&conversation).await.len(), 2, "one question, one answer");
}

async fn a_turn_is_cancelled_and_answered_anew(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut socket = socket(&world, &ana).await;
    let mut readings = Readings::default();
    let content = "say [[sim first_ms=50 chunk_ms=50 chunks=2000]]";
    let turn = readings.send(&mut socket, send(&conversation, content, "k")).await;
    while readings.0.get(&turn).is_none_or(|reading| reading.text.is_empty()) {
        let frame = socket.next().await.unwrap();
        readings.take(frame);
    }
    let (mut others, reference) = (Vec::new(), socket.ask(json!({ "op": "cancel", "turn_id": turn })).await);
    let cancelled = socket.answer(&reference, &mut others).await;
    assert_eq!((&cancelled["event"], &cancelled["data"]["status"]), (&json!("reply"), &json!("cancelled")));
    others.into_iter().for_each(|frame| drop(readings.take(frame)));
    readings.finish(&mut socket, &[&turn]).await;
    assert_eq!(readings.0[&turn].names.last().unwrap(), "cancelled");
    assert_eq!(cancelled["data"]["partial"], json!(readings.0[&turn].text), "what was told is what was said");

    let short = readings.send(&mut socket, send(&conversation, "hello", "k2")).await;
    readings.finish(&mut socket, &[&short]).await;
    let again = json!({ "op": "regenerate", "turn_id": short, "body": { "model": "large" } });
    let again = readings.send(&mut socket, again).await;
    readings.finish(&mut socket, &[&again]).await;
    assert_eq!(readings.0[&again].last["model"], "large");
    assert_eq!(ana.get(&format!("/turns/{again}")).await.ok()["kind"], "regenerate");
    assert_eq!(readings.0[&again].names.last().unwrap(), "completed");
}

async fn a_turn_is_watched_from_where_it_was_left(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut first = socket(&world, &ana).await;
    let mut readings = Readings::default();
    let turn = readings.send(&mut first, send(&conversation, SLOW, "k")).await;
    while readings.0.get(&turn).is_none_or(|reading| reading.text.is_empty()) {
        let frame = first.next().await.unwrap();
        readings.take(frame);
    }
    // The socket breaks; the turn goes on.
    drop(first);
    let mut second = socket(&world, &ana).await;
    let seen = readings.0[&turn].seen.clone();
    let record = second.done(json!({ "op": "watch", "turn_id": turn, "last_event_id": seen })).await;
    assert_eq!(record["id"], json!(turn));
    readings.finish(&mut second, &[&turn]).await;
    let reading = &readings.0[&turn];
    assert_eq!(reading.last["response"], json!(reading.text));
    assert!(!reading.names.contains(&"restarted".to_owned()), "{:?}", reading.names);
    assert_eq!(ana.history(&conversation).await.len(), 2);
}

async fn a_second_tab_sees_what_the_first_one_sends(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (conversation, other) = (ana.conversation().await, ana.conversation().await);
    let [mut first, mut second] = [socket(&world, &ana).await, socket(&world, &ana).await];
    let shown = second.done(json!({ "op": "watch", "conversation_id": conversation })).await;
    assert_eq!(shown, ana.get(&format!("/conversations/{conversation}")).await.ok());
    let (mut one, mut seen) = (Readings::default(), Readings::default());
    let elsewhere = one.send(&mut first, send(&other, "hello", "k0")).await;
    let turn = one.send(&mut first, send(&conversation, SLOW, "k1")).await;
    let turns = [turn.as_str()];
    tokio::join!(one.finish(&mut first, &turns), seen.finish(&mut second, &turns));
    assert!(!seen.0.contains_key(&elsewhere), "another conversation is not its business");
    let (one, seen) = (&one.0[&turn], &seen.0[&turn]);
    assert_eq!((&one.text, &one.last), (&seen.text, &seen.last));
    assert!(seen.names.iter().filter(|name| *name == "delta").count() > 5, "{:?}", seen.names);
    assert_eq!(second.done(json!({ "op": "unwatch", "conversation_id": conversation })).await, json!({}));
    ana.send(&conversation, "hello").await.ok();
    assert_eq!(second.done(json!({ "op": "ping" })).await, json!({}), "nothing comes any more");
}

async fn what_is_anothers_is_not_there(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = ana.conversation().await;
    let turn = text(&ana.send(&conversation, "hello").await.ok()["turn_id"]);
    let mut socket = socket(&world, &bob).await;
    for id in [conversation.as_str(), NOWHERE, "x"] {
        socket.refused(send(id, "hello", &format!("k-{id}")), "conversation_not_found").await;
        socket.refused(json!({ "op": "watch", "conversation_id": id }), "conversation_not_found").await;
    }
    for id in [turn.as_str(), NOWHERE, "x"] {
        for op in ["watch", "cancel", "regenerate"] {
            socket.refused(json!({ "op": op, "turn_id": id }), "turn_not_found").await;
        }
    }
    assert_eq!(ana.history(&conversation).await.len(), 2);
}

async fn a_key_may_do_over_a_socket_what_its_scopes_say(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let turn = text(&ana.send(&conversation, "hello").await.ok()["turn_id"]);
    let key = ana.post("/auth/api-keys", json!({ "name": "reader", "scopes": ["read"] })).await.ok();
    let mut socket = WebSocket::open(world.http(), &text(&key["key"])).await;
    socket.done(json!({ "op": "watch", "turn_id": turn })).await;
    socket.refused(send(&conversation, "hello", "k"), "insufficient_scope").await;
    socket.refused(json!({ "op": "cancel", "turn_id": turn }), "insufficient_scope").await;
    assert_eq!(ana.history(&conversation).await.len(), 2);
}

async fn a_socket_ends_with_its_credential(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let soon: String = sqlx::query_scalar("select to_json(now() + interval '3 seconds') #>> '{}'")
        .fetch_one(world.sql())
        .await
        .unwrap();
    let key = ana.post("/auth/api-keys", json!({ "name": "short", "expires_at": soon })).await.ok();
    let mut socket = WebSocket::open(world.http(), &text(&key["key"])).await;
    assert_eq!(socket.done(json!({ "op": "ping" })).await, json!({}));
    let (code, reason) = socket.end().await.expect("it is said why");
    assert_eq!(code, 4401, "{reason}");
}

async fn a_process_that_ends_sends_its_sockets_to_the_next(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut first = socket(&world, &ana).await;
    let mut readings = Readings::default();
    let content = "tell me [[sim first_ms=2000 chunk_ms=40 chunks=30]]";
    let turn = readings.send(&mut first, send(&conversation, content, "k")).await;
    let (exit, ()) = tokio::join!(world.terminate(Role::Ingress), async {
        let mut last = None;
        while let Some(frame) = first.next().await {
            last = readings.take(frame).or(last);
        }
        assert_eq!(last.expect("it is told to come back")["event"], "reconnect");
    });
    assert_eq!((exit, first.closed.clone()), (Exit::SUCCESS, Some((1001, "draining".into()))));
    world.restart(Role::Ingress).await;
    let mut second = socket(&world, &ana).await;
    let seen = readings.0.get(&turn).and_then(|reading| reading.seen.clone());
    let request = match seen {
        Some(seen) => json!({ "op": "watch", "turn_id": turn, "last_event_id": seen }),
        None => json!({ "op": "watch", "turn_id": turn }),
    };
    second.done(request).await;
    readings.finish(&mut second, &[&turn]).await;
    let reading = &readings.0[&turn];
    assert_eq!(reading.last["response"], json!(reading.text));
    assert_eq!(ana.history(&conversation).await.len(), 2);
}
