//! How a simulated call goes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// No answer has more words: a million.
const CHUNKS_MAX: u32 = 1_000_000;
/// Seconds.
const YEAR_S: u32 = 31_536_000;

/// The fate of a call. Everything absent or false is a plain answer. `…_after` counts chunks of text, and happens at the
/// end of the text if that comes first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Milliseconds before the first text, or before an error status.
    pub first_ms: Option<u64>,
    /// Milliseconds before each further chunk.
    pub chunk_ms: Option<u64>,
    /// The exact answer.
    pub text: Option<String>,
    /// Answer with this many words, repeating or cutting the text; each is a chunk. At most 1,000,000.
    pub chunks: Option<u32>,
    /// Answer without text.
    pub empty: bool,

    /// Answer with this HTTP status, 300 to 599, and an error.
    pub status: Option<u16>,
    /// The header `Retry-After` of an error status, verbatim.
    pub retry_after: Option<NumberOrText>,
    /// The same header as a date: so many seconds from now, at most a year.
    pub retry_after_date: Option<u32>,
    /// The `error.code` of any error; by default the number of its status. Over Messages the `error.type`.
    pub error: Option<NumberOrText>,
    /// The `error.message` of any error.
    pub message: Option<String>,
    /// The `error.message` of any error repeats the key and the last message that came with the call.
    pub echo_key: bool,
    /// Answer 200 with an error as JSON.
    pub error_in_200: bool,
    /// After so many chunks, an event with an error.
    pub error_after: Option<u32>,

    /// Redirect to this address with 307.
    pub redirect: Option<String>,
    /// Answer with a page of HTML.
    pub page: bool,
    /// Answer with a stream that is said to be gzip: every 13 bytes make 2,064, and it makes 200 MB.
    pub gzip_bomb: bool,
    /// The `Content-Type` of a stream, verbatim.
    pub content_type: Option<String>,

    /// If an earlier call came over the same connection, close it without a byte.
    pub drop_reused: bool,
    /// Accept, never answer.
    pub hang: bool,
    /// After so many chunks, silence.
    pub hang_after: Option<u32>,
    /// After so many chunks, close the connection.
    pub cut_after: Option<u32>,

    /// So many chunks without text come before the text. At most 1,000,000.
    pub empty_chunks: Option<u32>,
    /// Every chunk comes twice.
    pub twice: bool,
    /// After so many chunks, an event that is no JSON, and then the finish.
    pub garbage_after: Option<u32>,
    /// After so many chunks, one of 10 MB, in one line, and then the finish.
    pub huge_after: Option<u32>,
    /// After the text, a chunk with a byte that is no UTF-8 and half of a surrogate pair.
    pub invalid_utf8: bool,

    /// The `finish_reason`, verbatim; `none` leaves it out. By default `stop`.
    pub finish: Option<String>,
    /// Leave out `[DONE]`.
    pub no_done: bool,
    /// Say `[DONE]` twice.
    pub double_done: bool,
    /// What to say about usage.
    pub usage: Option<UsageScript>,

    /// Only the first so many attempts go wrong, as the client's id of the call counts them; the others say the same, and go well.
    pub attempts: Option<u32>,

    /// A comment line before each event.
    pub comments: bool,
    /// Lines end with CR LF.
    pub crlf: bool,
    /// One byte per write.
    pub drip: bool,
    /// Writes end in the middle of a character wherever one has several bytes.
    pub split_chars: bool,
}

/// What to say about usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageScript {
    /// Nothing.
    None,
    /// Nonsense.
    Negative,
}

/// A value that providers write either way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NumberOrText {
    /// `429`
    Number(i64),
    /// `"rate_limit_exceeded"`
    Text(String),
}

impl fmt::Display for NumberOrText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Script {
    /// As the call of this attempt goes.
    pub(super) fn at(self, attempt: u32) -> Self {
        if self.attempts.is_none_or(|attempts| attempt <= attempts) {
            return self;
        }
        let Self { first_ms, chunk_ms, text, chunks, .. } = self;
        Self { first_ms, chunk_ms, text, chunks, ..Self::default() }
    }

    /// Refuses values that cannot be played, as a sentence naming the field.
    pub(super) fn checked(self) -> Result<Self, String> {
        if self.status.is_some_and(|status| !(300..600).contains(&status)) {
            return Err("status must be between 300 and 599".to_owned());
        }
        for (name, chunks) in [("chunks", self.chunks), ("empty_chunks", self.empty_chunks)] {
            if chunks.is_some_and(|chunks| chunks > CHUNKS_MAX) {
                return Err(format!("{name} must be at most {CHUNKS_MAX}"));
            }
        }
        if self.retry_after_date.is_some_and(|seconds| seconds > YEAR_S) {
            return Err(format!("retry_after_date must be at most {YEAR_S}"));
        }
        Ok(self)
    }
}
