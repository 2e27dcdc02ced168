//! The events of a turn over HTTP: told while they happen, and picked up where they were left.

use serde_json::{Value, json};
use testkit::{EventStream, Exit, Layout, Role, StreamEvent, User, both_layouts, eventually, user::text};
use tokio::{io::AsyncWriteExt, net::TcpSocket, task::JoinHandle};

use crate::{NOWHERE, SOON, world};

both_layouts![
    a_turn_is_told_while_it_runs,
    who_comes_after_the_end_is_told_all_of_it,
    who_comes_half_way_is_told_what_was_said,
    a_stream_is_picked_up_where_it_was_left,
    a_turn_that_fails_says_why,
    an_answer_begun_anew_is_told_anew,
    a_lost_connection_to_nats_loses_no_end,
    what_is_anothers_has_no_events,
    so_many_streams_may_be_open,
    who_never_reads_holds_nobody_up,
    a_stream_ends_with_its_credential,
    a_process_that_ends_sends_its_readers_to_the_next,
];

/// Some 60 words, one every 40 ms, after a second: an answer that can be met on its way.
const SLOW: &str = "tell me [[sim first_ms=1000 chunk_ms=40 chunks=60]]";

/// A turn that runs, and the task that waits for its answer.
async fn running(user: &User, conversation: &str, content: &'static str) -> (String, JoinHandle<Value>) {
    let before = user.history(conversation).await.len();
    let (sender, to) = (user.clone(), conversation.to_owned());
    let sending = tokio::spawn(async move { sender.send(&to, content).await.json() });
    let path = format!("/conversations/{conversation}/messages");
    let turn = eventually("the turn is accepted", SOON, async || {
        let messages = user.get(&path).await.ok();
        let asked = messages.as_array().unwrap().get(before..)?.last()?;
        Some(text(&asked["turn_id"]))
    });
    (turn.await, sending)
}

fn events(turn: &str) -> String {
    format!("/turns/{turn}/events")
}

/// What a reader has, who does what the events say. Their numbers grow.
#[derive(Default)]
struct Reading {
    text: String,
    names: Vec<String>,
    seen: Option<String>,
}

impl Reading {
    /// A reader who has some of the text, and the stream that goes on.
    async fn begun(user: &User, turn: &str) -> (Self, EventStream) {
        let mut reading = Self::default();
        let mut stream = user.stream(&events(turn), &[]).await.unwrap();
        while reading.text.is_empty() {
            reading.take(stream.next().await.unwrap());
        }
        (reading, stream)
    }

    fn take(&mut self, event: StreamEvent) {
        let number = |id: &str| id.rsplit(':').next().unwrap().parse::<u64>().unwrap();
        assert!(self.seen.iter().all(|seen| number(seen) < number(&event.id)), "{:?} {event:?}", self.seen);
        assert_eq!(event.data["event"], event.name);
        match event.name.as_str() {
            "delta" => {
                assert_eq!(event.data["offset"], self.text.len(), "{event:?}");
                self.text.push_str(&text(&event.data["text"]));
            }
            "restarted" => self.text.clear(),
            _ => {}
        }
        self.names.push(event.name);
        self.seen = Some(event.id);
    }

    fn has_ended(&self) -> bool {
        self.names.last().is_some_and(|name| ["completed", "failed", "cancelled"].contains(&name.as_str()))
    }

    /// Reads on, from what was seen, until the stream ends or so many events have come.
    async fn go_on(&mut self, user: &User, turn: &str, most: usize) {
        let headers: Vec<_> = self.seen.iter().map(|seen| ("last-event-id", seen.as_str())).collect();
        let mut stream = user.stream(&events(turn), &headers).await.unwrap();
        for _ in 0..most {
            let Some(event) = stream.next().await else { return };
            self.take(event);
        }
    }
}

async fn a_turn_is_told_while_it_runs(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, SLOW).await;
    let mut stream = ana.stream(&events(&turn), &[]).await.unwrap();
    let headers = ["content-type", "cache-control", "x-accel-buffering"].map(|name| stream.header(name));
    assert_eq!(headers, ["text/event-stream", "no-store", "no"]);
    assert!(!stream.header("x-request-id").is_empty());
    let (mut reading, mut last) = (Reading::default(), None);
    while let Some(event) = stream.next().await {
        assert_eq!(event.id.split(':').next().unwrap(), turn);
        last = Some(event.data.clone());
        reading.take(event);
    }
    let (mut answer, mut last) = (sending.await.unwrap(), last.unwrap());
    assert_eq!(reading.text, text(&answer["response"]));
    assert_eq!(last.as_object_mut().unwrap().remove("event").unwrap(), "completed");
    assert_eq!(last, answer.take(), "the last event is what the sender got");
    let names: Vec<_> = reading.names.iter().filter(|name| *name != "started").collect();
    assert_eq!(names[0], "accepted");
    let deltas = &names[1..names.len() - 1];
    assert!(deltas.len() > 5 && deltas.iter().all(|name| *name == "delta"), "{:?}", reading.names);

    // One that waits behind another is seen from its very start.
    let (_, first) = running(&ana, &conversation, SLOW).await;
    let (turn, second) = running(&ana, &conversation, "and then?").await;
    let mut stream = ana.stream(&events(&turn), &[]).await.unwrap();
    let told = stream.rest().await;
    let names: Vec<_> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names[..2], ["accepted", "started"], "{names:?}");
    assert_eq!(told.last().unwrap().data["response"], second.await.unwrap()["response"]);
    first.await.unwrap();
    if layout == Layout::OneProcess {
        let metrics = String::from_utf8(ana.get("/metrics").await.body.to_vec()).unwrap();
        for line in ["omnichat_streams_in_flight 0", "omnichat_streams_ended_total{reason=\"told\"} 2"] {
            assert!(metrics.contains(line), "{line} is not in\n{metrics}");
        }
    }
}

/// Another device, a reader who was away, and one who comes while the model has stopped talking.
async fn who_comes_half_way_is_told_what_was_said(layout: Layout) {
    const STALLING: &str = "tell me [[sim chunks=40 chunk_ms=20 hang_after=20]]";
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, STALLING).await;
    let (mut first, mut stream) = Reading::begun(&ana, &turn).await;
    let seen = first.seen.clone().unwrap();
    let silent = tokio::time::Duration::from_millis(1000);
    while let Ok(Some(event)) = tokio::time::timeout(silent, stream.next()).await {
        first.take(event);
    }
    assert!(!first.has_ended(), "{:?}", first.names);

    let (second, _) = Reading::begun(&ana, &turn).await;
    assert_eq!(second.text, first.text, "all of it, though nothing new was said");
    assert_eq!(second.names, ["accepted", "started", "delta"]);
    let mut stream = ana.stream(&events(&turn), &[("last-event-id", &seen)]).await.unwrap();
    let rest = stream.next().await.unwrap();
    let (offset, rest) = (rest.data["offset"].as_u64().unwrap(), text(&rest.data["text"]));
    assert!(first.text.ends_with(&rest) && first.text.len() as u64 == offset + rest.len() as u64);
    let status = ana.get(&format!("/turns/{turn}")).await.ok()["status"].clone();
    assert_eq!(status, "running", "all that was while it ran");
    sending.await.unwrap();
}

async fn who_comes_after_the_end_is_told_all_of_it(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let long = ana.send(&conversation, "say [[sim chunks=100000]]").await.ok();
    let turn = text(&long["turn_id"]);
    let mut reading = Reading::default();
    reading.go_on(&ana, &turn, usize::MAX).await;
    assert!(reading.text == text(&long["response"]) && reading.text.len() > 500_000);
    assert_eq!((&*reading.names[0], reading.has_ended()), ("accepted", true));
    let again = reading.seen.clone().unwrap();
    reading.go_on(&ana, &turn, usize::MAX).await;
    assert_eq!(reading.names[reading.names.len() - 2..], ["completed", "completed"]);
    assert_ne!(reading.seen.unwrap(), again);
}

async fn a_stream_is_picked_up_where_it_was_left(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, SLOW).await;
    let mut reading = Reading::default();
    while !reading.has_ended() {
        reading.go_on(&ana, &turn, 3).await;
    }
    let answer = text(&sending.await.unwrap()["response"]);
    assert_eq!(reading.text, answer);
    assert!(!reading.names.iter().any(|name| name == "restarted"), "{:?}", reading.names);

    let mut whole = ana.stream(&events(&turn), &[]).await.unwrap();
    for event in whole.rest().await {
        let number = event.id.rsplit(':').next().unwrap();
        let mut rest = ana.stream(&format!("{}?starting_after={number}", events(&turn)), &[]).await.unwrap();
        let rest = rest.rest().await;
        let told: String = rest
            .iter()
            .filter(|event| event.name == "delta")
            .map(|event| text(&event.data["text"]))
            .collect();
        let expected = if event.name == "accepted" { &answer } else { "" };
        assert_eq!((told.as_str(), rest.last().unwrap().name.as_str()), (expected, "completed"), "{event:?}");
    }
}

async fn a_turn_that_fails_says_why(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let problem = ana.send(&conversation, "[[sim status=403]]").await.fault(502, "provider_misconfigured");
    let mut stream = ana.stream(&events(&text(&problem["turn_id"])), &[]).await.unwrap();
    let told = stream.rest().await;
    let names: Vec<_> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["accepted", "failed"]);
    assert_eq!((&told[1].data["code"], &told[1].data["detail"]), (&problem["code"], &problem["detail"]));
}

/// Only where the ingress is not killed as well can its reader stay.
async fn an_answer_begun_anew_is_told_anew(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, SLOW).await;
    let (mut reading, mut stream) = Reading::begun(&ana, &turn).await;
    world.kill(Role::Chat);
    if layout == Layout::OneProcess {
        drop(stream);
        world.restart(Role::Chat).await;
        reading.go_on(&ana, &turn, usize::MAX).await;
    } else {
        world.restart(Role::Chat).await;
        while let Some(event) = stream.next().await {
            reading.take(event);
        }
    }
    assert!(
        reading.names.iter().any(|name| name == "restarted") && reading.has_ended(),
        "{:?}",
        reading.names
    );
    let turn = ana.get(&format!("/turns/{turn}")).await.ok();
    assert_eq!((&json!(reading.text), &turn["attempt"]), (&turn["messages"][1]["content"], &json!(2)));
    sending.abort();
}

async fn a_lost_connection_to_nats_loses_no_end(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, SLOW).await;
    let (mut reading, mut stream) = Reading::begun(&ana, &turn).await;
    world.restart_nats().await;
    while let Some(event) = stream.next().await {
        reading.take(event);
    }
    assert!(reading.has_ended());
    assert_eq!(json!(reading.text), ana.get(&format!("/turns/{turn}")).await.ok()["messages"][1]["content"]);
    sending.abort();
}

async fn what_is_anothers_has_no_events(layout: Layout) {
    let world = world(layout).start().await;
    let (ana, bob) = (world.user().await, world.user().await);
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, SLOW).await;
    let foreign = bob.stream(&events(&turn), &[]).await.unwrap_err().fault(404, "turn_not_found");
    let missing = bob.stream(&events(NOWHERE), &[]).await.unwrap_err().fault(404, "turn_not_found");
    let shown = bob.get(&format!("/turns/{turn}")).await.fault(404, "turn_not_found");
    for other in [missing, shown] {
        assert_eq!((&foreign["detail"], &foreign["title"]), (&other["detail"], &other["title"]));
    }
    world.client().stream(&events(&turn), &[]).await.unwrap_err().fault(401, "missing_token");
    let seen = format!("{turn}:10000001");
    bob.stream(&events(&turn), &[("last-event-id", &seen)]).await.unwrap_err().fault(404, "turn_not_found");
    ana.stream(&events(&turn), &[("last-event-id", &seen)]).await.unwrap();
    sending.await.unwrap();
}

async fn so_many_streams_may_be_open(layout: Layout) {
    let world =
        world(layout).set("limits.streams_per_user", 1).set("limits.streams_per_node", 2).start().await;
    let mut open = Vec::new();
    let (ana, bob, eva) = (world.user().await, world.user().await, world.user().await);
    let turn_of = async |user: &User| {
        let conversation = user.conversation().await;
        running(user, &conversation, "hi [[sim hang]]").await
    };
    let ((hers, first), (his, second), (third, last)) =
        (turn_of(&ana).await, turn_of(&bob).await, turn_of(&eva).await);
    open.push(ana.stream(&events(&hers), &[]).await.unwrap());
    let above = ana.stream(&events(&hers), &[]).await.unwrap_err();
    above.fault(429, "rate_limited");
    assert_eq!(above.header("retry-after"), "1");
    open.push(bob.stream(&events(&his), &[]).await.unwrap());
    let above = eva.stream(&events(&third), &[]).await.unwrap_err();
    above.fault(503, "overloaded");
    assert_eq!(above.header("retry-after"), "1");
    drop(open.pop());
    eventually("there is room again", SOON, async || eva.stream(&events(&third), &[]).await.ok()).await;
    [first, second, last].iter().for_each(JoinHandle::abort);
}

/// That the one who never reads is given up is seen where more can be told: `crates/ingress/tests/http/streams.rs`.
async fn who_never_reads_holds_nobody_up(layout: Layout) {
    let world = world(layout).set("http.stream_stall_s", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, "say [[sim first_ms=1000 chunks=100000]]").await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut silent = socket.connect(world.http()).await.unwrap();
    let (path, token) = (events(&turn), &ana.token);
    let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    silent.write_all(head.as_bytes()).await.unwrap();
    let mut reading = Reading::default();
    reading.go_on(&ana, &turn, usize::MAX).await;
    assert!(reading.has_ended());
    assert!(json!(reading.text) == sending.await.unwrap()["response"]);
    drop(silent);
}

async fn a_stream_ends_with_its_credential(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) = running(&ana, &conversation, "hi [[sim hang]]").await;
    let soon: String = sqlx::query_scalar("select to_json(now() + interval '3 seconds') #>> '{}'")
        .fetch_one(world.sql())
        .await
        .unwrap();
    let key = ana.post("/auth/api-keys", json!({ "name": "short", "expires_at": soon })).await.ok();
    let mut stream = ana.with_token(&text(&key["key"])).stream(&events(&turn), &[]).await.unwrap();
    let names: Vec<_> = stream.rest().await.into_iter().map(|event| event.name).collect();
    assert!(!names.contains(&"completed".to_owned()), "{names:?}");
    assert_eq!(stream.retry_ms, Some(1000));
    sending.abort();
}

async fn a_process_that_ends_sends_its_readers_to_the_next(layout: Layout) {
    let mut world = world(layout).set("http.stream_heartbeat_s", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let (turn, sending) =
        running(&ana, &conversation, "tell me [[sim first_ms=3000 chunk_ms=40 chunks=30]]").await;
    let mut stream = ana.stream(&events(&turn), &[]).await.unwrap();
    let mut reading = Reading::default();
    reading.take(stream.next().await.unwrap());
    let (exit, rest) = tokio::join!(world.terminate(Role::Ingress), stream.rest());
    assert_eq!(exit, Exit::SUCCESS);
    rest.into_iter().for_each(|event| reading.take(event));
    assert!(!reading.has_ended() && stream.retry_ms == Some(1000), "{:?}", reading.names);
    world.restart(Role::Ingress).await;
    reading.go_on(&ana, &turn, usize::MAX).await;
    assert!(reading.has_ended());
    assert_eq!(json!(reading.text), ana.get(&format!("/turns/{turn}")).await.ok()["messages"][1]["content"]);
    sending.abort();
}
