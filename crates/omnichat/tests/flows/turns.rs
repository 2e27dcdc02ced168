//! Turns: one message, one answer, in order.

use llm::{Message, simulator::answer};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Layout, User, World, both_layouts, eventually, user::text};

use crate::{SOON, fields, world};

both_layouts![
    a_message_is_answered_by_the_model,
    each_call_is_told_exactly_what_was_said_before,
    a_turn_can_be_looked_at_while_it_runs_and_after,
    an_answer_that_takes_too_long_comes_later,
    a_turn_that_waits_shows_how_many_are_before_it,
    a_turn_that_waits_says_how_long_that_is_likely_to_be,
    what_waits_in_a_conversation_is_bounded_and_runs_in_order,
    conversations_do_not_wait_for_each_other,
    a_long_answer_is_kept_whole,
];

/// Waits until the provider works on this many calls.
async fn provider_is_busy(world: &World, running: u64) {
    let what = format!("{running} calls run");
    eventually(&what, SOON, async || (world.provider().counters().running == running).then_some(())).await;
}

async fn a_message_is_answered_by_the_model(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sent = ana.send(&conversation, "Why is the sky blue?").await.ok();
    let names = "altered created_at finish_reason message message_id model response truncated turn_id usage";
    assert_eq!(fields(&sent).join(" "), names);
    let expected = answer(&[Message::user("Why is the sky blue?")]);
    assert_eq!((&sent["response"], &sent["message"]["content"]), (&json!(expected), &json!(expected)));
    assert_eq!((&sent["finish_reason"], &sent["model"]), (&json!("stop"), &json!("small")));
    let words = expected.split_whitespace().count();
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": words, "total_tokens": words + 5 });
    assert_eq!(sent["usage"], usage);

    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let (question, reply) = (&messages[0], &messages[1]);
    let names = "content conversation_id created_at id parent_id role seq turn_id";
    assert_eq!(fields(question).join(" "), names);
    assert_eq!((&question["role"], &question["content"]), (&json!("user"), &json!("Why is the sky blue?")));
    assert_eq!(*reply, sent["message"]);
    assert_eq!((&reply["id"], &reply["created_at"]), (&sent["message_id"], &sent["created_at"]));
    assert_eq!(messages[2], Value::Null);
}

async fn each_call_is_told_exactly_what_was_said_before(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut said = Vec::new();
    for number in 0..6 {
        said.push(Message::user(format!("question {number}")));
        let reply = text(&ana.send(&conversation, &format!("question {number}")).await.ok()["response"]);
        assert_eq!(reply, answer(&said));
        said.push(Message::assistant(reply));
        let calls = world.provider().calls();
        assert_eq!(calls.len(), number + 1);
        assert!(calls[number].messages == said[..2 * number + 1], "call {number}");
    }

    let path = format!("/conversations/{conversation}/messages");
    let messages = ana.get(&path).await.ok();
    assert_eq!(messages, ana.get(&format!("{path}?branch=all")).await.ok(), "there is one branch only");
    let messages = messages.as_array().unwrap();
    assert_eq!(messages.len(), said.len());
    for (place, message) in messages.iter().enumerate() {
        assert_eq!(
            (&message["seq"], &message["content"]),
            (&json!(place), &json!(said[place].content.to_string()))
        );
        let parent = place.checked_sub(1).map_or(Value::Null, |before| messages[before]["id"].clone());
        assert_eq!(message["parent_id"], parent);
    }
}

async fn a_turn_can_be_looked_at_while_it_runs_and_after(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let sender = (ana.clone(), conversation.clone());
    let sending =
        tokio::spawn(async move { sender.0.send(&sender.1, "hi [[sim first_ms=1000]]").await.ok() });
    provider_is_busy(&world, 1).await;
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    assert_eq!(messages.as_array().unwrap().len(), 1, "the question is there at once");
    let turn = format!("/turns/{}", text(&messages[0]["turn_id"]));
    let running = ana.get(&turn).await.ok();
    let names = "altered answered_by attempt calls conversation_id cost_micros created_at fault finish_reason finished_at id idempotency_key kind messages model partial prompt_id prompt_version queue_position seq status usage wait_ms";
    assert_eq!(fields(&running).join(" "), names);
    assert_eq!(
        (&running["status"], &running["attempt"], &running["seq"]),
        (&json!("running"), &json!(1), &json!(0))
    );
    assert_eq!((&running["messages"], &running["finished_at"]), (&messages, &Value::Null));

    let sent = sending.await.unwrap();
    let done = ana.get(&turn).await.ok();
    assert_eq!((&done["status"], &done["fault"]), (&json!("completed"), &Value::Null));
    assert_eq!((&done["messages"][1], &done["usage"]), (&sent["message"], &sent["usage"]));
    assert_eq!((&done["finish_reason"], &done["answered_by"]), (&sent["finish_reason"], &sent["model"]));
    assert_eq!((&done["finished_at"], &done["id"]), (&sent["created_at"], &sent["turn_id"]));
}

async fn an_answer_that_takes_too_long_comes_later(layout: Layout) {
    let world = world(layout).set("http.answer_timeout_s", 1).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let question = "hi [[sim first_ms=2000]]";
    let problem = ana.send_with_key(&conversation, question, "k1").await.fault(504, "answer_pending");
    let turn = format!("/turns/{}", text(&problem["turn_id"]));
    assert_eq!(ana.get(&turn).await.ok()["status"], "running");
    let completed = async || {
        let turn = ana.get(&turn).await.ok();
        (turn["status"] == "completed").then_some(turn)
    };
    let turn = eventually("the turn completes without its sender", SOON, completed).await;
    let again = ana.send_with_key(&conversation, question, "k1").await.ok();
    assert_eq!(again["message"], turn["messages"][1]);
    assert_eq!(again["response"], answer(&[Message::user(question)]));
    assert_eq!(world.provider().calls().len(), 1);
}

async fn a_turn_that_waits_shows_how_many_are_before_it(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let mut sent = Vec::new();
    for (number, content) in ["first [[sim hang]]", "second", "third"].into_iter().enumerate() {
        let (user, to) = (ana.clone(), conversation.clone());
        sent.push(tokio::spawn(async move { user.send(&to, content).await }));
        let accepted = async || (ana.history(&conversation).await.len() == number + 1).then_some(());
        eventually("the turn is accepted", SOON, accepted).await;
    }
    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let turn =
        async |place: usize| ana.get(&format!("/turns/{}", text(&messages[place]["turn_id"]))).await.ok();
    let standing = async |place: usize| {
        let turn = turn(place).await;
        (turn["status"].clone(), turn["queue_position"].clone())
    };
    assert_eq!(standing(0).await, (json!("running"), Value::Null));
    assert_eq!(standing(1).await, (json!("queued"), json!(1)));
    assert_eq!(standing(2).await, (json!("queued"), json!(2)));
    ana.post(&format!("/turns/{}/cancel", text(&messages[0]["turn_id"])), json!({})).await.ok();
    for (place, answer) in sent.into_iter().enumerate() {
        assert_eq!(answer.await.unwrap().status, if place == 0 { 410 } else { 200 });
        assert_eq!(turn(place).await["queue_position"], Value::Null);
    }
}

async fn a_turn_that_waits_says_how_long_that_is_likely_to_be(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
    let send = async |conversation: &str, content: &str| {
        let (path, body) = (format!("/conversations/{conversation}/messages"), json!({ "content": content }));
        let answer = ana.request(Method::POST, &path, &headers, Some(body.to_string().into())).await.unwrap();
        assert_eq!(answer.status, 202);
        answer.json()
    };
    let new = ana.conversation().await;
    let first = send(&new, "first [[sim hang]]").await;
    assert_eq!(send(&new, "second").await["wait_ms"], Value::Null, "nothing is known");
    ana.post_nothing(&format!("/turns/{}/cancel", text(&first["id"]))).await.ok();

    let conversation = ana.conversation().await;
    for first_ms in [1, 2000, 1] {
        ana.send(&conversation, &format!("[[sim first_ms={first_ms}]]")).await.ok();
    }
    let median: i64 = sqlx::query_scalar(
        "select (timings ->> 'total_ms')::bigint from outcomes join turns on id = turn_id
         where conversation_id = $1::uuid order by 1 offset 1 limit 1",
    )
    .bind(&conversation)
    .fetch_one(world.sql())
    .await
    .unwrap();
    let running = send(&conversation, "first [[sim hang]]").await;
    assert_eq!((&running["status"], &running["wait_ms"]), (&json!("running"), &Value::Null));
    let mut waits = Vec::new();
    for content in ["second", "third"] {
        let turn = send(&conversation, content).await;
        waits.push(turn["wait_ms"].as_i64().unwrap());
    }
    assert!((0..=median).contains(&waits[0]), "{waits:?} {median}");
    assert!((median..=2 * median).contains(&waits[1]), "{waits:?} {median}");
}

async fn what_waits_in_a_conversation_is_bounded_and_runs_in_order(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let send = |content: String| {
        let (ana, conversation) = (ana.clone(), conversation.clone());
        tokio::spawn(async move { ana.send(&conversation, &content).await })
    };
    let first = send("first [[sim first_ms=2500]]".into());
    provider_is_busy(&world, 1).await;
    let mut sent = vec![first];
    sent.extend((0..12).map(|number| send(format!("waiting {number}"))));
    let (mut answered, mut refused) = (Vec::new(), 0);
    for answer in sent {
        let answer = answer.await.unwrap();
        if answer.status == 200 {
            answered.push(answer.ok()["message"].clone());
        } else {
            answer.fault(429, "conversation_busy");
            assert_eq!(answer.header("retry-after"), "2");
            refused += 1;
        }
    }
    assert_eq!((answered.len(), refused), (9, 4), "one runs, eight wait");

    let messages = ana.get(&format!("/conversations/{conversation}/messages")).await.ok();
    let messages = messages.as_array().unwrap();
    answered.sort_by_key(|message| message["seq"].as_i64());
    assert_eq!(messages.iter().skip(1).step_by(2).collect::<Vec<_>>(), answered.iter().collect::<Vec<_>>());
    let said: Vec<_> = messages.iter().map(|message| text(&message["content"])).collect();
    for (number, call) in world.provider().calls().iter().enumerate() {
        let told: Vec<_> = call.messages.iter().map(|message| message.content.to_string()).collect();
        assert_eq!(told, said[..2 * number + 1], "each saw exactly what came before it");
    }
    ana.send(&conversation, "there is room again").await.ok();
}

async fn conversations_do_not_wait_for_each_other(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let (slow, quick) = (ana.conversation().await, ana.conversation().await);
    let sender: (User, String) = (ana.clone(), slow.clone());
    let sending = tokio::spawn(async move { sender.0.send(&sender.1, "hi [[sim hang]]").await });
    provider_is_busy(&world, 1).await;
    for number in 0..20 {
        ana.send(&quick, &format!("quick {number}")).await.ok();
    }
    assert!(!sending.is_finished());
    sending.abort();
}

async fn a_long_answer_is_kept_whole(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let question = "say [[sim chunks=100000]]";
    let sent = ana.send(&conversation, question).await.ok();
    let whole = answer(&[Message::user(question)]);
    assert!(whole.len() > 500_000, "{}", whole.len());
    assert!(sent["response"] == json!(whole));
    assert!(ana.history(&conversation).await[1].1 == whole);
    let cut = ana.send(&conversation, "short [[sim finish=length chunks=3]]").await.ok();
    assert_eq!((&cut["finish_reason"], &cut["response"]), (&json!("length"), &json!("You said \"short\"")));
    assert_eq!((&cut["truncated"], &sent["truncated"]), (&json!(true), &json!(false)));
}
