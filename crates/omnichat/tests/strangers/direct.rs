//! NATS through nats-py: what an application in another language meets.

use serde_json::{Value, json};
use testkit::{Layout, Toolbox, World, toolbox::judged};

/// An id of nothing.
const NOWHERE: &str = "01920000-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_python_finds_what_the_catalogue_says() {
    let world = World::builder(env!("CARGO_BIN_EXE_omnichat"), Layout::OneProcess).pace(20, 20).start().await;
    let ana = world.user().await;
    let given = json!({
        "url": world.nats_url(),
        "credentials": { "token": ana.token },
        "user": ana.id,
        "nowhere": NOWHERE,
    });
    let mut python = Toolbox::open().await.python(include_str!("direct.py"));
    python.arg(given.to_string());
    let seen: Value = serde_json::from_str(&judged(python, "nats-py gets through").await).unwrap();

    let project = &seen["json"]["body"];
    assert_eq!(ana.get("/projects").await.ok(), json!([project]), "HTTP shows what Python made");
    assert_eq!(&seen["msgpack"]["body"], project, "MessagePack is the same data");
    assert_eq!(seen["msgpack"]["headers"]["Content-Type"], "application/msgpack");
    is_fault(&seen["msgpack_fault"], "422", "invalid_body");
    is_fault(&seen["fault"], "404", "conversation_not_found");
    assert_eq!(seen["unknown"], "no responders");
    assert_eq!(seen["errors"], json!([]), "the server had nothing against any of it");
    assert_eq!(seen["account"]["id"], json!(ana.id));
    is_a_turn(&seen["events"], &seen["sent"]["body"]);
    is_told_in_steps(&seen["steps"]);
    assert_eq!(seen["refused"].as_array().unwrap().len(), 1, "an error ends the wait");
    is_fault(&seen["refused"][0], "422", "invalid_body");
}

/// The parts are the answer, and the last one has all of it.
fn is_told_in_steps(replies: &Value) {
    let replies = replies.as_array().unwrap();
    let names: Vec<_> = replies.iter().map(|reply| reply["headers"]["Oc-Event"].as_str().unwrap()).collect();
    assert!(names.contains(&"accepted") && names.last() == Some(&"completed"), "{names:?}");
    let deltas = replies.iter().filter(|reply| reply["headers"]["Oc-Event"] == "delta");
    let text: String = deltas.map(|reply| reply["body"]["text"].as_str().unwrap()).collect();
    assert_eq!(json!(text), replies.last().unwrap()["body"]["response"]);
}

/// Code and sentence stand in the headers that service clients read, and again in the body.
fn is_fault(reply: &Value, status: &str, code: &str) {
    let (headers, problem) = (&reply["headers"], &reply["body"]);
    assert_eq!(
        (&headers["Nats-Service-Error-Code"], &problem["code"]),
        (&json!(status), &json!(code)),
        "{reply}"
    );
    assert_eq!(headers["Nats-Service-Error"], problem["detail"], "{reply}");
}

/// The steps are numbered without gap, and their parts are the answer.
fn is_a_turn(events: &Value, sent: &Value) {
    let events = events.as_array().unwrap();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[..2], ["accepted", "started"], "{names:?}");
    assert_eq!(names.last(), Some(&"completed"));
    let numbers: Vec<usize> =
        events.iter().map(|event| event["seq"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len()).collect::<Vec<_>>());
    let deltas = events.iter().filter(|event| event["event"] == "delta");
    let text: String = deltas.map(|event| event["body"]["text"].as_str().unwrap()).collect();
    assert_eq!(json!(text), sent["response"]);
}
