//! The W3C `traceparent`: which request, across processes, a piece of work belongs to.

use std::{fmt, str::FromStr};

/// A position in a trace. Prints as the header's value: `00-<trace id>-<span id>-<flags>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

/// The text is no `traceparent`. Then the standard asks to begin a new trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct NotATraceParent;

const SAMPLED: u8 = 1;

impl TraceParent {
    /// The beginning of a new, sampled trace.
    pub fn random() -> Self {
        Self { trace_id: rand::random_range(1..=u128::MAX), span_id: new_span(), flags: SAMPLED }
    }

    /// The next piece of work in the same trace.
    pub fn child(self) -> Self {
        Self { span_id: new_span(), ..self }
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

fn new_span() -> u64 {
    rand::random_range(1..=u64::MAX)
}

impl FromStr for TraceParent {
    type Err = NotATraceParent;

    /// Later versions may append fields to what version 00 knows; `ff` is forbidden, as are ids of zeros.
    fn from_str(text: &str) -> Result<Self, NotATraceParent> {
        let mut parts = text.split('-');
        let version = digits(parts.next(), 2)?;
        let trace_id = digits(parts.next(), 32)?;
        let span_id = digits(parts.next(), 16)? as u64;
        let flags = digits(parts.next(), 2)? as u8;
        let too_long = version == 0 && parts.next().is_some();
        if version == 0xff || too_long || trace_id == 0 || span_id == 0 {
            return Err(NotATraceParent);
        }
        Ok(Self { trace_id, span_id, flags })
    }
}

fn digits(text: Option<&str>, length: usize) -> Result<u128, NotATraceParent> {
    let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text =
        text.filter(|text| text.len() == length && text.bytes().all(lower_hex)).ok_or(NotATraceParent)?;
    u128::from_str_radix(text, 16).map_err(|_| NotATraceParent)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_prints_as_it_was_read() {
        for text in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000001-0000000000000001-00",
        ] {
            assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_later_version_is_read_by_its_known_fields() {
        let later: TraceParent =
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-the-future-brings").parse().unwrap();
        assert_eq!(later.to_string(), format!("00-{TRACE}-00f067aa0ba902b7-01"));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(NotATraceParent), "{text}");
        }
    }

    #[test]
    fn a_child_stays_in_its_trace_under_a_new_span() {
        let parent = TraceParent::random();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id, parent.span_id);
        assert_eq!(parent.to_string().parse(), Ok(parent));
    }
}
