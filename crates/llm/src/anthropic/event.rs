//! One event of the stream. Its kind stands in the data as well as beside it, so the data alone is read.

use serde::Deserialize;
use serde_json::Value;

use super::refusal;
use crate::{
    answer::{Counts, FinishReason, Piece},
    error::CallError,
    lossy::Lossy,
};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    r#type: Lossy<'a>,
    message: Option<Begun>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Begun {
    usage: Option<Tokens>,
}

/// Of a block or of the message.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    r#type: Option<Lossy<'a>>,
    #[serde(borrow)]
    text: Option<Lossy<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Lossy<'a>>,
}

#[derive(Deserialize)]
struct Tokens {
    input_tokens: Option<f64>,
    cache_creation_input_tokens: Option<f64>,
    cache_read_input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

/// What the data of one event says. An error inside it is the call's error; a kind that is not known here says nothing.
pub(super) fn decode(data: &[u8]) -> Result<Piece<'_>, CallError> {
    if data.is_empty() {
        return Ok(Piece::default());
    }
    let event: Event<'_> = serde_json::from_slice(data).map_err(|_| CallError::Malformed)?;
    let mut piece = Piece::default();
    match &*event.r#type.0 {
        "error" => return Err(refusal::in_stream(&event.error.unwrap_or_default())),
        "message_start" => piece.usage = counts(event.message.and_then(|message| message.usage)),
        "content_block_delta" => {
            let delta = event.delta.ok_or(CallError::Malformed)?;
            match delta.r#type.as_ref().map(|kind| &*kind.0) {
                Some("text_delta") => piece.text = delta.text.unwrap_or_default().0,
                Some("thinking_delta" | "signature_delta") => piece.thinking = true,
                _ => {}
            }
        }
        "message_delta" => {
            piece.usage = counts(event.usage);
            piece.finish = finish(event.delta.and_then(|delta| delta.stop_reason))?;
        }
        "message_stop" => piece.last = true,
        _ => {}
    }
    Ok(piece)
}

fn finish(reason: Option<Lossy<'_>>) -> Result<Option<FinishReason>, CallError> {
    match reason.unwrap_or_default().0.as_ref() {
        "" => Ok(None),
        "end_turn" | "stop_sequence" => Ok(Some(FinishReason::Stop)),
        "max_tokens" | "model_context_window_exceeded" => Ok(Some(FinishReason::Length)),
        "refusal" => Err(CallError::ContentFiltered),
        "tool_use" => Err(CallError::UnsupportedFinish("tool_use")),
        "pause_turn" => Err(CallError::UnsupportedFinish("pause_turn")),
        _ => Err(CallError::UnsupportedFinish("unknown")),
    }
}

/// What makes no sense is left out. Tokens that came from a cache, or went into one, were read as well.
fn counts(tokens: Option<Tokens>) -> Counts {
    let Some(tokens) = tokens else { return Counts::default() };
    let count = |tokens: f64| (0.0..=f64::from(u32::MAX)).contains(&tokens).then_some(tokens as u32);
    let cached = [tokens.cache_creation_input_tokens, tokens.cache_read_input_tokens];
    let read = tokens.input_tokens.map(|input| input + cached.into_iter().flatten().sum::<f64>());
    Counts { prompt_tokens: read.and_then(count), completion_tokens: tokens.output_tokens.and_then(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped_by(reason: &str) -> Result<Option<FinishReason>, CallError> {
        let data = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{reason}}},"usage":{{}}}}"#);
        decode(data.as_bytes()).map(|piece| piece.finish)
    }

    #[test]
    fn each_kind_of_event_says_its_own() {
        let start =
            br#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],
            "usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}}}"#;
        let usage = Counts { prompt_tokens: Some(15), completion_tokens: Some(1) };
        assert_eq!(decode(start).unwrap(), Piece { usage, ..Piece::default() });
        let text =
            br#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi \"you\""}}"#;
        assert_eq!(decode(text).unwrap(), Piece { text: "hi \"you\"".into(), ..Piece::default() });
        let thinking =
            br#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#;
        assert_eq!(decode(thinking).unwrap(), Piece { thinking: true, ..Piece::default() });
        let end =
            br#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#;
        let usage = Counts { prompt_tokens: None, completion_tokens: Some(7) };
        let expected = Piece { finish: Some(FinishReason::Stop), usage, ..Piece::default() };
        assert_eq!(decode(end).unwrap(), expected);
        assert_eq!(decode(br#"{"type":"message_stop"}"#).unwrap(), Piece { last: true, ..Piece::default() });
        for quiet in [
            "",
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"something_new","delta":{"type":"x"}}"#,
        ] {
            assert_eq!(decode(quiet.as_bytes()).unwrap(), Piece::default(), "{quiet}");
        }
    }

    #[test]
    fn each_stop_reason_has_its_meaning() {
        assert_eq!(stopped_by("null"), Ok(None));
        for reason in [r#""end_turn""#, r#""stop_sequence""#] {
            assert_eq!(stopped_by(reason), Ok(Some(FinishReason::Stop)));
        }
        for reason in [r#""max_tokens""#, r#""model_context_window_exceeded""#] {
            assert_eq!(stopped_by(reason), Ok(Some(FinishReason::Length)));
        }
        assert_eq!(stopped_by(r#""refusal""#), Err(CallError::ContentFiltered));
        assert_eq!(stopped_by(r#""tool_use""#), Err(CallError::UnsupportedFinish("tool_use")));
        assert_eq!(stopped_by(r#""sk-secret""#), Err(CallError::UnsupportedFinish("unknown")));
    }

    #[test]
    fn an_error_in_the_stream_is_the_calls_error() {
        let error = |kind: &str| {
            let data = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"sk-secret"}}}}"#);
            decode(data.as_bytes()).unwrap_err()
        };
        assert_eq!(error("overloaded_error"), CallError::Busy { retry_after: None });
        assert_eq!(error("api_error"), CallError::Failed { status: Some(500) });
        assert_eq!(error("new_error"), CallError::Failed { status: None });
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for data in ["<html>", "{", "[]", "{}", r#"{"type":"content_block_delta"}"#, r#"{"type":1}"#] {
            assert_eq!(decode(data.as_bytes()), Err(CallError::Malformed), "{data}");
        }
    }

    #[test]
    fn counts_that_make_no_sense_are_left_out() {
        let data = br#"{"type":"message_delta","delta":{},"usage":{"input_tokens":-1,"output_tokens":1e30}}"#;
        assert_eq!(decode(data).unwrap().usage, Counts::default());
    }
}
