//! A send over NATS that is answered step by step, at an inbox.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use testkit::{Layout, Reply, Role, Stranger, Subscription, User, both_layouts, eventually, user::text};

use crate::{NOWHERE, SOON, world};

both_layouts![
    a_send_is_told_step_by_step,
    what_is_refused_ends_the_wait,
    who_waits_is_told_that_the_turn_is_in_hand,
    a_repeat_is_told_what_came_before,
    an_answer_begun_anew_is_told_at_the_same_inbox,
    a_send_may_be_told_only_that_it_is_accepted,
];

/// Some 60 words, one every 40 ms: an answer that can be met on its way.
const SLOW: &str = "tell me [[sim first_ms=300 chunk_ms=40 chunks=60]]";

/// Who sends, and reads what is said at an inbox of the send's own.
struct Sender<'a> {
    nats: &'a Stranger,
    user: &'a User,
    conversation: &'a str,
}

impl Sender<'_> {
    async fn send(&self, content: &str, headers: &[(&str, &str)]) -> Subscription {
        static SENDS: AtomicU32 = AtomicU32::new(0);
        let inbox = format!("_INBOX.{}.{}", self.user.id, SENDS.fetch_add(1, Ordering::Relaxed));
        let told = self.nats.subscribe(&inbox).await;
        let subject = format!("omnichat.v1.u.{}.conversations.{}.send", self.user.id, self.conversation);
        let body = json!({ "content": content }).to_string();
        self.nats.publish_with(&subject, &inbox, headers, body).await;
        told
    }
}

/// All that is said until the empty message. The steps are numbered.
async fn all(told: &mut Subscription) -> Vec<Reply> {
    let mut replies = Vec::new();
    loop {
        let reply = told.next().await;
        if reply.body().is_empty() {
            assert!(reply.headers().is_empty(), "{reply:?}");
            return replies;
        }
        replies.push(reply);
    }
}

fn names(replies: &[Reply]) -> Vec<&str> {
    replies.iter().map(|reply| reply.header("Oc-Event")).collect()
}

fn steps(replies: &[Reply]) -> Vec<Value> {
    let steps = replies.iter().map(|reply| {
        let step = reply.json();
        assert_eq!(step["event"], reply.header("Oc-Event"));
        step
    });
    steps.collect()
}

/// The numbers from `queued`, 0, on have no gap.
fn are_numbered(replies: &[Reply]) {
    let mut numbers: Vec<usize> = replies
        .iter()
        .filter(|reply| reply.header("Oc-Event") != "alive")
        .map(|reply| reply.header("Oc-Seq").parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
}

fn shown(replies: &[Reply]) -> String {
    steps(replies).iter().fold(String::new(), |mut shown, step| {
        match step["event"].as_str().unwrap() {
            "delta" => {
                assert_eq!(step["offset"], shown.len(), "{step}");
                shown.push_str(&text(&step["text"]));
            }
            "restarted" => shown.clear(),
            _ => {}
        }
        shown
    })
}

async fn a_send_is_told_step_by_step(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let sender = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let key = ("Idempotency-Key", "k1");
    let told = all(&mut sender.send(SLOW, &[("Oc-Stream", "1"), key]).await).await;
    are_numbered(&told);
    let mut names = names(&told);
    names.retain(|name| *name != "queued");
    assert_eq!((names[..2].join(" "), names.last()), ("accepted started".into(), Some(&"completed")));
    assert!(names.len() > 8 && names[2..names.len() - 1].iter().all(|name| *name == "delta"), "{names:?}");
    assert!(told.iter().all(|reply| reply.header("Content-Type") == "application/json"));
    let answer = ana.send_with_key(&conversation, SLOW, "k1").await.ok();
    assert_eq!(json!(shown(&told)), answer["response"]);
    let mut last = told.last().unwrap().json();
    last.as_object_mut().unwrap().remove("event");
    assert_eq!(last, answer);

    let again = all(&mut sender.send(SLOW, &[("Oc-Stream", "1"), key]).await).await;
    assert_eq!(again.last().unwrap().json(), told.last().unwrap().json(), "a stored outcome is told at once");
    let packed = [("Oc-Stream", "1"), ("Accept", "application/msgpack")];
    let packed = all(&mut sender.send("and then?", &packed).await).await;
    assert_eq!(packed.last().unwrap().header("Content-Type"), "application/msgpack");
    let last: Value = rmp_serde::from_slice(packed.last().unwrap().body()).unwrap();
    assert_eq!(last["event"], "completed");
    assert_eq!(world.provider().calls().len(), 2);
}

async fn what_is_refused_ends_the_wait(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let hers = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let nowhere = Sender { conversation: NOWHERE, ..hers };
    let steps = ("Oc-Stream", "1");
    let refused = async |sender: &Sender<'_>, content: &str, headers: &[(&str, &str)]| {
        let mut told = all(&mut sender.send(content, headers).await).await;
        let last = told.pop().unwrap();
        told.retain(|reply| reply.header("Oc-Event") != "queued");
        assert!(told.is_empty(), "{told:?}");
        (
            last.header("Nats-Service-Error-Code").to_owned(),
            last.header("Oc-Event").to_owned(),
            last.json()["code"].clone(),
        )
    };
    let fault = |status: &str, code: &str| (status.to_owned(), String::new(), json!(code));
    assert_eq!(refused(&nowhere, "hi", &[steps]).await, fault("404", "conversation_not_found"));
    assert_eq!(refused(&hers, " ", &[steps]).await, fault("422", "invalid_body"));
    for value in ["yes", "", "Accepted"] {
        assert_eq!(refused(&hers, "hi", &[("Oc-Stream", value)]).await, fault("400", "malformed_request"));
    }
    ana.send_with_key(&conversation, "hi", "k1").await.ok();
    let reused = refused(&hers, "other", &[steps, ("Idempotency-Key", "k1")]).await;
    assert_eq!(reused, fault("422", "idempotency_key_reused"));

    let told = all(&mut hers.send("[[sim status=403]]", &[steps]).await).await;
    let last = told.last().unwrap();
    assert_eq!((last.header("Oc-Event"), last.header("Nats-Service-Error-Code")), ("failed", "502"));
    assert_eq!(
        (&last.json()["event"], &last.json()["code"]),
        (&json!("failed"), &json!("provider_misconfigured"))
    );

    // A wish in the body is for HTTP.
    let subject = format!("omnichat.v1.u.{}.conversations.{conversation}.send", ana.id);
    let reply = nats.request(&subject, &[], r#"{"content":"hi","stream":true}"#).await;
    let problem = reply.json();
    assert_eq!(
        (&problem["code"], &problem["errors"][0]["field"]),
        (&json!("invalid_body"), &json!("stream"))
    );
}

/// The conversation looks around every second here, in place of 20.
async fn who_waits_is_told_that_the_turn_is_in_hand(layout: Layout) {
    let world = world(layout).set("chat.idle_s", 1).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let sender = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let mut first = sender.send("hi [[sim first_ms=3500]]", &[("Oc-Stream", "1")]).await;
    let mut behind = sender.send("and then?", &[("Oc-Stream", "1")]).await;
    for told in [all(&mut first).await, all(&mut behind).await] {
        let names = names(&told);
        assert!(names.iter().filter(|name| **name == "alive").count() >= 2, "{names:?}");
        assert_eq!(names.last(), Some(&"completed"));
        are_numbered(&told);
        assert!(told.iter().all(|reply| !reply.body().is_empty()));
    }
}

async fn a_repeat_is_told_what_came_before(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let sender = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let headers = [("Oc-Stream", "1"), ("Idempotency-Key", "k1")];
    let mut first = sender.send(SLOW, &headers).await;
    until_text(&mut first).await;
    let again = all(&mut sender.send(SLOW, &headers).await).await;
    are_numbered(&again);
    let rest = all(&mut first).await;
    assert_eq!(json!(shown(&again)), rest.last().unwrap().json()["response"]);
    assert_eq!(world.provider().calls().len(), 1);
}

async fn until_text(told: &mut Subscription) -> Vec<Reply> {
    let mut replies = Vec::new();
    while replies.last().is_none_or(|reply: &Reply| reply.header("Oc-Event") != "delta") {
        replies.push(told.next().await);
    }
    replies
}

async fn an_answer_begun_anew_is_told_at_the_same_inbox(layout: Layout) {
    let mut world = world(layout).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let sender = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let mut told = sender.send(SLOW, &[("Oc-Stream", "1"), ("Idempotency-Key", "k1")]).await;
    let mut replies = until_text(&mut told).await;
    world.kill(Role::Chat);
    world.restart(Role::Chat).await;
    replies.extend(all(&mut told).await);
    let names = names(&replies);
    let restarted = names.iter().position(|name| *name == "restarted").expect("it is begun anew");
    assert_eq!(names[restarted - 1], "accepted", "{names:?}");
    let last = replies.last().unwrap().json();
    assert_eq!((json!(shown(&replies)), &last["event"]), (last["response"].clone(), &json!("completed")));
    assert_eq!(ana.send_with_key(&conversation, SLOW, "k1").await.ok()["response"], last["response"]);
}

async fn a_send_may_be_told_only_that_it_is_accepted(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (nats, conversation) = (world.nats_as(&ana).await, ana.conversation().await);
    let sender = Sender { nats: &nats, user: &ana, conversation: &conversation };
    let headers = [("Oc-Stream", "accepted"), ("Idempotency-Key", "k1")];
    let mut inbox = sender.send(SLOW, &headers).await;
    let told = all(&mut inbox).await;
    assert_eq!(names(&told).last(), Some(&"accepted"));
    let turn = format!("/turns/{}", text(&told.last().unwrap().json()["turn_id"]));
    assert_eq!(ana.get(&turn).await.ok()["status"], "running");
    eventually("the turn completes", SOON, async || {
        (ana.get(&turn).await.ok()["status"] == "completed").then_some(())
    })
    .await;
    nats.flush().await;
    assert!(inbox.is_empty(), "no more is told");
    let again = all(&mut sender.send(SLOW, &headers).await).await;
    assert_eq!(names(&again).last(), Some(&"completed"), "what has ended is told as it ended");
}
