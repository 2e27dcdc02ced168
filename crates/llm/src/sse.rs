//! Server-sent events, incrementally: bytes in any pieces go in, the data of whole events comes out. Follows the WHATWG
//! standard; the fields `event`, `id` and `retry` mean nothing to a call and are skipped like unknown ones.

use bytes::{Buf, Bytes};

/// No line, and no event's data, may be longer: 1 MiB.
const BYTES_MAX: usize = 1 << 20;

/// A line or an event beyond 1 MiB.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Feed it, then take events until there is none.
#[derive(Default)]
pub(crate) struct Parser {
    /// Not yet looked at.
    input: Bytes,
    /// The line so far.
    line: Vec<u8>,
    /// The `data` lines of the event so far, joined by line feeds.
    data: Option<Vec<u8>>,
    /// The data handed out last.
    event: Vec<u8>,
    /// A line ended with a carriage return: a line feed right after it belongs to that end.
    after_return: bool,
    /// The first line is behind us, and with it a byte order mark.
    begun: bool,
}

impl Parser {
    /// The next bytes of the stream. What was fed before must have been taken by [`Self::next`].
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "take all events first");
        self.input = bytes;
    }

    /// The data of the next whole event; `None` if more bytes are needed. At the end of the stream, what is left is an
    /// event without its end, and not one.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        while self.complete_line()? {
            let line = std::mem::take(&mut self.line);
            let dispatched = self.interpret(&line)?;
            self.line = line;
            self.line.clear();
            if dispatched {
                return Ok(Some(&self.event));
            }
        }
        Ok(None)
    }

    /// Moves input to the line, up to its end. False if the end has not come.
    fn complete_line(&mut self) -> Result<bool, TooLong> {
        if self.after_return && !self.input.is_empty() {
            self.after_return = false;
            if self.input.starts_with(b"\n") {
                self.input.advance(1);
            }
        }
        let end = memchr::memchr2(b'\n', b'\r', &self.input);
        let part = &self.input[..end.unwrap_or(self.input.len())];
        append(&mut self.line, part)?;
        self.input.advance(part.len());
        if end.is_some() {
            self.after_return = self.input.starts_with(b"\r");
            self.input.advance(1);
        }
        Ok(end.is_some())
    }

    /// True if the line ended an event, which then stands in `event`.
    fn interpret(&mut self, mut line: &[u8]) -> Result<bool, TooLong> {
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            let Some(data) = self.data.take() else { return Ok(false) };
            self.event = data;
            return Ok(true);
        }
        let Some(value) = line.strip_prefix(b"data") else { return Ok(false) };
        let value = match value {
            [] => value,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return Ok(false), // another field, whose name begins alike
        };
        match &mut self.data {
            Some(data) => {
                append(data, b"\n")?;
                append(data, value)?;
            }
            None => {
                let mut data = std::mem::take(&mut self.event);
                data.clear();
                append(&mut data, value)?;
                self.data = Some(data);
            }
        }
        Ok(false)
    }
}

fn append(to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    if to.len() + bytes.len() > BYTES_MAX {
        return Err(TooLong);
    }
    to.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, TooLong> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.feed(Bytes::copy_from_slice(piece));
            while let Some(data) = parser.next()? {
                events.push(String::from_utf8_lossy(data).into_owned());
            }
        }
        Ok(events)
    }

    fn events(stream: &str) -> Vec<String> {
        parse([stream.as_bytes()]).unwrap()
    }

    #[test]
    fn all_line_ends_are_alike() {
        let stream = "data: one\n\ndata: two\ndata: lines\n\n: comment\n\ndata: three\n\n";
        let expected = ["one", "two\nlines", "three"];
        assert_eq!(events(stream), expected);
        assert_eq!(events(&stream.replace('\n', "\r")), expected);
        assert_eq!(events(&stream.replace('\n', "\r\n")), expected);
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let stream = "\u{feff}data: ein\u{fc} \u{1f600}\r\n\r\ndata: a\rdata:b\r\r:note\nid: 7\n\ndata\n\ndata: last\n\n";
        let expected = ["ein\u{fc} \u{1f600}", "a\nb", "", "last"];
        assert_eq!(events(stream), expected);
        let bytes = stream.as_bytes();
        for at in 0..=bytes.len() {
            assert_eq!(parse([&bytes[..at], &bytes[at..]]).unwrap(), expected, "split at {at}");
        }
        assert_eq!(parse(bytes.chunks(1)).unwrap(), expected);
    }

    #[test]
    fn only_one_space_after_the_colon_is_dropped() {
        assert_eq!(events("data:a\n\ndata: a\n\ndata:  a\n\ndata:\n\n"), ["a", "a", " a", ""]);
    }

    #[test]
    fn other_fields_make_no_event() {
        assert_eq!(
            events("event: ping\n\nretry: 5\n\nid: 1\n\n: note\n\ndatum: 1\n\ndata2: 1\n\n\n\n"),
            [""; 0]
        );
        assert_eq!(events("event: ping\nid: 1\ndata: x\nwhat: ever\n\n"), ["x"]);
    }

    #[test]
    fn an_event_without_its_end_is_none() {
        assert_eq!(events("data: whole\n\ndata: cut\n"), ["whole"]);
        assert_eq!(events("data: cut"), [""; 0]);
    }

    #[test]
    fn a_line_and_an_event_are_bounded() {
        let line = |length: usize| format!("data: {}\n", "x".repeat(length - 6));
        assert_eq!(parse([format!("{}\n", line(BYTES_MAX)).as_bytes()]).unwrap().len(), 1);
        assert_eq!(parse([line(BYTES_MAX + 1).as_bytes()]), Err(TooLong));
        assert_eq!(parse([line(BYTES_MAX).as_bytes(), line(BYTES_MAX).as_bytes()]), Err(TooLong));
        assert_eq!(parse(std::iter::repeat_n([b'x'; 1024].as_slice(), 1025)), Err(TooLong));
    }
}
