//! The rules of an answer, whoever gives it: what counts as its end, and how large it may be.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::CallError;

/// The longest answer, in bytes of UTF-8: 1 MiB.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The model reached the longest answer allowed to it: the text is whole as far as it goes.
    Length,
}

/// What a call consumed, by the provider's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
}

/// What one event of a provider's stream said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Piece<'a> {
    /// More of the answer.
    pub(crate) text: Cow<'a, str>,
    /// The model is thinking: it generates, though nothing to show.
    pub(crate) thinking: bool,
    /// The explicit finish.
    pub(crate) finish: Option<FinishReason>,
    /// The consumption so far.
    pub(crate) usage: Counts,
    /// Nothing comes after this.
    pub(crate) last: bool,
}

/// A usage whose counts may come one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) prompt_tokens: Option<u32>,
    pub(crate) completion_tokens: Option<u32>,
}

impl Counts {
    /// The later of each.
    fn or(self, earlier: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.or(earlier.prompt_tokens),
            completion_tokens: self.completion_tokens.or(earlier.completion_tokens),
        }
    }

    /// None unless both are known.
    fn usage(self) -> Option<Usage> {
        Some(Usage { prompt_tokens: self.prompt_tokens?, completion_tokens: self.completion_tokens? })
    }
}

impl From<Usage> for Counts {
    fn from(usage: Usage) -> Self {
        Self { prompt_tokens: Some(usage.prompt_tokens), completion_tokens: Some(usage.completion_tokens) }
    }
}

/// How far an answer has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    bytes: usize,
    altered: bool,
    finish: Option<FinishReason>,
    usage: Counts,
}

impl Answer {
    /// Takes in a piece; gives its text, if it has any.
    pub(crate) fn add(&mut self, piece: Piece<'_>) -> Result<Option<String>, CallError> {
        self.finish = self.finish.or(piece.finish);
        self.usage = piece.usage.or(self.usage);
        if piece.text.is_empty() {
            return Ok(None);
        }
        self.altered |= piece.text.contains('\0');
        let text = storable(piece.text);
        self.bytes += text.len();
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        Ok(Some(text))
    }

    /// Bytes of text that have come.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the provider has counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.usage
    }

    /// Has the provider told what all of it took?
    pub(crate) fn is_counted(&self) -> bool {
        self.is_finished() && self.usage.usage().is_some()
    }

    /// Were characters of it replaced?
    pub(crate) fn is_altered(&self) -> bool {
        self.altered
    }

    /// Has no text come?
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Has the explicit finish come?
    pub(crate) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The stream is over: is the answer whole?
    pub(crate) fn close(&self) -> Result<(FinishReason, Option<Usage>), CallError> {
        let finish = self.finish.ok_or(CallError::Truncated)?;
        if self.is_empty() {
            return Err(CallError::EmptyAnswer);
        }
        Ok((finish, self.usage.usage()))
    }
}

/// Postgres text holds any character but NUL.
fn storable(text: Cow<'_, str>) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece<'_> {
        Piece { text: text.into(), ..Piece::default() }
    }

    fn finish(reason: FinishReason) -> Piece<'static> {
        Piece { finish: Some(reason), ..Piece::default() }
    }

    #[test]
    fn only_an_explicit_finish_makes_a_whole_answer() {
        let mut answer = Answer::default();
        answer.add(text("almost")).unwrap();
        answer.add(Piece { last: true, ..Piece::default() }).unwrap();
        assert_eq!(answer.close(), Err(CallError::Truncated));
        answer.add(finish(FinishReason::Length)).unwrap();
        assert_eq!(answer.close(), Ok((FinishReason::Length, None)));
    }

    #[test]
    fn an_answer_without_a_word_is_none() {
        for reason in [FinishReason::Stop, FinishReason::Length] {
            let mut answer = Answer::default();
            assert_eq!(answer.add(text("")), Ok(None));
            answer.add(finish(reason)).unwrap();
            assert_eq!(answer.close(), Err(CallError::EmptyAnswer));
        }
    }

    #[test]
    fn the_last_usage_counts() {
        let usage = |completion_tokens| Some(Usage { prompt_tokens: 1, completion_tokens });
        let mut answer = Answer::default();
        for piece in [usage(1), usage(5), None] {
            let usage = piece.map(Counts::from).unwrap_or_default();
            answer.add(Piece { usage, ..text("x") }).unwrap();
        }
        answer.add(finish(FinishReason::Stop)).unwrap();
        assert_eq!(answer.close(), Ok((FinishReason::Stop, usage(5))));
    }

    #[test]
    fn counts_that_come_one_by_one_are_a_usage_when_both_are_there() {
        let part = |prompt_tokens, completion_tokens| Piece {
            usage: Counts { prompt_tokens, completion_tokens },
            ..text("x")
        };
        let mut answer = Answer::default();
        answer.add(finish(FinishReason::Stop)).unwrap();
        answer.add(part(Some(3), None)).unwrap();
        assert_eq!(answer.close(), Ok((FinishReason::Stop, None)));
        answer.add(part(None, Some(2))).unwrap();
        let usage = Usage { prompt_tokens: 3, completion_tokens: 2 };
        assert_eq!(answer.close(), Ok((FinishReason::Stop, Some(usage))));
    }

    #[test]
    fn an_answer_is_accepted_at_its_bound_and_refused_beyond() {
        let mut answer = Answer::default();
        let half = "x".repeat(ANSWER_BYTES_MAX / 2);
        assert!(answer.add(text(&half)).is_ok());
        assert!(answer.add(text(&half)).is_ok());
        assert_eq!(answer.add(text("x")), Err(CallError::TooLarge));
    }

    #[test]
    fn only_nul_is_replaced() {
        let mut answer = Answer::default();
        let markup = "</script>\u{1b}[31m\u{202e}";
        assert_eq!(answer.add(text(markup)).unwrap().as_deref(), Some(markup));
        assert!(!answer.is_altered());
        assert_eq!(answer.add(text("a\0b")).unwrap().as_deref(), Some("a\u{fffd}b"));
        assert!(answer.is_altered());
    }
}
