//! Providers that do what none should: garbled, oversized, endless, elsewhere. Every kind is tried with all of it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use llm::{ANSWER_BYTES_MAX, CallError, Event, Phase, Timeouts};

use crate::{
    ask::{KEY, PATIENT, answer, prompt},
    dialects::{Dialect, dialects},
    raw::{Act, DONE, Raw, response},
};

async fn error_of(dialect: &Dialect, timeouts: Timeouts, play: Vec<Act>) -> CallError {
    let raw = Raw::playing(vec![play]).await;
    answer(&dialect.gateway(raw.base_url(), timeouts), "hi").await.unwrap_err().1
}

/// What no kind takes for an answer.
fn faulty(dialect: &Dialect) -> Vec<(&'static str, Vec<u8>, CallError)> {
    let page = "<!doctype html>\n<title>Welcome</title>\n";
    let answered = dialect.delta("hi") + dialect.finish;
    let stream = |body: String| dialect.stream(body);
    let half = dialect.delta(&"x".repeat(ANSWER_BYTES_MAX / 2));
    vec![
        ("a page", response("200 OK", "text/html", page), CallError::Malformed),
        ("a page that calls itself a stream", stream(page.to_owned()), CallError::Truncated),
        ("another type", response("200 OK", "application/x-ndjson", &answered), CallError::Malformed),
        ("an object", response("200 OK", "application/json", "{}"), CallError::Malformed),
        ("nothing", response("204 No Content", "text/event-stream", ""), CallError::Malformed),
        ("broken JSON", stream(dialect.delta("hi") + "data: {\"choices\":\n\n"), CallError::Malformed),
        ("no JSON", stream(dialect.delta("hi") + "data: <html>\n\n" + &answered), CallError::Malformed),
        ("an event of an array", stream("data: []\n\n".to_owned() + &answered), CallError::Malformed),
        ("half an event", stream(dialect.delta("hi").trim_end().to_owned()), CallError::Truncated),
        ("no word", stream(dialect.delta("") + dialect.finish), CallError::EmptyAnswer),
        ("a huge answer", stream(half.repeat(2) + &answered), CallError::TooLarge),
        ("a huge line", stream("x".repeat(ANSWER_BYTES_MAX + 1)), CallError::TooLarge),
        ("a huge event", stream("data: x\n".repeat(ANSWER_BYTES_MAX / 2 + 1)), CallError::TooLarge),
    ]
}

#[tokio::test]
async fn what_is_no_answer_is_named() {
    for dialect in dialects() {
        for (what, response, error) in faulty(&dialect) {
            let end = error_of(&dialect, PATIENT, vec![Act::Send(response)]).await;
            assert_eq!(end, error, "{:?}: {what}", dialect.kind);
        }
    }
}

#[tokio::test]
async fn nothing_follows_an_error() {
    for dialect in dialects() {
        let body = dialect.delta("one") + "data: <html>\n\n" + &dialect.delta("two") + dialect.finish + DONE;
        let raw = Raw::playing(vec![vec![Act::Send(dialect.stream(body))]]).await;
        let mut answering = dialect.gateway(raw.base_url(), PATIENT).call(prompt("hi", "t:1")).await.unwrap();
        assert_eq!(answering.next().await, Ok(Event::Delta("one".to_owned())));
        assert_eq!(answering.next().await, Err(CallError::Malformed));
        assert_eq!(answering.next().await, Err(CallError::Truncated));
    }
}

#[tokio::test]
async fn text_that_is_no_unicode_is_replaced_and_all_other_text_is_not() {
    let markup = "</script>\u{1b}[31m\u{202e}\u{7f}\r\n😀";
    for dialect in dialects() {
        let mut body = dialect.raw_delta(b"a\xffb\\u0000c\xf0\x9f\x98");
        body.extend(dialect.raw_delta(br"d\ud83de"));
        body.extend((dialect.delta(markup) + dialect.finish).bytes());
        let raw = Raw::playing(vec![vec![Act::Send(dialect.chunked(body.chunks(1)))]]).await;
        let (text, _) = answer(&dialect.gateway(raw.base_url(), PATIENT), "hi").await.unwrap();
        let surrogate =
            text.strip_prefix("a\u{fffd}b\u{fffd}c\u{fffd}d").and_then(|it| it.strip_suffix(markup));
        let surrogate = surrogate.unwrap_or_else(|| panic!("{:?}: {text:?}", dialect.kind));
        assert_eq!(surrogate.trim_start_matches('\u{fffd}'), "e", "{:?}: {text:?}", dialect.kind);
    }
}

#[tokio::test]
async fn a_million_empty_deltas_are_no_answer() {
    for dialect in dialects() {
        let deltas = Act::Times(dialect.delta("").repeat(1_000).into_bytes(), 1_000);
        let play = vec![Act::Send(dialect.head()), deltas, Act::Send(dialect.finish.into())];
        let end = error_of(&dialect, PATIENT, play).await;
        assert_eq!(end, CallError::EmptyAnswer, "{:?}", dialect.kind);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for dialect in dialects() {
        let target = Raw::streaming(dialect.delta("secret") + dialect.finish).await;
        for status in [301, 302, 303, 307, 308] {
            let head = format!(
                "HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
                target.base_url()
            );
            let end = error_of(&dialect, PATIENT, vec![Act::Send(head.into())]).await;
            assert_eq!(end, CallError::Configuration { status }, "{:?}", dialect.kind);
        }
        assert_eq!(target.requests().len(), 0, "{:?}", dialect.kind);
    }
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    for dialect in dialects() {
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        let end = error_of(&dialect, PATIENT, vec![Act::Send(endless.into())]).await;
        assert!(matches!(end, CallError::Unavailable(_)), "{:?}: {end}", dialect.kind);
    }
}

/// Heads that announce another one, without end: each is whole, and none is the answer's.
#[tokio::test]
async fn a_flood_of_announcements_is_no_beginning() {
    let timeouts = Timeouts { first_token_ms: 600, ..PATIENT };
    for dialect in dialects() {
        for (head, pause) in [
            ("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", Duration::ZERO),
            ("HTTP/1.1 102 Processing\r\n\r\n", Duration::from_millis(5)),
        ] {
            let flood = Act::Repeat(head.repeat(20).into(), pause);
            let asked = Instant::now();
            let end = error_of(&dialect, timeouts.clone(), vec![flood]).await;
            assert_eq!(end, CallError::TimedOut(Phase::FirstToken), "{:?}: {head}", dialect.kind);
            assert!(asked.elapsed() < Duration::from_secs(3), "{:?}: {head}", dialect.kind);
        }
    }
}

#[tokio::test]
async fn a_refusal_without_end_is_understood_by_its_status() {
    for dialect in dialects() {
        let head = response("503 Service Unavailable", "text/plain", "");
        let asked = Instant::now();
        let endless = vec![Act::Send(head), Act::Repeat(vec![b' '; 4096], Duration::ZERO)];
        let end = error_of(&dialect, PATIENT, endless).await;
        assert_eq!(end, CallError::Failed { status: Some(503) }, "{:?}", dialect.kind);
        assert!(
            asked.elapsed() < Duration::from_millis(1_500),
            "64 KiB take no time, and nothing else is read"
        );
    }
}

#[tokio::test]
async fn comments_and_empty_deltas_are_signs_of_life_and_no_answer() {
    let timeouts = Timeouts { idle_ms: 400, first_token_ms: 900, ..PATIENT };
    let each = dialects();
    let calls = each.iter().flat_map(|dialect| {
        let comment = || ": PROCESSING\n\n".to_owned();
        let signs = [
            (comment(), 0, Phase::FirstToken),
            (comment(), 20, Phase::FirstToken),
            (comment(), 60_000, Phase::Idle),
            (dialect.delta(""), 20, Phase::FirstToken),
        ];
        let timeouts = &timeouts;
        signs.map(|(sign, pause_ms, phase)| async move {
            let repeat = Act::Repeat(sign.clone().into(), Duration::from_millis(pause_ms));
            let end = error_of(dialect, timeouts.clone(), vec![Act::Send(dialect.head()), repeat]).await;
            assert_eq!(end, CallError::TimedOut(phase), "{:?}: {sign:?} each {pause_ms} ms", dialect.kind);
        })
    });
    join_all(calls).await;
}

#[tokio::test]
async fn no_error_repeats_what_the_provider_said() {
    let error = format!(r#"{{"message":"bad key {KEY}","type":"{KEY}","code":"{KEY}","param":"{KEY}"}}"#);
    for dialect in dialects() {
        let echo = format!(r#"{{"type":"error","error":{error}}}"#);
        let finish = dialect.finish_because(KEY);
        assert!(finish.contains(KEY), "{:?} has another word for a good end", dialect.kind);
        for response in [
            response("401 Unauthorized", "application/json", &echo),
            response("400 Bad Request", "application/json", &echo),
            response("500 Internal Server Error", "text/plain", KEY),
            response("200 OK", "application/json", &echo),
            response("200 OK", "text/html", KEY),
            dialect.stream(format!("data: {echo}\n\n")),
            dialect.stream(format!("data: {KEY}\n\n")),
            dialect.stream(dialect.delta("hi") + &finish),
            format!("HTTP/1.1 {KEY}\r\n\r\n").into(),
        ] {
            let error = error_of(&dialect, PATIENT, vec![Act::Send(response)]).await;
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains("secret"), "{:?}: {printed}", dialect.kind);
        }
    }
}
