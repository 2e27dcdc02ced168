//! Anthropic's Messages, as recorded streams over real HTTP.

use llm::{
    CallError, Config, FinishReason, Gateway, Message, ModelConfig, ProviderConfig, ProviderKind, Role,
    RouteStep, Usage,
};
use serde_json::{Value, json};

use crate::{
    ask::{KEY, NEVER_OPENS, PATIENT, answer, simulator},
    raw::{Act, Raw, response, stream},
};

const TEXT: &str = "zwölf \"Boxkämpfer\" 😀";

fn gateway(base_url: String) -> Gateway {
    let provider = ProviderConfig {
        api_key: Some(KEY.into()),
        timeouts: PATIENT,
        breaker: NEVER_OPENS,
        ..ProviderConfig::new(ProviderKind::Anthropic, base_url)
    };
    let route = [RouteStep::new("p", "theirs")];
    Gateway::new(&Config {
        providers: [("p".to_owned(), provider)].into(),
        models: [("m".to_owned(), ModelConfig::new(route))].into(),
        default_model: "m".to_owned(),
    })
    .unwrap()
}

/// As it is sent: its kind stands beside the data too.
fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap())
}

/// Until the text is whole; nothing of it says yet that the model was done.
fn unfinished() -> String {
    let usage = json!({ "input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 1 });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "theirs", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage });
    let begin = [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
    ];
    let said = TEXT.split_inclusive(' ').map(
        |text| json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
    );
    let end = json!({ "type": "content_block_stop", "index": 0 });
    begin.into_iter().chain(said).chain([end]).map(|data| event(&data)).collect()
}

fn stopped(reason: &str) -> String {
    event(&json!({ "type": "message_delta", "delta": { "stop_reason": reason, "stop_sequence": null },
        "usage": { "output_tokens": 12 } }))
}

fn last() -> String {
    event(&json!({ "type": "message_stop" }))
}

async fn error_of(response: Vec<u8>) -> CallError {
    let raw = Raw::playing(vec![vec![Act::Send(response)]]).await;
    answer(&gateway(raw.base_url()), "hi").await.unwrap_err().1
}

#[tokio::test]
async fn an_answer_comes_whole_with_its_usage() {
    let raw = Raw::streaming(unfinished() + &stopped("end_turn") + &last()).await;
    let (text, finish) = answer(&gateway(raw.base_url()), "hi").await.unwrap();
    assert_eq!((text.as_str(), finish.reason), (TEXT, FinishReason::Stop));
    assert_eq!(finish.usage, Some(Usage { prompt_tokens: 12, completion_tokens: 12 }));
    let request = raw.requests().remove(0);
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    for header in [&format!("x-api-key: {KEY}"), "anthropic-version: 2023-06-01", "accept: text/event-stream"]
    {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} is missing in {request}");
    }
    assert!(!request.contains("authorization"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["system"], json!([{ "type": "text", "text": "be brief" }]));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "hi" }]));
}

#[tokio::test]
async fn a_cut_stream_is_never_complete() {
    let until_finish = unfinished() + &stopped("max_tokens");
    let body = until_finish.clone() + &last();
    let cut = |at: usize| vec![Act::Send([&stream(""), &body.as_bytes()[..at]].concat())];
    let raw = Raw::playing((0..=body.len()).map(cut).collect()).await;
    let gateway = gateway(raw.base_url());
    for at in 0..=body.len() {
        match answer(&gateway, "hi").await {
            Ok((whole, finish)) => {
                assert!(at >= until_finish.len(), "complete though cut at {at}");
                assert_eq!((whole.as_str(), finish.reason), (TEXT, FinishReason::Length), "cut at {at}");
            }
            Err((part, error)) => {
                assert!(at < until_finish.len(), "{error} though finished at {at}");
                assert_eq!(error, CallError::Truncated, "cut at {at}");
                assert!(TEXT.starts_with(&part), "cut at {at}");
            }
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_its_kind() {
    let error = |kind: &str| json!({ "type": "error", "error": { "type": kind, "message": KEY } });
    let busy = CallError::Busy { retry_after: None };
    let overloaded = response("529 Overloaded", "application/json", error("overloaded_error").to_string());
    assert_eq!(error_of(overloaded).await, busy);
    let unauthorized =
        response("401 Unauthorized", "application/json", error("authentication_error").to_string());
    assert_eq!(error_of(unauthorized).await, CallError::Configuration { status: 401 });
    assert_eq!(error_of(stream(unfinished() + &event(&error("overloaded_error")))).await, busy);
    assert_eq!(error_of(stream(unfinished() + &stopped("refusal"))).await, CallError::ContentFiltered);
    let tools = error_of(stream(unfinished() + &stopped("tool_use"))).await;
    assert_eq!(tools, CallError::UnsupportedFinish("tool_use"));
}

/// What a script does to a call is the same over this wire, in its own words.
#[tokio::test]
async fn the_simulator_speaks_it_and_can_be_told_to_fail() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url());
    let (text, finish) = answer(&gateway, "hi").await.unwrap();
    assert_eq!(text, llm::simulator::answer(&[Message::user("hi")]));
    let words = text.split_whitespace().count() as u32;
    assert_eq!(finish.usage, Some(Usage { prompt_tokens: 3, completion_tokens: words }));
    let call = simulator.calls().remove(0);
    assert_eq!((call.messages[0].role, &call.messages[1].content), (Role::System, &"hi".into()));
    for oddity in ["no_done", "comments", "crlf", "drip", "chunk_ms=5"] {
        let said = format!(r#"[[sim text="zwölf \"Boxkämpfer\" 😀" {oddity}]]"#);
        assert_eq!(answer(&gateway, &said).await.unwrap().0, TEXT, "{oddity}");
    }
    let busy = CallError::Busy { retry_after: None };
    for (script, expected) in [
        ("status=529", busy.clone()),
        ("status=429", busy.clone()),
        ("status=402", CallError::Configuration { status: 402 }),
        ("error_after=2 error=overloaded_error", busy),
        ("error_after=2", CallError::Failed { status: Some(500) }),
        ("cut_after=2", CallError::Truncated),
        ("finish=none", CallError::Truncated),
        ("finish=content_filter", CallError::ContentFiltered),
        ("finish=tool_calls", CallError::UnsupportedFinish("tool_use")),
        ("empty", CallError::EmptyAnswer),
    ] {
        let error = answer(&gateway, &format!("hi [[sim {script}]]")).await.unwrap_err().1;
        assert_eq!(error, expected, "{script}");
    }
    let (_, finish) = answer(&gateway, "hi [[sim finish=length usage=none]]").await.unwrap();
    assert_eq!((finish.reason, finish.usage), (FinishReason::Length, None));
}
