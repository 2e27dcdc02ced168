//! How far the reader of a stream is. The number of an event says it: which call's answer the reader has, and how many bytes
//! of it. So a stream is picked up from the number alone, at any ingress, and nobody has to remember what was told to whom.
//!
//! ```text
//! 0            nothing            10_000_001   attempt 1 has begun, no text yet
//! 1            accepted           10_000_052   51 bytes of its answer
//!                                 19_000_000   the last event
//! ```

use http::{HeaderMap, Uri};
use wire::{
    Fault, FaultCode, TurnId, header,
    limits::{ANSWER_BYTES_MAX, ATTEMPTS_MAX},
};

use crate::address::query_fields;

/// The query's name for it.
pub(crate) const STARTING_AFTER: &str = "starting_after";

/// Numbers of one attempt.
const OF_ATTEMPT: u64 = 10_000_000;
const BEGUN: u64 = 1;
/// From here on: the last event was seen, and maybe seen again.
const ENDED: u64 = 9_000_000;

/// The number of an event. Later events of a turn have larger ones, whoever runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(u64);

impl Position {
    /// Of somebody who has seen nothing.
    pub const START: Self = Self(0);
    /// Of `accepted`.
    pub const ACCEPTED: Self = Self(1);
    /// The largest that can be given.
    pub const MAX: Self = Self(ATTEMPTS_MAX as u64 * OF_ATTEMPT + OF_ATTEMPT - 2);

    /// After so many bytes of this attempt's answer.
    pub fn of_text(attempt: i16, bytes: usize) -> Self {
        Self(base(attempt) + BEGUN + bytes as u64)
    }

    /// Of the last event. Whoever has seen it, and asks again, is told it with another number.
    pub fn of_end(attempt: i16, seen: Self) -> Self {
        Self((base(attempt) + ENDED).max(seen.0 + 1))
    }

    /// What the reader has: the attempt, 0 before the first, and the bytes of its answer.
    pub const fn text(self) -> (i16, usize) {
        let (attempt, step) = (self.0 / OF_ATTEMPT, self.0 % OF_ATTEMPT);
        // Both are bounded by `MAX`.
        (attempt as i16, step.saturating_sub(BEGUN) as usize)
    }

    /// Whether the last event was seen.
    pub const fn is_end(self) -> bool {
        self.0 % OF_ATTEMPT >= ENDED
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Where the request says that its reader is: at the start, if it says nothing.
    ///
    /// # Errors
    /// [`FaultCode::InvalidEventId`] if no event of any turn has this number, it is of another turn, or two are given.
    pub fn given(turn: TurnId, uri: &Uri, headers: &HeaderMap) -> Result<Self, Fault> {
        let in_query = query_fields(uri, &[STARTING_AFTER])?;
        let in_query =
            in_query.get(STARTING_AFTER).map(|text| Self::parse(text.as_str().unwrap_or_default()));
        let mut in_header = headers.get_all(header::LAST_EVENT_ID).iter();
        let first = in_header.next().map(|id| Self::parse_id(turn, id.as_bytes()));
        match (first.transpose()?, in_header.next(), in_query.transpose()?) {
            (_, Some(_), _) => Err(wrong("Give one Last-Event-ID")),
            (Some(one), None, Some(other)) if one != other => {
                Err(wrong("Last-Event-ID and starting_after name different events"))
            }
            (first, None, second) => Ok(first.or(second).unwrap_or(Self::START)),
        }
    }

    /// What the id of an event of this turn says.
    ///
    /// # Errors
    /// [`FaultCode::InvalidEventId`], as above.
    pub fn parse_id(turn: TurnId, id: &[u8]) -> Result<Self, Fault> {
        let form = || wrong("Last-Event-ID must be the id of an event: <turn>:<number>");
        let id = std::str::from_utf8(id).map_err(|_| form())?;
        let (of, number) = id.split_once(':').ok_or_else(form)?;
        match of.parse::<TurnId>() {
            Ok(of) if of == turn => Self::parse(number),
            Ok(_) => Err(wrong("Last-Event-ID is an event of another turn")),
            Err(_) => Err(form()),
        }
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
        let number = text
            .parse()
            .ok()
            .filter(|_| plain)
            .map(Self)
            .ok_or_else(|| wrong("The number of an event must be as the stream gave it, in digits"))?;
        if number.is_possible() { Ok(number) } else { Err(FaultCode::InvalidEventId.into()) }
    }

    /// Whether some event could have it.
    fn is_possible(self) -> bool {
        let (attempt, bytes) = self.text();
        match attempt {
            0 => self <= Self::ACCEPTED,
            _ => {
                self <= Self::MAX
                    && (bytes <= ANSWER_BYTES_MAX || self.is_end())
                    && self.0 % OF_ATTEMPT < OF_ATTEMPT - 1
            }
        }
    }
}

/// An attempt is counted from 1.
fn base(attempt: i16) -> u64 {
    u64::from(attempt.unsigned_abs()) * OF_ATTEMPT
}

fn wrong(message: &'static str) -> Fault {
    Fault::because(FaultCode::InvalidEventId, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn given(turn: TurnId, query: &str, ids: &[&str]) -> Result<u64, String> {
        let uri = format!("/turns/{turn}/events?{query}").parse().unwrap();
        let value = |id: &&str| {
            (header::LAST_EVENT_ID.parse().unwrap(), HeaderValue::from_bytes(id.as_bytes()).unwrap())
        };
        let given = Position::given(turn, &uri, &ids.iter().map(value).collect());
        given.map(Position::number).map_err(|fault| fault.code.as_str().to_owned())
    }

    #[test]
    fn a_reader_says_once_where_it_is() {
        let turn = TurnId::new();
        let id = |number: &str| format!("{turn}:{number}");
        assert_eq!(given(turn, "", &[]), Ok(0));
        assert_eq!(given(turn, "starting_after=0", &[]), Ok(0));
        assert_eq!(given(turn, "starting_after=10000052", &[]), Ok(10_000_052));
        assert_eq!(given(turn, "x=y", &[&id("10000052")]), Ok(10_000_052));
        assert_eq!(given(turn, "starting_after=1", &[&id("1")]), Ok(1), "the same twice");
        assert_eq!(given(turn, "", &[&id("39999998")]), Ok(Position::MAX.number()));
        assert!(given(turn, "starting_after=1&starting_after=1", &[]).is_err());
        let other = format!("{}:1", TurnId::new());
        for (query, ids) in [
            ("starting_after=2", vec![id("1")]),
            ("", vec![id("1"), id("1")]),
            ("", vec![other]),
            ("", vec![turn.to_string()]),
            ("", vec!["1".into()]),
            ("", vec![String::new()]),
            ("", vec![format!("{turn}:1:1")]),
            ("", vec![format!("{}:1", turn.to_string().replace('-', ""))]),
        ] {
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            assert_eq!(given(turn, query, &ids), Err("invalid_event_id".into()), "{query} {ids:?}");
        }
        let numbers = [
            "", "-1", "+1", "1.0", "0x1", "x", " 1", "\u{663}", "2", "9000000", "11048578", "39999999",
            "40000001",
        ];
        for number in numbers.into_iter().chain([
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999999",
        ]) {
            assert_eq!(given(turn, "", &[&id(number)]), Err("invalid_event_id".into()), "{number}");
        }
    }

    #[test]
    fn later_events_have_larger_numbers() {
        let end = Position::of_end(1, Position::START);
        let events = [
            Position::START,
            Position::ACCEPTED,
            Position::of_text(1, 0),
            Position::of_text(1, 51),
            Position::of_text(1, ANSWER_BYTES_MAX),
            end,
            Position::of_end(1, end),
            Position::of_text(2, 0),
            Position::of_end(3, Position::START),
        ];
        assert!(events.is_sorted_by(|a, b| a < b), "{events:?}");
        for event in events {
            assert_eq!(Position::parse(&event.number().to_string()), Ok(event));
        }
        assert_eq!(Position::of_text(2, 51).text(), (2, 51));
        assert!(end.is_end() && !Position::of_text(1, ANSWER_BYTES_MAX).is_end());
    }
}
