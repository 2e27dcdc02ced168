//! How the answer to a send is wanted.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{HeaderMap, header::ACCEPT, request::Parts};
use serde::Deserialize;
use wire::header::{PREFER, RESPOND_ASYNC};

const EVENTS: (&str, &str) = ("text", "event-stream");
const JSON: (&str, &str) = ("application", "json");

/// The three manners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The outcome, when there is one.
    Whole,
    /// The events of the turn.
    Stream,
    /// The turn, as soon as it is accepted.
    Later,
}

/// What the headers of a send say of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes {
    stream: bool,
    later: bool,
}

/// The one field that is for the door. What the body is otherwise, the service judges.
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    stream: Option<bool>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wishes {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Wishes {
    fn of(headers: &HeaderMap) -> Self {
        let stream = quality(headers, EVENTS) > quality(headers, JSON);
        let later = values(headers, PREFER)
            .any(|preference| first(preference, ';').eq_ignore_ascii_case(RESPOND_ASYNC));
        Self { stream, later }
    }

    /// What the body says goes before what is accepted, and both before what is preferred.
    pub fn manner(self, body: &[u8]) -> Manner {
        let said = serde_json::from_slice::<Body>(body).ok().and_then(|body| body.stream);
        if said.unwrap_or(self.stream) {
            Manner::Stream
        } else if self.later {
            Manner::Later
        } else {
            Manner::Whole
        }
    }
}

/// How much a media type is wanted, in thousandths (RFC 9110 §12.5.1): the most specific range that covers it says so. What
/// cannot be read is left out.
fn quality(headers: &HeaderMap, (kind, subtype): (&str, &str)) -> u16 {
    let ranges = values(headers, ACCEPT.as_str()).filter_map(|range| {
        let (of_kind, of_subtype) = first(range, ';').split_once('/')?;
        let specific = match (of_kind, of_subtype) {
            ("*", "*") => 0,
            (_, "*") if of_kind.eq_ignore_ascii_case(kind) => 1,
            _ if of_kind.eq_ignore_ascii_case(kind) && of_subtype.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        Some((specific, weight(range)?))
    });
    ranges.max_by_key(|(specific, _)| *specific).map_or(0, |(_, quality)| quality)
}

/// The `q` of a range; absent, all.
fn weight(range: &str) -> Option<u16> {
    let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let Some((_, text)) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) else {
        return Some(1000);
    };
    let weight = text.trim().parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
    // It is between 0 and 1000.
    Some((weight * 1000.0) as u16)
}

/// The members of a header that is a list.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn first(text: &str, separator: char) -> &str {
    text.split(separator).next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn manner(headers: &[(&str, &str)], body: &str) -> Manner {
        let header = |(name, value): &(&str, &str)| {
            (name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        Wishes::of(&headers.iter().map(header).collect()).manner(body.as_bytes())
    }

    #[test]
    fn what_is_accepted_most_is_given() {
        let accepting = |accept: &str| manner(&[("accept", accept)], "{}") == Manner::Stream;
        for stream in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "text/event-stream, */*;q=0.8",
            "application/json;q=0.9, text/event-stream",
            "application/json;q=0, */*",
            "text/*",
            "text/event-stream;q=0.001",
        ] {
            assert!(accepting(stream), "{stream}");
        }
        for whole in [
            "",
            "*/*",
            "application/json",
            "application/json, text/event-stream",
            "text/event-stream, application/json",
            "text/event-stream;q=0.5, */*",
            "text/event-stream;q=0, text/*",
            "text/event-stream;q=2",
            "text/event-stream;q=x",
            "event-stream",
            "\u{e9}",
        ] {
            assert!(!accepting(whole), "{whole}");
        }
        let lines = [("accept", "application/json;q=0.5"), ("accept", "text/event-stream")];
        assert_eq!(manner(&lines, ""), Manner::Stream);
    }

    #[test]
    fn what_the_body_says_goes_first_and_a_preference_last() {
        let (events, later) = (("accept", "text/event-stream"), ("prefer", "wait=10, Respond-Async; x=y"));
        let (yes, no) = (r#"{"content":"a","str\u0065am":true}"#, r#"{"stream":false}"#);
        for (headers, body, expected) in [
            (&[][..], "{}", Manner::Whole),
            (&[], yes, Manner::Stream),
            (&[later], yes, Manner::Stream),
            (&[events], no, Manner::Whole),
            (&[events, later], no, Manner::Later),
            (&[events, later], "{}", Manner::Stream),
            (&[events], r#"{"stream":null}"#, Manner::Stream),
            (&[later], "{}", Manner::Later),
            (&[("prefer", "respond-async-not, return=minimal")], "{}", Manner::Whole),
        ] {
            assert_eq!(manner(headers, body), expected, "{headers:?} {body}");
        }
    }

    /// The service says what is wrong with it, in whatever manner.
    #[test]
    fn a_body_that_cannot_be_read_says_nothing() {
        for body in ["", "[]", r#"{"stream":"yes"}"#, r#"{"stream":true,"stream":true}"#, "\u{0}"] {
            assert_eq!(manner(&[], body), Manner::Whole, "{body}");
        }
    }
}
