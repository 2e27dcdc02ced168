//! Answers as no provider should give them, on their whole way to the user: exact where they are text, a fault where they are
//! not, and nothing of what a provider says about somebody else.

use llm::simulator::{NumberOrText, Script};
use serde_json::json;
use testkit::{Layout, Role, User, World, both_layouts, event_stream::shown, user::text};

use crate::world;

both_layouts![
    text_reaches_the_user_as_it_was_said,
    an_answer_may_come_in_a_million_parts_and_be_as_long_as_allowed,
    what_a_provider_says_of_others_is_told_to_nobody,
];

const STREAMED: [(&str, &str); 1] = [("accept", "text/event-stream")];
const KEY: &str = "sk-key-of-the-operator-0123456789";
const CANARY: &str = "canary-of-another-user";

async fn text_reaches_the_user_as_it_was_said(layout: Layout) {
    let markup = "</script><b>\u{1b}[31m\u{202e}\u{7f}\r\n\t \u{1f600}e\u{301}";
    let world = world(layout).start().await;
    let script = Script { text: Some(format!("{markup}\0 end")), invalid_utf8: true, ..Script::default() };
    world.provider().play(script);
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let answer = ana.send(&conversation, "hi").await.ok();
    assert_eq!(answer["altered"], true);
    let turn = ana.get(&format!("/turns/{}", text(&answer["turn_id"]))).await.ok();
    assert_eq!(turn["altered"], true);
    let response = text(&answer["response"]);
    let rest =
        response.strip_prefix(&format!("{markup}\u{fffd} end")).unwrap_or_else(|| panic!("{response:?}"));
    assert!(!rest.is_empty() && rest.chars().all(|it| it == '\u{fffd}'), "{response:?}");

    let path = format!("/conversations/{conversation}/messages");
    let mut events = ana.post_stream(&path, &STREAMED, &json!({ "content": "again" })).await.unwrap();
    let events = events.rest().await;
    assert_eq!(events.last().unwrap().data["response"], response);
    assert_eq!(shown(&events), response);
    let history = ana.history(&conversation).await;
    let answers = history.iter().filter(|(role, _)| role == "assistant").map(|(_, text)| text);
    assert_eq!(answers.collect::<Vec<_>>(), [&response, &response]);
    // What it was told of itself is what it said.
    let told = world.provider().calls().pop().unwrap().messages;
    assert_eq!(told[1].content.to_string(), response);
}

async fn an_answer_may_come_in_a_million_parts_and_be_as_long_as_allowed(layout: Layout) {
    let world = world(layout).start().await;
    let ana = world.user().await;
    let conversation = ana.conversation().await;
    let said = ana.send(&conversation, r#"[[sim text="done" empty_chunks=1000000]]"#).await.ok();
    assert_eq!(said["response"], "done");
    let long = text(&ana.send(&conversation, r#"[[sim text="x" chunks=500000]]"#).await.ok()["response"]);
    assert_eq!((long.len(), long.trim_matches(['x', ' '])), (999_999, ""));
    for script in [r#"text="x" chunks=1000000"#, "huge_after=1"] {
        let too_large = ana.send(&conversation, &format!("[[sim {script}]]")).await;
        let problem = too_large.fault(502, "answer_too_large");
        let turn = ana.get(&format!("/turns/{}", text(&problem["turn_id"]))).await.ok();
        assert_eq!((&turn["status"], turn["messages"].as_array().unwrap().len()), (&json!("failed"), 1));
    }
    ana.send(&conversation, "and now?").await.ok();
}

/// Ways to fail, and where the words of the failure stand: in a refusal, behind a good status, or within a stream.
const FAILURES: [&str; 4] = ["status=401", "status=500", "error_in_200", "error_after=1"];

async fn what_a_provider_says_of_others_is_told_to_nobody(layout: Layout) {
    let mut world = world(layout)
        .set("providers.simulator.api_key", KEY)
        .set("providers.simulator.breaker.failures", 0)
        .start()
        .await;
    let ana = world.user().await;
    let bob = world.user().await;
    let conversation = bob.conversation().await;
    bob.send(&conversation, CANARY).await.ok();

    let mut heard = String::new();
    for failure in FAILURES {
        heard += &failed(&ana, &format!("hush [[sim echo_key {failure}]]")).await;
    }
    let codes = [None, Some(NumberOrText::Text(CANARY.to_owned()))];
    for error in codes {
        let script = Script { message: Some(format!("{KEY} {CANARY}")), error, ..Script::default() };
        for script in [
            Script { status: Some(400), ..script.clone() },
            Script { error_in_200: true, ..script.clone() },
            Script { error_after: Some(1), ..script },
        ] {
            world.provider().play(script);
            heard += &failed(&ana, "hi").await;
        }
    }
    let faults =
        "select coalesce(string_agg(outcomes::text, ' '), '') from outcomes where status <> 'completed'";
    let stored: String = sqlx::query_scalar(faults).fetch_one(world.sql()).await.unwrap();
    let logged = logged(&mut world);
    assert!(stored.contains("provider_failed") && logged.contains("the model gave no answer"), "{stored}");
    for (place, text) in [("an answer", &heard), ("a stored fault", &stored), ("a log", &logged)] {
        for secret in [KEY, CANARY, "hush"] {
            assert!(!text.contains(secret), "{secret} stands in {place}: {text}");
        }
    }
}

/// All that the user hears of a send that fails.
async fn failed(user: &User, said: &str) -> String {
    let answer = user.send(&user.conversation().await, said).await;
    assert!(answer.status >= 400, "{answer:?}");
    let turn = user.get(&format!("/turns/{}", text(&answer.json()["turn_id"]))).await.ok();
    assert_eq!(turn["status"], "failed");
    format!("{:?} {} {}", answer.headers, answer.json(), turn["fault"])
}

/// What all processes have logged.
fn logged(world: &mut World) -> String {
    Role::ALL.iter().map(|role| world.logged(*role)).collect()
}
