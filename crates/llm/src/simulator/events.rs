//! The events of a streamed answer, one after another, written only when they are due: a million cost no memory.

use std::time::Duration;

use super::{
    Options,
    answer::words,
    log::Ended,
    script::{Script, UsageScript},
    wire::{Tokens, Wire, Writer},
};

/// No line is longer in any format that a client should read.
const HUGE_BYTES: usize = 10 << 20;
/// An event that begins like one, and is none.
const GARBAGE: &[u8] = b"data: {\"choices\":[{<html>\n\n";
/// What stands for [`BROKEN`] until the chunk is written.
const PLACE: &str = "(broken)";
/// A byte that is no UTF-8, and half of a surrogate pair.
const BROKEN: &[u8] = b"\xff\\ud83d";

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// An event was written; go on.
    Wrote,
    /// Let this time pass.
    Wait(Duration),
    /// Let all time pass.
    Hang,
    /// Close the connection.
    Cut,
    /// That was all.
    End(Ended),
}

#[derive(Clone, Copy)]
enum Stage {
    Silence,
    Role,
    /// So many chunks without text are written.
    Empty(u32),
    Text,
    Broken,
    Finish,
    Usage,
    Done,
    DoneAgain,
    End(Ended),
}

/// The answer to one call.
pub(super) struct Events {
    script: Script,
    text: String,
    /// How many bytes of the text are written.
    written: usize,
    /// How many chunks of text are written.
    chunks: u32,
    /// How many words that is: the tokens that are charged.
    words: i64,
    wire: Wire,
    usage: Option<Tokens>,
    first: Duration,
    pause: Duration,
    paused: bool,
    finished: bool,
    stage: Stage,
}

impl Events {
    /// Streams `text` over `wire` as `script` and, for what it leaves open, `options` say.
    pub(super) fn new(
        script: Script,
        options: &Options,
        text: String,
        wire: Wire,
        usage: Option<Tokens>,
    ) -> Self {
        Self {
            first: Duration::from_millis(script.first_ms.unwrap_or(options.first_ms)),
            pause: Duration::from_millis(script.chunk_ms.unwrap_or(options.chunk_ms)),
            usage: match script.usage {
                None => usage,
                Some(UsageScript::None) => None,
                Some(UsageScript::Negative) => usage.map(|counts| counts.map(|count| -1 - count)),
            },
            script,
            text,
            written: 0,
            chunks: 0,
            words: 0,
            wire,
            paused: false,
            finished: false,
            stage: Stage::Silence,
        }
    }

    /// How many chunks of text are written.
    pub(super) fn chunks(&self) -> u32 {
        self.chunks
    }

    /// How many words are written.
    pub(super) fn words(&self) -> i64 {
        self.words
    }

    /// Is an explicit finish written?
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Does the script want a frame to be sent in parts?
    pub(super) fn in_parts(&self) -> bool {
        self.script.drip || self.script.split_chars
    }

    /// How many of these bytes the script wants to be sent at once; at least one, if there are any.
    pub(super) fn part_bytes(&self, frame: &[u8]) -> usize {
        let inside = |byte: &u8| self.script.split_chars && *byte & 0xc0 == 0x80;
        match frame.iter().skip(1).position(inside) {
            _ if self.script.drip => 1,
            Some(at) => at + 1,
            None => frame.len(),
        }
    }

    /// Appends the next event to `out`, or says what comes before it.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> Step {
        loop {
            match self.stage {
                Stage::Silence => {
                    self.stage = Stage::Role;
                    if !self.first.is_zero() {
                        return Step::Wait(self.first);
                    }
                }
                Stage::Role => {
                    self.stage = Stage::Empty(0);
                    self.wire.begin(&mut self.to(out), self.usage);
                    return Step::Wrote;
                }
                Stage::Empty(written) if written < self.script.empty_chunks.unwrap_or_default() => {
                    self.stage = Stage::Empty(written + 1);
                    self.wire.text(&mut self.to(out), "");
                    return Step::Wrote;
                }
                Stage::Empty(_) => self.stage = Stage::Text,
                Stage::Text => {
                    if let Some(step) = self.fault(out).or_else(|| self.chunk(out)) {
                        return step;
                    }
                    self.stage = Stage::Broken;
                }
                Stage::Broken => {
                    self.stage = Stage::Finish;
                    if self.script.invalid_utf8 {
                        self.broken_text(out);
                        return Step::Wrote;
                    }
                }
                Stage::Finish => {
                    self.stage = Stage::Usage;
                    let reason = self.script.finish.as_deref().unwrap_or("stop");
                    if reason != "none" {
                        self.wire.finish(&mut self.to(out), reason, self.usage);
                        self.finished = true;
                        return Step::Wrote;
                    }
                }
                Stage::Usage => {
                    self.stage = Stage::Done;
                    if self.wire.usage(&mut self.to(out), self.usage) {
                        return Step::Wrote;
                    }
                }
                Stage::Done => {
                    self.stage = Stage::DoneAgain;
                    if !self.script.no_done && self.wire.done(&mut self.to(out)) {
                        return Step::Wrote;
                    }
                }
                Stage::DoneAgain => {
                    self.stage = Stage::End(Ended::Finished);
                    if self.script.double_done && self.wire.done(&mut self.to(out)) {
                        return Step::Wrote;
                    }
                }
                Stage::End(ended) => return Step::End(ended),
            }
        }
    }

    /// What the script does to the stream at this place, if anything.
    fn fault(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let (chunks, exhausted) = (self.chunks, self.written == self.text.len());
        let due = |after: Option<u32>| after.is_some_and(|after| exhausted || chunks >= after);
        if due(self.script.cut_after) {
            Some(Step::Cut)
        } else if due(self.script.hang_after) {
            Some(Step::Hang)
        } else if due(self.script.error_after) {
            self.stage = Stage::End(Ended::Error(200));
            self.wire.error(&mut self.to(out), 502);
            Some(Step::Wrote)
        } else if due(self.script.garbage_after) {
            self.stage = Stage::Finish;
            out.extend_from_slice(GARBAGE);
            Some(Step::Wrote)
        } else if due(self.script.huge_after) {
            self.stage = Stage::Finish;
            self.wire.text(&mut self.to(out), &"x".repeat(HUGE_BYTES));
            Some(Step::Wrote)
        } else {
            None
        }
    }

    /// A chunk whose text is bytes that no text can have.
    fn broken_text(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        self.wire.text(&mut self.to(out), PLACE);
        let place = out[begin..].windows(PLACE.len()).position(|bytes| bytes == PLACE.as_bytes());
        if let Some(place) = place.map(|at| begin + at) {
            out.splice(place..place + PLACE.len(), BROKEN.iter().copied());
        }
    }

    /// The next word, after its pause; `None` after the last.
    fn chunk(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let rest = &self.text[self.written..];
        let word = rest.split_inclusive(' ').next()?;
        if self.chunks > 0 && !self.paused && !self.pause.is_zero() {
            self.paused = true;
            return Some(Step::Wait(self.pause));
        }
        self.paused = false;
        let (length, times) = (word.len(), 1 + u8::from(self.script.twice));
        let count = words(word) * i64::from(times);
        for _ in 0..times {
            self.wire.text(&mut self.to(out), word);
        }
        self.written += length;
        self.words += count;
        self.chunks += 1;
        Some(Step::Wrote)
    }

    /// Where events go.
    fn to<'a>(&'a self, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer { out, script: &self.script }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(script: Script) -> (String, Vec<Step>) {
        play_over(Wire::Completions { head: r#"{"id":"x","#.to_owned() }, script)
    }

    fn play_over(wire: Wire, script: Script) -> (String, Vec<Step>) {
        let mut events = Events::new(script, &Options::default(), "one two".to_owned(), wire, Some([3, 2]));
        let (mut out, mut steps) = (Vec::new(), Vec::new());
        loop {
            match events.step(&mut out) {
                Step::Wrote => {}
                step @ (Step::Hang | Step::Cut | Step::End(_)) => {
                    steps.push(step);
                    return (String::from_utf8(out).unwrap(), steps);
                }
                step => steps.push(step),
            }
        }
    }

    #[test]
    fn a_plain_answer_is_the_documented_wire() {
        let expected = [
            r#"{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"one "},"finish_reason":null}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":"two"},"finish_reason":null}]}"#,
            r#"{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#,
            "[DONE]",
        ];
        let expected: String = expected.iter().map(|data| format!("data: {data}\n\n")).collect();
        assert_eq!(play(Script::default()), (expected, vec![Step::End(Ended::Finished)]));
    }

    #[test]
    fn the_same_answer_over_messages_is_the_documented_wire() {
        let (out, steps) = play_over(Wire::Messages { model: "m".to_owned() }, Script::default());
        assert_eq!(steps, [Step::End(Ended::Finished)]);
        let names: Vec<_> = out.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
        let text =
            ["content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"];
        assert_eq!(names, [&["message_start"], &text[..], &["message_delta", "message_stop"]].concat());
        let delta =
            r#"data: {"delta":{"text":"one ","type":"text_delta"},"index":0,"type":"content_block_delta"}"#;
        assert!(out.contains(delta) && out.contains(r#""stop_reason":"end_turn""#), "{out}");
        assert!(
            out.contains(r#""input_tokens":3"#) && out.contains(r#""usage":{"output_tokens":2}"#),
            "{out}"
        );
    }

    #[test]
    fn each_wait_comes_before_its_chunk() {
        let (_, steps) = play(Script { first_ms: Some(9), chunk_ms: Some(4), ..Script::default() });
        let wait = |ms| Step::Wait(Duration::from_millis(ms));
        assert_eq!(steps, [wait(9), wait(4), Step::End(Ended::Finished)]);
    }

    #[test]
    fn a_fault_comes_after_its_chunks_or_at_the_end_of_the_text() {
        for (after, words) in [(0, 0), (1, 1), (2, 2), (99, 2)] {
            let after = Some(after);
            let faults = [
                (Script { cut_after: after, ..Script::default() }, Step::Cut, 0),
                (Script { hang_after: after, ..Script::default() }, Step::Hang, 0),
                (Script { error_after: after, ..Script::default() }, Step::End(Ended::Error(200)), 1),
            ];
            for (script, step, errors) in faults {
                let (out, steps) = play(script);
                assert_eq!(steps, [step]);
                assert_eq!(out.matches("data: ").count(), 1 + words + errors, "{out}");
            }
        }
    }

    #[test]
    fn what_no_provider_should_send_is_sent_once_as_told() {
        let texts = |out: &str| {
            let chunks = out.split("\n\n").filter_map(|event| event.split_once(r#""delta":{"content":""#));
            chunks.map(|(_, rest)| rest.split_once('"').unwrap().0.to_owned()).collect::<Vec<_>>()
        };
        let (out, steps) = play(Script { twice: true, empty_chunks: Some(2), ..Script::default() });
        assert_eq!(texts(&out), ["", "", "one ", "one ", "two", "two"]);
        assert_eq!(steps, [Step::End(Ended::Finished)]);
        let (out, _) = play(Script { double_done: true, ..Script::default() });
        assert_eq!(out.matches("data: [DONE]\n\n").count(), 2);
        let (out, _) = play(Script { garbage_after: Some(1), ..Script::default() });
        assert_eq!((texts(&out), out.matches("<html>").count()), (vec!["one ".to_owned()], 1));
        assert!(out.ends_with("data: [DONE]\n\n"), "{out}");
        let (out, _) = play(Script { huge_after: Some(9), ..Script::default() });
        assert_eq!(texts(&out).iter().map(String::len).collect::<Vec<_>>(), [4, 3, HUGE_BYTES]);
    }

    #[test]
    fn broken_text_is_a_chunk_of_its_own_on_either_wire() {
        let completions = Wire::Completions { head: String::new() };
        for wire in [completions, Wire::Messages { model: "m".to_owned() }] {
            let script = Script { invalid_utf8: true, ..Script::default() };
            let mut events = Events::new(script, &Options::default(), "one".to_owned(), wire, None);
            let mut out = Vec::new();
            while events.step(&mut out) == Step::Wrote {}
            let broken = [b"\"".as_slice(), BROKEN, b"\""].concat();
            assert_eq!(out.windows(broken.len()).filter(|bytes| *bytes == broken).count(), 1);
            assert_eq!(String::from_utf8_lossy(&out).matches('\u{fffd}').count(), 1);
        }
    }

    #[test]
    fn a_frame_is_parted_where_the_script_wants() {
        let parts = |script: Script| {
            let wire = Wire::Messages { model: String::new() };
            let events = Events::new(script, &Options::default(), String::new(), wire, None);
            let (mut rest, mut parts) = ("a\u{fc}\u{1f600}b".as_bytes(), Vec::new());
            while !rest.is_empty() {
                let (part, more) = rest.split_at(events.part_bytes(rest));
                parts.push(part.len());
                rest = more;
            }
            (events.in_parts(), parts)
        };
        assert_eq!(parts(Script::default()), (false, vec![8]));
        assert_eq!(parts(Script { split_chars: true, ..Script::default() }), (true, vec![2, 2, 1, 1, 2]));
        assert_eq!(parts(Script { drip: true, ..Script::default() }), (true, vec![1; 8]));
    }
}
