//! What Google's Gemini alone has: the request and its address, the reasons of an end, and the simulator's way of speaking them.

use llm::{CallError, FinishReason, Gateway, Image, Images, Message, ProviderKind, Role, Settings, Usage};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    ask::{KEY, PATIENT, answer, gateway_to, prompt, read, simulator},
    dialects::{TEXT, dialect},
    raw::Raw,
    simulator::client,
};

fn gateway(base_url: String) -> Gateway {
    gateway_to(ProviderKind::Gemini, base_url, PATIENT)
}

#[tokio::test]
async fn a_request_has_its_model_in_the_address() {
    let raw = Raw::streaming(dialect(ProviderKind::Gemini).recorded).await;
    answer(&gateway(raw.base_url()), "hi").await.unwrap();
    let request = raw.requests().remove(0);
    let line = "POST /v1/models/theirs:streamGenerateContent?alt=sse HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
    for header in [&format!("x-goog-api-key: {KEY}"), "accept: text/event-stream"] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} is missing in {request}");
    }
    assert!(!request.contains("authorization"), "{request}");
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let expected = json!({
        "systemInstruction": { "parts": [{ "text": "be brief" }] },
        "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "generationConfig": {},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_reason_of_an_end_is_understood() {
    for (reason, end) in [
        ("MAX_TOKENS", Ok(FinishReason::Length)),
        ("RECITATION", Err(CallError::ContentFiltered)),
        ("MALFORMED_FUNCTION_CALL", Err(CallError::UnsupportedFinish("MALFORMED_FUNCTION_CALL"))),
    ] {
        let raw = Raw::streaming(dialect(ProviderKind::Gemini).recorded.replace("STOP", reason)).await;
        let answered = answer(&gateway(raw.base_url()), "hi").await;
        assert_eq!(answered.map(|(_, finish)| finish.reason).map_err(|(_, error)| error), end, "{reason}");
    }
    let blocked = "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}\n\n";
    let raw = Raw::streaming(blocked).await;
    assert_eq!(answer(&gateway(raw.base_url()), "hi").await.unwrap_err().1, CallError::ContentFiltered);
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
    for oddity in ["no_done", "double_done", "comments", "crlf", "drip", "chunk_ms=5"] {
        let said = format!(r#"[[sim text="zwölf \"Boxkämpfer\" 😀" {oddity}]]"#);
        assert_eq!(answer(&gateway, &said).await.unwrap().0, TEXT, "{oddity}");
    }
    for (script, expected) in [
        ("status=429", CallError::Busy { retry_after: None }),
        ("status=503", CallError::Failed { status: Some(503) }),
        ("status=400 error=FAILED_PRECONDITION", CallError::Configuration { status: 402 }),
        ("error_after=2", CallError::Failed { status: Some(502) }),
        ("cut_after=2", CallError::Truncated),
        ("finish=none", CallError::Truncated),
        ("finish=content_filter", CallError::ContentFiltered),
        ("finish=tool_calls", CallError::UnsupportedFinish("UNEXPECTED_TOOL_CALL")),
        ("empty", CallError::EmptyAnswer),
    ] {
        let error = answer(&gateway, &format!("hi [[sim {script}]]")).await.unwrap_err().1;
        assert_eq!(error, expected, "{script}");
    }
    let (_, finish) = answer(&gateway, "hi [[sim finish=length usage=none]]").await.unwrap();
    assert_eq!((finish.reason, finish.usage), (FinishReason::Length, None));
}

#[tokio::test]
async fn the_simulator_hears_all_that_is_asked() {
    let simulator = simulator().await;
    let settings: Settings = serde_json::from_value(
        json!({ "temperature": 1.5, "top_p": 0.5, "max_tokens": 99, "stop": ["END"], "seed": 7 }),
    )
    .unwrap();
    let mut asked = prompt("hi", "turn:1");
    let images = ["https://example.org/cat.png", "data:image/png;base64,aGk="];
    let images = Images::of(images.map(|url| Image { url: url.into(), detail: None }));
    let hello = Message::user("hello").showing(images);
    asked.messages.splice(1..1, [hello, Message::assistant("hello, you")]);
    asked.settings = settings.clone();
    let messages = asked.messages.clone();
    read(gateway(simulator.base_url()).call(asked).await.unwrap()).await.unwrap();
    let call = simulator.calls().remove(0);
    assert_eq!((call.model.as_str(), call.settings, call.messages), ("theirs", settings, messages));
}

#[tokio::test]
async fn the_simulator_answers_whole_and_only_what_the_wire_has() {
    let simulator = simulator().await;
    let ask = async |call: &str| {
        let url = format!("{}/models/{call}", simulator.base_url());
        let body = json!({ "contents": [{ "parts": [{ "text": "hi" }] }] });
        client().post(url).json(&body).send().await.unwrap()
    };
    let whole: Value = ask("m:generateContent").await.json().await.unwrap();
    let candidate = &whole["candidates"][0];
    assert_eq!(candidate["content"]["parts"][0]["text"], llm::simulator::answer(&[Message::user("hi")]));
    assert_eq!((&candidate["finishReason"], &whole["modelVersion"]), (&json!("STOP"), &json!("m")));
    assert_eq!(whole["usageMetadata"]["promptTokenCount"], 1);
    for call in ["m:streamGenerateContent", "m:countTokens", "m"] {
        assert_eq!(ask(call).await.status(), StatusCode::NOT_FOUND, "{call}");
    }
    assert_eq!(simulator.calls()[0].messages[0].role, Role::User);
}
