//! The kinds of providers, each with what it says in its own dialect: a row of this table is all that a new kind needs here.

use std::time::Duration;

use llm::{CallError, Gateway, ProviderKind, Timeouts, Usage};

use crate::{ask, raw};

/// What every recorded stream says.
pub const TEXT: &str = "zwölf \"Boxkämpfer\" 😀";
/// What every recorded stream counts.
pub const USAGE: Usage = Usage { prompt_tokens: 12, completion_tokens: 5 };

/// How a kind of provider speaks.
pub struct Dialect {
    pub kind: ProviderKind,
    /// A whole stream in the form in which the kind documents it, of [`TEXT`] and [`USAGE`].
    pub recorded: &'static str,
    /// Lines of its heads beside those that all have, each with its end.
    headers: &'static str,
    /// What stands before and after the JSON string in an event with more text.
    delta: [&'static str; 2],
    /// The event with the finish of a model that was done.
    pub finish: &'static str,
    /// What stands in it and in no event before: a name and its value.
    marker: &'static str,
    /// Statuses with bodies, and what they mean; those of status 200 are events within a stream as well.
    pub refusals: Vec<(u16, &'static str, CallError)>,
}

const BUSY: CallError = CallError::Busy { retry_after: None };

/// That of this kind.
pub fn dialect(kind: ProviderKind) -> Dialect {
    dialects().into_iter().find(|dialect| dialect.kind == kind).unwrap()
}

/// One row for each kind.
pub fn dialects() -> [Dialect; 6] {
    [completions(), openai(), openrouter(), ollama(), anthropic(), gemini()]
}

fn completions() -> Dialect {
    Dialect {
        kind: ProviderKind::OpenaiCompatible,
        recorded: include_str!("recorded/openai-compatible.sse"),
        headers: "",
        delta: [r#"data: {"choices":[{"index":0,"delta":{"content":"#, "},\"finish_reason\":null}]}\n\n"],
        finish: raw::FINISH,
        marker: r#""finish_reason":"stop""#,
        refusals: vec![
            (200, r#"{"error":{"message":"no","type":"rate_limit_error","code":null}}"#, BUSY),
            (400, r#"{"object":"error","message":"no","code":400}"#, CallError::Rejected { status: 400 }),
            (404, r#"{"detail":"Not Found"}"#, CallError::Configuration { status: 404 }),
            (500, "Internal Server Error", CallError::Failed { status: Some(500) }),
        ],
    }
}

fn openai() -> Dialect {
    Dialect {
        kind: ProviderKind::Openai,
        recorded: include_str!("recorded/openai.sse"),
        headers: "x-request-id: req_7\r\nopenai-processing-ms: 12\r\nx-ratelimit-reset-tokens: 6m0s\r\n",
        refusals: vec![
            (200, r#"{"error":{"message":"no","type":"server_error","code":"rate_limit_exceeded"}}"#, BUSY),
            (
                400,
                r#"{"error":{"message":"no","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                CallError::ContextTooLong,
            ),
            (
                401,
                r#"{"error":{"message":"no","code":"invalid_api_key"}}"#,
                CallError::Configuration { status: 401 },
            ),
            (
                429,
                r#"{"error":{"message":"no","code":"insufficient_quota"}}"#,
                CallError::Configuration { status: 402 },
            ),
            (503, r#"{"error":{"message":"no","code":null}}"#, CallError::Failed { status: Some(503) }),
        ],
        ..completions()
    }
}

fn openrouter() -> Dialect {
    Dialect {
        kind: ProviderKind::Openrouter,
        recorded: include_str!("recorded/openrouter.sse"),
        headers: "x-generation-id: gen-7\r\n",
        refusals: vec![
            (
                200,
                r#"{"error":{"code":429,"message":"no","metadata":{"provider_name":"Mistral"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
                BUSY,
            ),
            (200, r#"{"error":{"code":502,"message":"no"}}"#, CallError::Failed { status: Some(502) }),
            (402, r#"{"error":{"code":402,"message":"no"}}"#, CallError::Configuration { status: 402 }),
            (408, r#"{"error":{"code":408,"message":"no"}}"#, CallError::Failed { status: Some(408) }),
            (429, r#"{"error":{"code":429,"message":"no"}}"#, BUSY),
        ],
        ..completions()
    }
}

fn ollama() -> Dialect {
    Dialect {
        kind: ProviderKind::Ollama,
        recorded: include_str!("recorded/ollama.sse"),
        refusals: vec![
            (
                200,
                r#"{"error":{"message":"no","type":"api_error","param":null,"code":null}}"#,
                CallError::Failed { status: None },
            ),
            (
                404,
                r#"{"error":{"message":"no","type":"not_found_error","code":null}}"#,
                CallError::Configuration { status: 404 },
            ),
        ],
        ..completions()
    }
}

fn anthropic() -> Dialect {
    Dialect {
        kind: ProviderKind::Anthropic,
        recorded: include_str!("recorded/anthropic.sse"),
        headers: "request-id: req_7\r\nanthropic-organization-id: 7\r\n",
        delta: [
            r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"#,
            "}}\n\n",
        ],
        finish: "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n",
        marker: r#""stop_reason":"end_turn""#,
        refusals: vec![
            (200, r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#, BUSY),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 tokens > 2 maximum"}}"#,
                CallError::ContextTooLong,
            ),
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"no"}}"#,
                CallError::Configuration { status: 401 },
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"no"}}"#,
                CallError::Rejected { status: 413 },
            ),
            (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#, BUSY),
        ],
    }
}

fn gemini() -> Dialect {
    Dialect {
        kind: ProviderKind::Gemini,
        recorded: include_str!("recorded/gemini.sse"),
        headers: "server-timing: gfet4t7; dur=431\r\nx-frame-options: SAMEORIGIN\r\n",
        delta: [
            r#"data: {"candidates":[{"content":{"role":"model","parts":[{"text":"#,
            "}]},\"index\":0}]}\n\n",
        ],
        finish: "data: {\"candidates\":[{\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":12,\"candidatesTokenCount\":5}}\n\n",
        marker: r#""finishReason":"STOP""#,
        refusals: vec![
            (200, r#"{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}"#, BUSY),
            (
                200,
                r#"{"error":{"message":"no","status":"INTERNAL"}}"#,
                CallError::Failed { status: Some(500) },
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (3) exceeds the maximum number of tokens allowed (2).","status":"INVALID_ARGUMENT"}}"#,
                CallError::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#,
                CallError::Configuration { status: 401 },
            ),
            (
                404,
                r#"{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}"#,
                CallError::Configuration { status: 404 },
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}]}}"#,
                CallError::Busy { retry_after: Some(Duration::from_secs(7)) },
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"no","status":"UNAVAILABLE"}}"#,
                CallError::Failed { status: Some(503) },
            ),
        ],
    }
}

impl Dialect {
    /// A gateway to a provider of this kind.
    pub fn gateway(&self, base_url: String, timeouts: Timeouts) -> Gateway {
        ask::gateway_to(self.kind, base_url, timeouts)
    }

    /// The head of a stream whose end is the end of the connection.
    pub fn head(&self) -> Vec<u8> {
        self.head_with("connection: close")
    }

    /// The head of a stream in chunks of HTTP.
    pub fn chunked_head(&self) -> Vec<u8> {
        self.head_with("transfer-encoding: chunked")
    }

    /// The head of a stream, with this line.
    fn head_with(&self, line: &str) -> Vec<u8> {
        let headers = self.headers;
        format!(
            "HTTP/1.1 200 OK\r\n{headers}content-type: text/event-stream; charset=utf-8\r\n{line}\r\n\r\n"
        )
        .into()
    }

    /// A whole response whose body comes in these pieces, none of them empty: each is seen by itself, whatever the system does
    /// with its bytes on the way.
    pub fn chunked<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        let chunks = pieces.flat_map(chunk);
        self.chunked_head().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
    }

    /// A whole response with this body.
    pub fn stream(&self, body: impl AsRef<[u8]>) -> Vec<u8> {
        [&self.head(), body.as_ref()].concat()
    }

    /// An event with more text.
    pub fn delta(&self, text: &str) -> String {
        let [before, after] = self.delta;
        format!("{before}{}{after}", serde_json::Value::from(text))
    }

    /// An event with more text, as the bytes between the quotes.
    pub fn raw_delta(&self, text: &[u8]) -> Vec<u8> {
        let [before, after] = self.delta.map(str::as_bytes);
        [before, b"\"", text, b"\"", after].concat()
    }

    /// The event with the finish, for a reason that nobody knows.
    pub fn finish_because(&self, reason: &str) -> String {
        let (name, _) = self.marker.split_once(':').unwrap();
        self.finish.replace(self.marker, &format!("{name}:{}", serde_json::Value::from(reason)))
    }

    /// How much of the recorded stream is needed for an answer: up to the end of the event with the finish.
    pub fn until_finish(&self) -> usize {
        let marker = self.recorded.find(self.marker).unwrap();
        marker + self.recorded[marker..].find("\n\n").unwrap() + 2
    }
}

/// The kinds that the configuration knows are told by the error of one that it does not.
#[test]
fn every_kind_has_a_row() {
    let error = serde_json::from_str::<ProviderKind>("\"?\"").unwrap_err().to_string();
    let (_, known) = error.split_once("expected one of ").expect("the names of all kinds");
    let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
    let rows = dialects().map(|dialect| serde_json::to_value(dialect.kind).unwrap());
    assert_eq!(rows.each_ref().map(|name| name.as_str().unwrap()).as_slice(), known.as_slice());
}
