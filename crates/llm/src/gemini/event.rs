//! One event of the stream: a part of the answer, with the consumption so far.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::refusal;
use crate::{
    answer::{Counts, FinishReason, Piece},
    error::CallError,
    lossy::Lossy,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Lossy<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Lossy<'a>>,
    thought: Option<bool>,
    function_call: Option<IgnoredAny>,
}

/// What the provider thinks of the prompt.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Lossy<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    prompt_token_count: Option<f64>,
    candidates_token_count: Option<f64>,
    thoughts_token_count: Option<f64>,
}

/// What the data of one event says. None is called the last: the body ends after the finish.
pub(super) fn decode(data: &[u8]) -> Result<Piece<'_>, CallError> {
    if data.is_empty() {
        return Ok(Piece::default());
    }
    let event: Event<'_> = serde_json::from_slice(data).map_err(|_| CallError::Malformed)?;
    if let Some(error) = event.error {
        return Err(refusal::in_stream(&error));
    }
    let blocked = event.prompt_feedback.and_then(|it| it.block_reason).unwrap_or_default().0;
    if !matches!(&*blocked, "" | "BLOCK_REASON_UNSPECIFIED") {
        return Err(CallError::ContentFiltered);
    }
    let mut piece = Piece { usage: counts(event.usage_metadata), ..Piece::default() };
    // One is asked for.
    let Some(candidate) = event.candidates.into_iter().flatten().next() else { return Ok(piece) };
    for part in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
        if part.function_call.is_some() {
            return Err(CallError::UnsupportedFinish("functionCall"));
        }
        let text = part.text.unwrap_or_default().0;
        if part.thought == Some(true) {
            piece.thinking = true;
        } else if piece.text.is_empty() {
            piece.text = text;
        } else {
            piece.text = Cow::Owned(piece.text.into_owned() + &text);
        }
    }
    piece.finish = finish(&candidate.finish_reason.unwrap_or_default().0)?;
    Ok(piece)
}

fn finish(reason: &str) -> Result<Option<FinishReason>, CallError> {
    const UNSUPPORTED: [&str; 6] = [
        "LANGUAGE",
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
    ];
    match reason {
        "" | "FINISH_REASON_UNSPECIFIED" => Ok(None),
        "STOP" => Ok(Some(FinishReason::Stop)),
        "MAX_TOKENS" => Ok(Some(FinishReason::Length)),
        "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" => {
            Err(CallError::ContentFiltered)
        }
        other => {
            let known = UNSUPPORTED.into_iter().find(|it| *it == other);
            Err(CallError::UnsupportedFinish(known.unwrap_or("unknown")))
        }
    }
}

/// What makes no sense is left out. Thoughts are generated, and charged, as the answer is.
fn counts(tokens: Option<Tokens>) -> Counts {
    let Some(tokens) = tokens else { return Counts::default() };
    let count = |tokens: f64| (0.0..=f64::from(u32::MAX)).contains(&tokens).then_some(tokens as u32);
    let generated = match (tokens.candidates_token_count, tokens.thoughts_token_count) {
        (Some(answer), thoughts) => Some(answer + thoughts.unwrap_or_default()),
        (None, thoughts) => thoughts,
    };
    Counts {
        prompt_tokens: tokens.prompt_token_count.and_then(count),
        completion_tokens: generated.and_then(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished_by(reason: &str) -> Result<Option<FinishReason>, CallError> {
        let data = format!(r#"{{"candidates":[{{"finishReason":{reason},"index":0}}]}}"#);
        decode(data.as_bytes()).map(|piece| piece.finish)
    }

    #[test]
    fn each_part_of_an_event_says_its_own() {
        let whole = br#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true},
            {"text":"hi "},{"text":"\"you\"","thoughtSignature":"x"}]},"finishReason":"STOP","index":0}],
            "usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2,"thoughtsTokenCount":5,"totalTokenCount":17},
            "modelVersion":"m","responseId":"r"}"#;
        let expected = Piece {
            text: "hi \"you\"".into(),
            thinking: true,
            finish: Some(FinishReason::Stop),
            usage: Counts { prompt_tokens: Some(10), completion_tokens: Some(7) },
            last: false,
        };
        assert_eq!(decode(whole).unwrap(), expected);
        let begun = br#"{"usageMetadata":{"promptTokenCount":10,"thoughtsTokenCount":5}}"#;
        let usage = Counts { prompt_tokens: Some(10), completion_tokens: Some(5) };
        assert_eq!(decode(begun).unwrap(), Piece { usage, ..Piece::default() });
        for quiet in [
            "",
            "{}",
            r#"{"candidates":null,"promptFeedback":{"safetyRatings":[]}}"#,
            r#"{"candidates":[{"content":{"role":"model"}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"executableCode":{"code":"1"}}]}}],"new":[1]}"#,
        ] {
            assert_eq!(decode(quiet.as_bytes()).unwrap(), Piece::default(), "{quiet}");
        }
    }

    #[test]
    fn each_finish_reason_has_its_meaning() {
        for reason in ["null", r#""""#, r#""FINISH_REASON_UNSPECIFIED""#] {
            assert_eq!(finished_by(reason), Ok(None));
        }
        assert_eq!(finished_by(r#""STOP""#), Ok(Some(FinishReason::Stop)));
        assert_eq!(finished_by(r#""MAX_TOKENS""#), Ok(Some(FinishReason::Length)));
        for reason in ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"] {
            assert_eq!(finished_by(&format!("\"{reason}\"")), Err(CallError::ContentFiltered), "{reason}");
        }
        assert_eq!(finished_by(r#""LANGUAGE""#), Err(CallError::UnsupportedFinish("LANGUAGE")));
        assert_eq!(finished_by(r#""sk-secret""#), Err(CallError::UnsupportedFinish("unknown")));
    }

    #[test]
    fn what_cannot_be_shown_as_an_answer_is_an_error() {
        let blocked = br#"{"promptFeedback":{"blockReason":"NEW_REASON"},"usageMetadata":{}}"#;
        assert_eq!(decode(blocked), Err(CallError::ContentFiltered));
        let call = br#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{}}}]},"finishReason":"STOP"}]}"#;
        assert_eq!(decode(call), Err(CallError::UnsupportedFinish("functionCall")));
        let error = br#"{"error":{"code":503,"message":"sk-secret","status":"UNAVAILABLE"}}"#;
        assert_eq!(decode(error), Err(CallError::Failed { status: Some(503) }));
    }

    #[test]
    fn what_is_no_event_is_malformed() {
        for data in ["<html>", "{", "[]", r#"{"candidates":1}"#, r#"{"candidates":[{"finishReason":1}]}"#] {
            assert_eq!(decode(data.as_bytes()), Err(CallError::Malformed), "{data}");
        }
    }

    #[test]
    fn counts_that_make_no_sense_are_left_out() {
        let data = br#"{"usageMetadata":{"promptTokenCount":-1,"candidatesTokenCount":1e30}}"#;
        assert_eq!(decode(data).unwrap().usage, Counts::default());
    }
}
