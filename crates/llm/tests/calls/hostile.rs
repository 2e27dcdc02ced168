//! Streams no script of the simulator's makes: cut at every byte, endless, garbled.

use std::time::{Duration, Instant};

use llm::{ANSWER_BYTES_MAX, CallError, Event, Phase, Timeouts, Usage};

use crate::{
    ask::{KEY, PATIENT, answer, gateway, prompt},
    raw::{Act, DONE, FINISH, Raw, USAGE, delta, response, stream},
};

async fn error_of(response: Vec<u8>) -> CallError {
    let raw = Raw::playing(vec![vec![Act::Send(response)]]).await;
    answer(&gateway(raw.base_url(), PATIENT), "hi").await.unwrap_err().1
}

/// Cuts after every byte of the body: gracefully, as an end without a length, and as a break of a chunked body.
#[tokio::test]
async fn a_cut_stream_is_never_complete() {
    let text = "zwölf \"Boxkämpfer\" 😀";
    let until_finish: String = text.split_inclusive(' ').map(delta).collect::<String>() + FINISH;
    let body = format!("{until_finish}{USAGE}{DONE}");
    let chunked =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n";
    for head in [stream(""), chunked.to_vec()] {
        let cut = |at: usize| vec![Act::Send([&head, &body.as_bytes()[..at]].concat())];
        let raw = Raw::playing((0..=body.len()).map(cut).collect()).await;
        let gateway = gateway(raw.base_url(), PATIENT);
        for at in 0..=body.len() {
            match answer(&gateway, "hi").await {
                Ok((whole, _)) => {
                    assert!(at >= until_finish.len(), "complete though cut at {at}");
                    assert_eq!(whole, text, "cut at {at}");
                }
                Err((part, error)) => {
                    assert!(at < until_finish.len(), "{error} though finished at {at}");
                    assert_eq!(error, CallError::Truncated, "cut at {at}");
                    assert!(text.starts_with(&part), "cut at {at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_finish_counts_whatever_comes_or_does_not_come_after_it() {
    let usage = Some(Usage { prompt_tokens: 5, completion_tokens: 3 });
    let begin = delta("hi") + FINISH;
    let pause = Act::Wait(Duration::from_millis(50));
    let send = |text: &str| Act::Send(text.into());
    let plays = [
        (vec![], None),
        (vec![send(DONE)], None),
        (vec![send(USAGE)], usage),
        (vec![pause.clone(), send(USAGE), pause, send(DONE)], usage),
        (vec![send(USAGE), send(DONE), send(DONE), send("data: <html>\n\n")], usage),
        (vec![Act::Hold], None),
        (vec![send(DONE), Act::Hold], None),
        (vec![send(USAGE), Act::Repeat(b": PROCESSING\n\n".into(), Duration::from_millis(20))], usage),
    ];
    for (play, usage) in plays {
        let play = [vec![Act::Send(stream(&begin))], play].concat();
        let raw = Raw::playing(vec![play]).await;
        let gateway = gateway(raw.base_url(), Timeouts { idle_ms: 500, ..PATIENT });
        let asked = Instant::now();
        let (text, finish) = answer(&gateway, "hi").await.unwrap();
        assert_eq!((text.as_str(), finish.usage), ("hi", usage));
        assert!(asked.elapsed() < Duration::from_secs(5), "what follows is waited for, but not long");
    }
}

#[tokio::test]
async fn what_is_no_stream_is_malformed() {
    let page = "<html>welcome</html>";
    assert_eq!(error_of(response("200 OK", "text/html", page)).await, CallError::Malformed);
    assert_eq!(
        error_of(response("200 OK", "application/json", r#"{"choices":[]}"#)).await,
        CallError::Malformed
    );
    assert_eq!(error_of(response("204 No Content", "text/event-stream", "")).await, CallError::Malformed);
    assert_eq!(error_of(stream(delta("hi") + "data: {\"choices\":\n\n")).await, CallError::Malformed);
    assert_eq!(error_of(stream(page)).await, CallError::Truncated);
}

#[tokio::test]
async fn nothing_follows_an_error() {
    let body = delta("one") + "data: <html>\n\n" + &delta("two") + FINISH + DONE;
    let raw = Raw::streaming(body).await;
    let mut answering = gateway(raw.base_url(), PATIENT).call(prompt("hi", "t:1")).await.unwrap();
    assert_eq!(answering.next().await, Ok(Event::Delta("one".to_owned())));
    assert_eq!(answering.next().await, Err(CallError::Malformed));
    assert_eq!(answering.next().await, Err(CallError::Truncated));
}

#[tokio::test]
async fn bytes_that_are_no_text_are_replaced_and_split_characters_are_not() {
    let smile = "😀".as_bytes();
    let event =
        |text: &[u8]| [b"data: {\"choices\":[{\"delta\":{\"content\":\"", text, b"\"}}]}\n\n"].concat();
    let body = [event(b"a\xffb\\u0000c"), event(smile), FINISH.into()].concat();
    let bytes = stream(body).into_iter().flat_map(|byte| [Act::Send(vec![byte]), Act::Wait(Duration::ZERO)]);
    let raw = Raw::playing(vec![bytes.collect()]).await;
    let (text, _) = answer(&gateway(raw.base_url(), PATIENT), "hi").await.unwrap();
    assert_eq!(text, "a\u{fffd}b\u{fffd}c😀");
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_refused() {
    let half = delta(&"x".repeat(ANSWER_BYTES_MAX / 2));
    assert_eq!(error_of(stream(half.repeat(2) + &delta("x") + FINISH)).await, CallError::TooLarge);
    assert_eq!(error_of(stream("x".repeat(ANSWER_BYTES_MAX + 1))).await, CallError::TooLarge);
    assert_eq!(error_of(stream("data: x\n".repeat(ANSWER_BYTES_MAX / 2 + 1))).await, CallError::TooLarge);
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    assert!(matches!(error_of(endless.into()).await, CallError::Unavailable(_)));
}

#[tokio::test]
async fn a_refusal_without_end_is_understood_by_its_status() {
    let head = response("503 Service Unavailable", "text/plain", "");
    let raw = Raw::playing(vec![vec![Act::Send(head), Act::Repeat(vec![b' '; 4096], Duration::ZERO)]]).await;
    let asked = Instant::now();
    let error = answer(&gateway(raw.base_url(), PATIENT), "hi").await.unwrap_err().1;
    assert_eq!(error, CallError::Failed { status: Some(503) });
    assert!(asked.elapsed() < Duration::from_millis(1_500), "64 KiB take no time, and nothing else is read");
}

#[tokio::test]
async fn comments_and_empty_deltas_are_signs_of_life_and_no_answer() {
    let comment = || ": PROCESSING\n\n".to_owned();
    let timeouts = Timeouts { idle_ms: 400, first_token_ms: 900, ..PATIENT };
    for (sign, pause_ms, phase) in [
        (comment(), 0, Phase::FirstToken),
        (comment(), 20, Phase::FirstToken),
        (comment(), 60_000, Phase::Idle),
        (delta(""), 20, Phase::FirstToken),
    ] {
        let repeat = Act::Repeat(sign.clone().into(), Duration::from_millis(pause_ms));
        let raw = Raw::playing(vec![vec![Act::Send(stream("")), repeat]]).await;
        let error = answer(&gateway(raw.base_url(), timeouts.clone()), "hi").await.unwrap_err().1;
        assert_eq!(error, CallError::TimedOut(phase), "{sign:?} each {pause_ms} ms");
    }
}

#[tokio::test]
async fn a_flood_of_empty_deltas_is_no_answer() {
    assert_eq!(error_of(stream(delta("").repeat(100_000) + FINISH)).await, CallError::EmptyAnswer);
}

#[tokio::test]
async fn a_thinking_model_is_not_taken_for_a_silent_one() {
    let thought = "data: {\"choices\":[{\"delta\":{\"content\":\"\",\"reasoning\":\"hm\"}}]}\n\n";
    let pause = Act::Wait(Duration::from_millis(500));
    let end = Act::Send((delta("hi") + FINISH).into());
    let raw = Raw::playing(vec![vec![Act::Send(stream(thought)), pause, end]]).await;
    let gateway = gateway(raw.base_url(), Timeouts { first_token_ms: 250, ..PATIENT });
    assert_eq!(answer(&gateway, "hi").await.unwrap().0, "hi");
}

#[tokio::test]
async fn no_error_repeats_what_the_provider_said() {
    let echo =
        format!(r#"{{"error":{{"message":"bad key {KEY}","type":"{KEY}","code":"{KEY}","param":"{KEY}"}}}}"#);
    let finish = FINISH.replace("stop", KEY);
    for response in [
        response("401 Unauthorized", "application/json", &echo),
        response("400 Bad Request", "application/json", &echo),
        response("500 Internal Server Error", "text/plain", KEY),
        response("200 OK", "application/json", &echo),
        response("200 OK", "text/html", KEY),
        stream(format!("data: {echo}\n\n")),
        stream(format!("data: {KEY}\n\n")),
        stream(delta("hi") + &finish),
        format!("HTTP/1.1 {KEY}\r\n\r\n").into(),
    ] {
        let error = error_of(response).await;
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
