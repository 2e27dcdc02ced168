//! What Anthropic's Messages alone have: the request, the reasons of an end, and the simulator's way of speaking them.

use llm::{CallError, FinishReason, Gateway, Message, ProviderKind, Role, Usage};
use serde_json::{Value, json};

use crate::{
    ask::{KEY, PATIENT, answer, gateway_to, simulator},
    dialects::{TEXT, dialect},
    raw::Raw,
};

fn gateway(base_url: String) -> Gateway {
    gateway_to(ProviderKind::Anthropic, base_url, PATIENT)
}

#[tokio::test]
async fn a_request_has_instructions_beside_the_messages() {
    let raw = Raw::streaming(dialect(ProviderKind::Anthropic).recorded).await;
    answer(&gateway(raw.base_url()), "hi").await.unwrap();
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
async fn the_reason_of_an_end_is_understood() {
    for (reason, end) in [
        ("stop_sequence", Ok(FinishReason::Stop)),
        ("max_tokens", Ok(FinishReason::Length)),
        ("refusal", Err(CallError::ContentFiltered)),
        ("tool_use", Err(CallError::UnsupportedFinish("tool_use"))),
    ] {
        let raw = Raw::streaming(dialect(ProviderKind::Anthropic).recorded.replace("end_turn", reason)).await;
        let answered = answer(&gateway(raw.base_url()), "hi").await;
        assert_eq!(answered.map(|(_, finish)| finish.reason).map_err(|(_, error)| error), end, "{reason}");
    }
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
