//! The simulator's own routes, over HTTP.

use std::sync::Once;

use llm::simulator::{Call, Counters, Ended, Options, Script, Simulator, answer, digest, signed_answer};
use llm::{Message, Role};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::ask::{PATIENT, gateway, prompt, read, simulator};

/// Somebody who is not the gateway.
pub fn client() -> Client {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| _ = rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

fn url(simulator: &Simulator, path: &str) -> String {
    format!("http://{}{path}", simulator.addr())
}

async fn ask(simulator: &Simulator, body: Value) -> (StatusCode, Value) {
    let response = client().post(url(simulator, "/v1/chat/completions")).json(&body).send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_call_without_a_stream_is_answered_whole() {
    let simulator = simulator().await;
    let messages = json!([{"role": "user", "content": "hi"}]);
    let (status, body) = ask(&simulator, json!({"model": "any", "messages": messages})).await;
    assert_eq!(
        (status, &body["object"], &body["model"]),
        (StatusCode::OK, &json!("chat.completion"), &json!("any"))
    );
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], answer(&[Message::user("hi")]));
    assert_eq!((&choice["finish_reason"], &body["usage"]["prompt_tokens"]), (&json!("stop"), &json!(1)));
}

#[tokio::test]
async fn a_faulty_request_is_refused_with_the_reason() {
    let simulator = simulator().await;
    let (status, body) = ask(&simulator, json!({"model": "m"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"]["message"].as_str().unwrap().contains("messages"), "{body}");
    let messages = json!([{"role": "user", "content": "[[sim fist_ms=1]]"}]);
    let (status, body) = ask(&simulator, json!({"model": "m", "messages": messages, "stream": true})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"]["message"].as_str().unwrap().contains("fist_ms"), "{body}");
}

#[tokio::test]
async fn every_call_is_logged_with_its_prompt_and_its_end() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    let said = r#"[[sim text="one two three"]]"#;
    read(gateway.call(prompt(said, "turn:1")).await.unwrap()).await.unwrap();
    let _ = gateway.call(prompt("[[sim status=503]]", "turn:2")).await;

    let calls: Vec<Call> =
        client().get(url(&simulator, "/sim/calls")).send().await.unwrap().json().await.unwrap();
    assert_eq!(calls, simulator.calls());
    let [first, second] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!((first.call_id.as_str(), first.model.as_str(), first.chunks), ("turn:1", "theirs", 3));
    assert_eq!(
        (first.messages[0].role, first.messages[1].content.to_string()),
        (Role::System, said.to_owned())
    );
    assert_eq!((first.ended, second.ended), (Some(Ended::Finished), Some(Ended::Error(503))));
    assert!(first.bytes > 500 && first.ended_at.unwrap() >= first.started_at, "{first:?}");

    let counters =
        client().get(url(&simulator, "/sim/counters")).send().await.unwrap().json::<Counters>().await;
    assert_eq!(counters.unwrap(), simulator.counters());
    let forget = client().delete(url(&simulator, "/sim/calls")).send().await.unwrap();
    assert_eq!((forget.status(), simulator.calls().len()), (StatusCode::NO_CONTENT, 0));
}

#[tokio::test]
async fn prompts_are_kept_only_on_request() {
    let options = Options { log_prompts: false, ..Options::default() };
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), options).await.unwrap();
    let gateway = gateway(simulator.base_url(), PATIENT);
    read(gateway.call(prompt("hi", "turn:1")).await.unwrap()).await.unwrap();
    assert_eq!(simulator.calls()[0].messages, []);
}

#[tokio::test]
async fn a_signed_answer_names_its_prompt_and_its_attempt() {
    let options = Options { sign: true, log_prompts: false, ..Options::default() };
    let simulator = Simulator::start(([127, 0, 0, 1], 0).into(), options).await.unwrap();
    let gateway = gateway(simulator.base_url(), PATIENT);
    for (said, finish_sent) in [("hi", true), ("hi [[sim finish=none]]", false)] {
        let prompt = prompt(said, "turn:2");
        let messages = prompt.messages.clone();
        let answered = read(gateway.call(prompt).await.unwrap()).await;
        assert_eq!(answered.is_ok(), finish_sent);
        let text = answered.map_or_else(|(text, _)| text, |(text, _)| text);
        assert_eq!(text, signed_answer(&messages, "2"));
        let call = simulator.calls().pop().unwrap();
        assert_eq!((call.digest, call.finish_sent), (digest(&messages), finish_sent));
    }
}

#[tokio::test]
async fn a_standing_script_holds_for_every_call() {
    let simulator = simulator().await;
    let script = || url(&simulator, "/sim/script");
    let put = client().put(script()).json(&json!({"text": "always"})).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::NO_CONTENT);
    let standing: Script = client().get(script()).send().await.unwrap().json().await.unwrap();
    assert_eq!(standing.text.as_deref(), Some("always"));
    let messages = json!([{"role": "user", "content": "hi"}]);
    let (_, body) = ask(&simulator, json!({"model": "m", "messages": messages})).await;
    assert_eq!(body["choices"][0]["message"]["content"], "always");

    let put = client().put(script()).json(&json!({"txt": "always"})).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::BAD_REQUEST);
    assert!(put.text().await.unwrap().contains("txt"));
}

#[tokio::test]
async fn models_are_listed() {
    let simulator = simulator().await;
    let body: Value = client().get(url(&simulator, "/v1/models")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&body["object"], &body["data"][0]["id"]), (&json!("list"), &json!("simulator")));
}
