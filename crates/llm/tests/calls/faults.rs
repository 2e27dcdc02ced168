//! Every way a call can go, scripted by a directive.

use std::time::Duration;

use llm::{
    CallError, FinishReason, Message, Phase, Timeouts, Usage,
    simulator::{self, Ended, Script},
};

use crate::ask::{PATIENT, answer, ended, gateway, prompt, read, simulator};

async fn error_of(directive: &str) -> CallError {
    let simulator = simulator().await;
    answer(&gateway(simulator.base_url(), PATIENT), directive).await.unwrap_err().1
}

async fn late(directive: &str, timeouts: Timeouts) -> CallError {
    let simulator = simulator().await;
    answer(&gateway(simulator.base_url(), timeouts), directive).await.unwrap_err().1
}

#[tokio::test]
async fn a_plain_answer_comes_whole() {
    let simulator = simulator().await;
    let (text, finish) = answer(&gateway(simulator.base_url(), PATIENT), "hi").await.unwrap();
    assert_eq!(text, simulator::answer(&[Message::user("hi")]));
    assert_eq!(
        (finish.reason, finish.provider.as_str(), finish.model.as_str()),
        (FinishReason::Stop, "p", "theirs")
    );
    let words = text.split_whitespace().count() as u32;
    assert_eq!(finish.usage, Some(Usage { prompt_tokens: 3, completion_tokens: words }));
}

#[tokio::test]
async fn timings_tell_where_the_time_went() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    let (_, finish) = answer(&gateway, "[[sim first_ms=80 chunk_ms=40 chunks=3]]").await.unwrap();
    let timings = finish.timings;
    assert!(timings.response_ms < timings.first_token_ms, "{timings:?}");
    assert!(timings.first_token_ms >= Some(80), "{timings:?}");
    assert!(timings.total_ms >= timings.first_token_ms.unwrap() + 70, "{timings:?}");
    assert!(timings.connect_ms.is_some() && timings.connect_ms <= timings.response_ms, "{timings:?}");
    let (_, next) = answer(&gateway, "hi").await.unwrap();
    assert_eq!(next.timings.connect_ms, None, "the connection is used again");
}

#[tokio::test]
async fn every_harmless_oddity_gives_the_same_answer() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    for oddity in ["no_done", "comments", "crlf", "drip", "comments crlf drip", "chunk_ms=5"] {
        let said = format!(r#"[[sim text="zwölf \"Boxkämpfer\" 😀" {oddity}]]"#);
        let (text, finish) =
            answer(&gateway, &said).await.unwrap_or_else(|error| panic!("{oddity}: {error:?}"));
        assert_eq!(text, "zwölf \"Boxkämpfer\" 😀", "{oddity}");
        assert!(finish.usage.is_some(), "{oddity}");
    }
}

#[tokio::test]
async fn usage_that_is_missing_or_nonsense_is_none() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    for usage in ["none", "negative"] {
        let (_, finish) = answer(&gateway, &format!("[[sim usage={usage}]]")).await.unwrap();
        assert_eq!(finish.usage, None, "{usage}");
    }
}

#[tokio::test]
async fn a_refusal_is_named_by_what_can_be_done() {
    for status in [400, 413, 422] {
        assert_eq!(error_of(&format!("[[sim status={status}]]")).await, CallError::Rejected { status });
    }
    for status in [401, 402, 403] {
        assert_eq!(error_of(&format!("[[sim status={status}]]")).await, CallError::Configuration { status });
    }
    for status in [500, 502, 529] {
        assert_eq!(
            error_of(&format!("[[sim status={status}]]")).await,
            CallError::Failed { status: Some(status) }
        );
    }
    let too_long = error_of("[[sim status=400 error=context_length_exceeded]]").await;
    assert_eq!(too_long, CallError::ContextTooLong);
    let busy = |retry_after| CallError::Busy { retry_after };
    assert_eq!(error_of("[[sim status=429]]").await, busy(None));
    assert_eq!(error_of("[[sim status=429 retry_after=2]]").await, busy(Some(Duration::from_secs(2))));
    assert_eq!(error_of("[[sim status=429 retry_after=-1]]").await, busy(None));
}

#[tokio::test]
async fn an_error_behind_a_200_is_an_error() {
    assert_eq!(error_of("[[sim error_in_200 error=429]]").await, CallError::Busy { retry_after: None });
    assert_eq!(error_of("[[sim error_after=0]]").await, CallError::Failed { status: Some(502) });
    assert_eq!(
        error_of("[[sim error_after=3 error=insufficient_quota]]").await,
        CallError::Configuration { status: 402 }
    );
}

#[tokio::test]
async fn text_before_a_fault_is_seen_and_yet_no_answer() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    for (directive, error) in [
        ("[[sim cut_after=3]]", CallError::Truncated),
        ("[[sim error_after=3]]", CallError::Failed { status: Some(502) }),
        ("[[sim cut_after=3 chunk_ms=5]]", CallError::Truncated),
    ] {
        assert_eq!(
            answer(&gateway, directive).await.unwrap_err(),
            ("You said \"\" ".to_owned(), error),
            "{directive}"
        );
    }
}

#[tokio::test]
async fn only_an_explicit_finish_ends_an_answer() {
    assert_eq!(error_of("[[sim finish=none]]").await, CallError::Truncated);
    assert_eq!(error_of("[[sim finish=none no_done]]").await, CallError::Truncated);
    assert_eq!(error_of("[[sim cut_after=1000]]").await, CallError::Truncated);
    assert_eq!(error_of("[[sim empty]]").await, CallError::EmptyAnswer);
    assert_eq!(error_of("[[sim finish=content_filter]]").await, CallError::ContentFiltered);
    assert_eq!(error_of("[[sim finish=tool_calls]]").await, CallError::UnsupportedFinish("tool_calls"));
    assert_eq!(error_of("[[sim finish=whatever]]").await, CallError::UnsupportedFinish("unknown"));
}

#[tokio::test]
async fn an_answer_cut_by_its_length_says_so() {
    let simulator = simulator().await;
    let (_, finish) = answer(&gateway(simulator.base_url(), PATIENT), "[[sim finish=length]]").await.unwrap();
    assert_eq!(finish.reason, FinishReason::Length);
}

#[tokio::test]
async fn a_silent_provider_is_left_at_the_deadline_it_missed() {
    let short = |phase| match phase {
        Phase::FirstToken => Timeouts { first_token_ms: 150, ..PATIENT },
        Phase::Idle => Timeouts { idle_ms: 150, ..PATIENT },
        _ => Timeouts { total_ms: 150, ..PATIENT },
    };
    for (directive, phase) in [
        ("[[sim hang]]", Phase::FirstToken),
        ("[[sim first_ms=60000]]", Phase::FirstToken),
        ("[[sim status=500 first_ms=60000]]", Phase::FirstToken),
        ("[[sim hang_after=3]]", Phase::Idle),
        ("[[sim hang]]", Phase::Total),
        ("[[sim hang_after=3]]", Phase::Total),
        ("[[sim chunk_ms=20 chunks=10000]]", Phase::Total),
    ] {
        assert_eq!(late(directive, short(phase)).await, CallError::TimedOut(phase), "{directive}");
    }
}

#[tokio::test]
async fn a_directive_with_an_unknown_key_is_rejected() {
    assert_eq!(error_of("[[sim fist_ms=1]]").await, CallError::Rejected { status: 400 });
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    let mut answering = gateway.call(prompt("[[sim hang_after=2]]", "streaming:1")).await.unwrap();
    answering.next().await.unwrap();
    drop(answering);
    assert_eq!(ended(&simulator, "streaming:1").await, Ended::ClientGone);

    let calling = gateway.call(prompt("[[sim hang]]", "waiting:1"));
    tokio::select! {
        _ = calling => panic!("the simulator hangs"),
        () = async { while simulator.counters().running == 0 { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(ended(&simulator, "waiting:1").await, Ended::ClientGone);
}

#[tokio::test]
async fn a_call_that_failed_leaves_its_connection_closed() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), Timeouts { idle_ms: 100, ..PATIENT });
    let mut answering = gateway.call(prompt("[[sim hang_after=2]]", "t:1")).await.unwrap();
    while answering.next().await.is_ok() {}
    assert_eq!(ended(&simulator, "t:1").await, Ended::ClientGone);
    assert_eq!(answering.next().await, Err(CallError::Truncated));
}

#[tokio::test]
async fn a_cancelled_next_loses_nothing() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    let mut answering = gateway.call(prompt("[[sim chunk_ms=3]]", "t:1")).await.unwrap();
    let mut text = String::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(1), answering.next()).await {
            Ok(Ok(llm::Event::Delta(delta))) => text.push_str(&delta),
            Ok(Ok(llm::Event::Finished(_))) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
    assert_eq!(text, simulator::answer(&[Message::user("")]));
}

#[tokio::test]
async fn a_stopping_provider_cuts_its_answers() {
    let simulator = simulator().await;
    let gateway = gateway(simulator.base_url(), PATIENT);
    simulator.play(Script { hang_after: Some(1), ..Script::default() });
    let mut answering = gateway.call(prompt("hi", "t:1")).await.unwrap();
    answering.next().await.unwrap();
    simulator.stop().await;
    assert_eq!(read(answering).await.unwrap_err().1, CallError::Truncated);
    let unreachable = CallError::Unavailable("it refuses connections");
    assert_eq!(answer(&gateway, "hi").await.unwrap_err().1, unreachable);
}
