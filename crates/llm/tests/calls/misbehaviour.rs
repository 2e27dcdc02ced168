//! What a script can make the simulated provider do wrong, and what a call comes to by that, of every kind.

use std::time::Duration;

use llm::{CallError, Gateway};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    ask::{KEY, PATIENT, answer, ended, gateway_to, prompt, read, simulator},
    dialects::{Dialect, TEXT, dialects},
};

async fn said(gateway: &Gateway, script: &str) -> Result<String, CallError> {
    let said = format!(r#"[[sim text="zwölf \"Boxkämpfer\" 😀" {script}]]"#);
    answer(gateway, &said).await.map(|(text, _)| text).map_err(|(_, error)| error)
}

#[tokio::test]
async fn what_does_no_harm_gives_the_same_answer() {
    let simulator = simulator().await;
    for Dialect { kind, .. } in dialects() {
        let gateway = gateway_to(kind, simulator.base_url(), PATIENT);
        for script in [
            "double_done",
            "split_chars",
            "split_chars comments crlf",
            "empty_chunks=1000",
            "content_type=text/event-stream",
        ] {
            assert_eq!(said(&gateway, script).await, Ok(TEXT.to_owned()), "{kind:?}: {script}");
        }
        let broken = said(&gateway, "invalid_utf8").await.unwrap();
        let broken = broken.strip_prefix(TEXT).unwrap();
        assert!(!broken.is_empty() && broken.chars().all(|it| it == '\u{fffd}'), "{kind:?}: {broken:?}");
        let twice = said(&gateway, "twice").await.unwrap();
        assert_eq!(twice.len(), TEXT.len() * 2, "{kind:?}: nobody can tell a chunk from its repeat: {twice}");
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_from_one() {
    let simulator = simulator().await;
    for Dialect { kind, .. } in dialects() {
        let gateway = gateway_to(kind, simulator.base_url(), PATIENT);
        let elsewhere = format!("redirect={}", simulator.base_url());
        for (script, error) in [
            (elsewhere.as_str(), CallError::Configuration { status: 307 }),
            ("page", CallError::Malformed),
            ("content_type=text/html", CallError::Malformed),
            ("gzip_bomb", CallError::Truncated),
            ("garbage_after=1", CallError::Malformed),
            ("huge_after=1", CallError::TooLarge),
            ("empty empty_chunks=100000", CallError::EmptyAnswer),
        ] {
            assert_eq!(said(&gateway, script).await, Err(error), "{kind:?}: {script}");
        }
    }
}

#[tokio::test]
async fn a_date_says_when_to_come_again() {
    let simulator = simulator().await;
    for Dialect { kind, .. } in dialects() {
        let busy =
            said(&gateway_to(kind, simulator.base_url(), PATIENT), "status=429 retry_after_date=90").await;
        let Err(CallError::Busy { retry_after: Some(wait) }) = busy else { panic!("{kind:?}: {busy:?}") };
        assert!((Duration::from_secs(80)..=Duration::from_secs(90)).contains(&wait), "{kind:?}: {wait:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_used_again_may_be_closed_without_a_byte() {
    let simulator = simulator().await;
    for Dialect { kind, .. } in dialects() {
        let gateway = gateway_to(kind, simulator.base_url(), PATIENT);
        let before = simulator.counters();
        assert_eq!(said(&gateway, "drop_reused").await, Ok(TEXT.to_owned()), "{kind:?}: a new one is not");
        let broken = CallError::Unavailable("it broke the connection before it answered");
        assert_eq!(said(&gateway, "drop_reused").await, Err(broken), "{kind:?}");
        assert_eq!(said(&gateway, "drop_reused").await, Ok(TEXT.to_owned()), "{kind:?}: nor the next");
        let after = simulator.counters();
        assert_eq!((after.cut - before.cut, after.finished - before.finished), (1, 2), "{kind:?}");
    }
}

/// The body has them; no error, and no log of the simulator, does.
#[tokio::test]
async fn a_key_is_repeated_where_a_script_wants_it() {
    let simulator = simulator().await;
    for Dialect { kind, .. } in dialects() {
        let gateway = gateway_to(kind, simulator.base_url(), PATIENT);
        for script in ["echo_key status=401", "echo_key error_in_200", "echo_key error_after=1"] {
            let failed = gateway.call(prompt(&format!("hush [[sim {script}]]"), "echo:1")).await;
            let error = match failed {
                Ok(answering) => read(answering).await.unwrap_err().1,
                Err(error) => error,
            };
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains(KEY) && !printed.contains("hush"), "{kind:?}, {script}: {printed}");
            ended(&simulator, "echo:1").await;
        }
    }
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hush [[sim echo_key status=401]]" }] });
    let url = format!("{}/chat/completions", simulator.base_url());
    let answer = crate::simulator::client().post(url).bearer_auth(KEY).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let said = answer.text().await.unwrap();
    assert!(said.contains(&format!("Bearer {KEY}")) && said.contains("hush"), "{said}");
}
