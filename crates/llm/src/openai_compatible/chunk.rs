//! One event of the stream: `{"choices":[{"delta":{"content":"…"},"finish_reason":null}]}`, or `[DONE]`.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use super::refusal;
use crate::{
    answer::{Counts, FinishReason, Piece, Usage},
    error::CallError,
    lossy::Lossy,
};

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Tokens>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Lossy<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Lossy<'a>>,
    /// OpenRouter and Ollama.
    reasoning: Option<IgnoredAny>,
    /// DeepSeek, vLLM and others.
    reasoning_content: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Tokens {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
}

/// What the data of one event says. An error inside it is the call's error.
pub(super) fn decode(data: &[u8]) -> Result<Piece<'_>, CallError> {
    if data.starts_with(b"[DONE]") {
        return Ok(Piece { last: true, ..Piece::default() });
    }
    if data.is_empty() {
        return Ok(Piece::default());
    }
    let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|_| CallError::Malformed)?;
    if let Some(error) = chunk.error {
        return Err(refusal::in_stream(&error));
    }
    let usage = chunk.usage.and_then(Tokens::counted).map(Counts::from).unwrap_or_default();
    let mut piece = Piece { usage, ..Piece::default() };
    let Some(choice) = chunk.choices.and_then(|choices| choices.into_iter().next()) else { return Ok(piece) };
    piece.finish = finish(choice.finish_reason)?;
    if let Some(delta) = choice.delta {
        piece.text = delta.content.unwrap_or_default().0;
        piece.thinking = delta.reasoning.is_some() || delta.reasoning_content.is_some();
    }
    Ok(piece)
}

fn finish(reason: Option<Lossy<'_>>) -> Result<Option<FinishReason>, CallError> {
    match reason.unwrap_or_default().0.as_ref() {
        "" => Ok(None),
        "stop" => Ok(Some(FinishReason::Stop)),
        "length" => Ok(Some(FinishReason::Length)),
        "content_filter" => Err(CallError::ContentFiltered),
        "tool_calls" => Err(CallError::UnsupportedFinish("tool_calls")),
        "function_call" => Err(CallError::UnsupportedFinish("function_call")),
        "error" => Err(CallError::Failed { status: None }),
        _ => Err(CallError::UnsupportedFinish("unknown")),
    }
}

impl Tokens {
    /// None unless both counts make sense. (Floats, because one provider's `12.0` is no reason to lose an answer.)
    fn counted(self) -> Option<Usage> {
        let count = |tokens: Option<f64>| {
            tokens.filter(|it| (0.0..=f64::from(u32::MAX)).contains(it)).map(|tokens| tokens as u32)
        };
        Some(Usage {
            prompt_tokens: count(self.prompt_tokens)?,
            completion_tokens: count(self.completion_tokens)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &[u8]) -> String {
        decode(data).unwrap().text.into_owned()
    }

    fn finished_by(reason: &str) -> Result<Option<FinishReason>, CallError> {
        let data = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":{reason}}}]}}"#);
        decode(data.as_bytes()).map(|piece| piece.finish)
    }

    #[test]
    fn a_chunk_is_read_whatever_else_it_holds() {
        let chunk = br#"{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","service_tier":null,
            "choices":[{"index":0,"delta":{"role":"assistant","content":"hi \"you\"","tool_calls":null,"annotations":[]},
            "logprobs":{"content":[]},"finish_reason":null}],"usage":null,"error":null,"x":{"y":[1,2.5e3,"\ud800"]}}"#;
        assert_eq!(decode(chunk).unwrap(), Piece { text: "hi \"you\"".into(), ..Piece::default() });
        for quiet in ["", "{}", r#"{"choices":null}"#, r#"{"choices":[]}"#, r#"{"choices":[{"delta":null}]}"#]
        {
            assert_eq!(decode(quiet.as_bytes()).unwrap(), Piece::default(), "{quiet}");
        }
    }

    #[test]
    fn text_and_finish_may_come_together() {
        let piece = decode(br#"{"choices":[{"delta":{"content":"end"},"finish_reason":"stop"}]}"#).unwrap();
        assert_eq!((piece.text.as_ref(), piece.finish), ("end", Some(FinishReason::Stop)));
    }

    #[test]
    fn thinking_is_a_sign_of_life_and_no_text() {
        for field in ["reasoning", "reasoning_content"] {
            let data = format!(r#"{{"choices":[{{"delta":{{"content":"","{field}":"hm"}}}}]}}"#);
            assert_eq!(decode(data.as_bytes()).unwrap(), Piece { thinking: true, ..Piece::default() });
        }
    }

    #[test]
    fn each_finish_reason_has_its_meaning() {
        assert_eq!(finished_by("null"), Ok(None));
        assert_eq!(finished_by(r#""""#), Ok(None));
        assert_eq!(finished_by(r#""stop""#), Ok(Some(FinishReason::Stop)));
        assert_eq!(finished_by(r#""length""#), Ok(Some(FinishReason::Length)));
        assert_eq!(finished_by(r#""content_filter""#), Err(CallError::ContentFiltered));
        assert_eq!(finished_by(r#""tool_calls""#), Err(CallError::UnsupportedFinish("tool_calls")));
        assert_eq!(finished_by(r#""sk-secret""#), Err(CallError::UnsupportedFinish("unknown")));
    }

    #[test]
    fn usage_counts_only_if_it_makes_sense() {
        let usage = |prompt: &str| {
            let data = format!(
                r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":2,"cost":0}}}}"#
            );
            decode(data.as_bytes()).unwrap().usage
        };
        let counted = Counts::from(Usage { prompt_tokens: 1, completion_tokens: 2 });
        assert_eq!((usage("1"), usage("1.0")), (counted, counted));
        for nonsense in ["-1", "null", "1e30"] {
            assert_eq!(usage(nonsense), Counts::default(), "{nonsense}");
        }
    }

    #[test]
    fn what_is_not_unicode_is_replaced() {
        assert_eq!(text(b"{\"choices\":[{\"delta\":{\"content\":\"a\xffb\"}}]}"), "a\u{fffd}b");
        assert_eq!(text(b"{\"choices\":[{\"delta\":{\"content\":\"a\\n\xc3\"}}]}"), "a\n\u{fffd}");
        let lone = text(br#"{"choices":[{"delta":{"content":"a\ud83db"}}]}"#);
        assert_eq!(lone.trim_matches('\u{fffd}').replace('\u{fffd}', ""), "ab");
        assert_eq!(text(br#"{"choices":[{"delta":{"content":"\ud83d\ude00"}}]}"#), "\u{1f600}");
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for data in
            ["<html>", "{", "[]", "3", r#"{"choices":{}}"#, r#"{"choices":[{"delta":{"content":[1]}}]}"#]
        {
            assert_eq!(decode(data.as_bytes()), Err(CallError::Malformed), "{data}");
        }
    }
}
