//! What every kind of provider passes: its own recorded stream in every form in which it can come, cut and split wherever
//! that is possible; a call that is not wanted any more, and a reader that is slow.

use std::time::{Duration, Instant};

use llm::{CallError, Event, FinishReason};
use tokio::time::{sleep, timeout};

use crate::{
    ask::{PATIENT, answer, pieces, prompt},
    dialects::{Dialect, TEXT, USAGE, dialects},
    raw::{Act, Raw},
};

/// More than the system holds of a connection that nobody reads, on both its ends.
const UNREAD_BYTES_MAX: usize = 32 << 20;

/// The recorded stream in all its forms, by name.
fn forms(stream: &str) -> [(&'static str, String); 7] {
    let comments = |stream: &str| format!(": x\n\n{}", stream.replace("\n\n", "\n: y\n\n:\n\n"));
    let lines = |stream: &str| stream.replace("data: {", "data: {\ndata:");
    let crlf = |stream: &str| stream.replace('\n', "\r\n");
    let mark = |stream: &str| format!("\u{feff}{stream}");
    [
        ("as it is", stream.to_owned()),
        ("with comments", comments(stream)),
        ("with data of several lines", lines(stream)),
        ("with CR LF", crlf(stream)),
        ("with CR", stream.replace('\n', "\r")),
        ("with a byte order mark", mark(stream)),
        ("with all of it", mark(&crlf(&comments(&lines(stream))))),
    ]
}

/// The stream is answered whole, however its bytes are sent.
async fn comes_whole(dialect: &Dialect, form: &str, plays: Vec<Vec<Act>>) {
    let calls = plays.len();
    let raw = Raw::playing(plays).await;
    let gateway = dialect.gateway(raw.base_url(), PATIENT);
    for call in 0..calls {
        let answered = answer(&gateway, "hi").await;
        assert!(answered.is_ok(), "{:?} {form}, {call}: {answered:?}", dialect.kind);
        let (text, finish) = answered.unwrap();
        assert_eq!((text.as_str(), finish.reason), (TEXT, FinishReason::Stop), "{:?} {form}", dialect.kind);
        assert_eq!(finish.usage, Some(USAGE), "{:?} {form}", dialect.kind);
    }
}

#[tokio::test]
async fn a_stream_is_understood_in_every_form() {
    for dialect in dialects() {
        for (form, stream) in forms(dialect.recorded) {
            let drip = dialect.chunked(stream.as_bytes().chunks(1));
            let plays = [dialect.stream(&stream), drip].map(|response| vec![Act::Send(response)]);
            comes_whole(&dialect, form, plays.into()).await;
        }
    }
}

/// In the recorded streams it stands before an event that says nothing.
#[tokio::test]
async fn a_byte_order_mark_costs_no_event() {
    for dialect in dialects() {
        let body = format!("\u{feff}{}{}", dialect.delta(TEXT), dialect.finish);
        let raw = Raw::playing(vec![vec![Act::Send(dialect.stream(body))]]).await;
        let answered = answer(&dialect.gateway(raw.base_url(), PATIENT), "hi").await;
        assert_eq!(answered.map(|(text, _)| text), Ok(TEXT.to_owned()), "{:?}", dialect.kind);
    }
}

#[tokio::test]
async fn a_stream_may_be_split_anywhere() {
    for dialect in dialects() {
        let [(form, plain), .., (all, odd)] = forms(dialect.recorded);
        for (form, stream) in [(form, plain), (all, odd)] {
            let halves = |at| <[&[u8]; 2]>::from(stream.as_bytes().split_at(at));
            let split = |at| vec![Act::Send(dialect.chunked(halves(at).into_iter()))];
            comes_whole(&dialect, form, (1..stream.len()).map(split).collect()).await;
        }
    }
}

/// Cuts after every byte of the body: gracefully, as an end without a length, and as a break of a chunked body.
#[tokio::test]
async fn a_cut_stream_is_never_complete() {
    for dialect in dialects() {
        let broken_chunk = [&dialect.chunked_head(), b"ffff\r\n".as_slice()].concat();
        for head in [dialect.head(), broken_chunk] {
            let body = dialect.recorded.as_bytes();
            let cut = |at: usize| vec![Act::Send([&head, &body[..at]].concat())];
            // The whole first, to compare with.
            let ends = [body.len()].into_iter().chain(0..body.len());
            let raw = Raw::playing(ends.clone().map(cut).collect()).await;
            let gateway = dialect.gateway(raw.base_url(), PATIENT);
            let mut whole = Vec::new();
            for at in ends {
                let (pieces, end) = pieces(&gateway, "hi").await;
                if at == body.len() {
                    whole.clone_from(&pieces);
                }
                assert!(whole.starts_with(&pieces), "{:?} cut at {at}: {pieces:?}", dialect.kind);
                if at < dialect.until_finish() {
                    assert_eq!(end, Err(CallError::Truncated), "{:?} cut at {at}", dialect.kind);
                } else {
                    let reason = end.map(|finish| finish.reason);
                    assert_eq!(
                        (reason, pieces),
                        (Ok(FinishReason::Stop), whole.clone()),
                        "{:?} cut at {at}",
                        dialect.kind
                    );
                }
            }
            assert_eq!(whole.concat(), TEXT);
        }
    }
}

#[tokio::test]
async fn a_refusal_is_understood_wherever_it_stands() {
    for dialect in dialects() {
        for (status, body, error) in &dialect.refusals {
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}"
            );
            let mut responses = vec![head.into_bytes()];
            if *status == 200 {
                responses.push(dialect.stream(format!("data: {body}\n\n")));
                responses.push(dialect.stream(dialect.delta("hi") + &format!("data: {body}\n\n")));
            }
            for response in responses {
                let raw = Raw::playing(vec![vec![Act::Send(response)]]).await;
                let (_, end) = pieces(&dialect.gateway(raw.base_url(), PATIENT), "hi").await;
                assert_eq!(end.as_ref(), Err(error), "{:?}: {status} {body}", dialect.kind);
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_is_not_wanted_closes_its_connection() {
    for dialect in dialects() {
        let streaming = vec![Act::Send(dialect.stream(dialect.delta("one"))), Act::Hold];
        let raw = Raw::playing(vec![vec![Act::Hold], streaming]).await;
        let gateway = dialect.gateway(raw.base_url(), PATIENT);
        let waiting = gateway.call(prompt("hi", "waiting:1"));
        assert!(timeout(Duration::from_millis(200), waiting).await.is_err(), "{:?}", dialect.kind);
        let gone = timeout(Duration::from_secs(1), raw.gone(1)).await;
        assert!(gone.is_ok(), "{:?}: nothing was answered yet", dialect.kind);

        let mut answering = gateway.call(prompt("hi", "streaming:1")).await.unwrap();
        assert_eq!(answering.next().await, Ok(Event::Delta("one".to_owned())));
        drop(answering);
        let gone = timeout(Duration::from_secs(1), raw.gone(2)).await;
        assert!(gone.is_ok(), "{:?}: an answer was on its way", dialect.kind);
    }
}

/// What is not read is not taken from the provider either, beyond what the system holds of a connection.
#[tokio::test]
async fn a_slow_reader_holds_its_provider_back() {
    for dialect in dialects() {
        let delta = dialect.delta(&"x".repeat(1000)).repeat(16);
        let empty = Act::Repeat(delta.into_bytes(), Duration::ZERO);
        let raw = Raw::playing(vec![vec![Act::Send(dialect.head()), empty]]).await;
        let mut answering = dialect.gateway(raw.base_url(), PATIENT).call(prompt("hi", "t:1")).await.unwrap();
        answering.next().await.unwrap();
        let (begun, mut sent) = (Instant::now(), usize::MAX);
        while sent != raw.sent() {
            sent = raw.sent();
            assert!(
                sent < UNREAD_BYTES_MAX,
                "{:?} is read by nobody, and yet sends {sent} bytes",
                dialect.kind
            );
            assert!(begun.elapsed() < Duration::from_secs(20), "{:?} goes on sending", dialect.kind);
            sleep(Duration::from_millis(300)).await;
        }
        for _ in 0..500 {
            answering.next().await.unwrap();
        }
        drop(answering);
        timeout(Duration::from_secs(1), raw.gone(1)).await.unwrap();
    }
}
