//! What a simulated model says.

use super::{directive, script::Script};
use crate::prompt::{Message, Role};

/// Characters of the user's message that an answer quotes.
const QUOTE_CHARS_MAX: usize = 200;

/// The whole text that a simulator without a standing script answers these messages with, unless something cuts it
/// short. Depends on nothing else, so that a test can tell what must have been answered.
pub fn answer(messages: &[Message]) -> String {
    let mut said = messages.iter().filter(|message| message.role == Role::User);
    let count = said.clone().count();
    let last = said.next_back().map(|message| message.content.plain()).unwrap_or_default();
    match directive::read(&last, &Script::default()) {
        Ok((last, script)) => text(&script, &last, count),
        Err(_) => String::new(),
    }
}

/// As [`answer`], of a simulator with [`Options::sign`](super::Options::sign), to the call of this attempt.
pub fn signed_answer(messages: &[Message], attempt: &str) -> String {
    let mut said = messages.iter().filter(|message| message.role == Role::User);
    let count = said.clone().count();
    let last = said.next_back().map(|message| message.content.plain()).unwrap_or_default();
    match directive::read(&last, &Script::default()) {
        Ok((last, script)) => signed_text(&script, &last, count, digest(messages), attempt),
        Err(_) => String::new(),
    }
}

/// A number for exactly these messages in this order, the same in every run (FNV-1a). Not a secret, and no protection.
pub fn digest(messages: &[Message]) -> u64 {
    digest_of(messages.iter().map(|message| (message.role, message.content.plain())))
}

pub(super) fn digest_of<T: AsRef<str>>(messages: impl Iterator<Item = (Role, T)>) -> u64 {
    let (mut hash, prime) = (0xcbf2_9ce4_8422_2325_u64, 0x0100_0000_01b3);
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(prime);
    for (role, content) in messages {
        eat(role as u8);
        content.as_ref().bytes().for_each(&mut eat);
        eat(0xff); // no byte of UTF-8: texts cannot be told apart by moving their end
    }
    hash
}

/// As [`text`], with the prompt and the attempt it belongs to at its end.
pub(super) fn signed_text(script: &Script, said: &str, count: usize, digest: u64, attempt: &str) -> String {
    match text(script, said, count) {
        empty if empty.is_empty() => empty,
        text => format!("{text} [{digest:016x} {attempt}]"),
    }
}

/// The text of an answer to the `count`th user message.
pub(super) fn text(script: &Script, said: &str, count: usize) -> String {
    if script.empty {
        return String::new();
    }
    let text = script.text.clone().unwrap_or_else(|| greeting(said, count));
    match script.chunks {
        Some(chunks) => {
            let words: Vec<_> = text.split_whitespace().collect();
            let repeated: Vec<_> = words.iter().copied().cycle().take(chunks as usize).collect();
            repeated.join(" ")
        }
        None => text,
    }
}

fn greeting(said: &str, count: usize) -> String {
    let (quote, rest) = match said.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => (&said[..end], "…"),
        None => (said, ""),
    };
    format!(
        "You said \"{quote}{rest}\" (message {count} of this conversation). I am a simulated model: I cost nothing and \
         understand nothing. Set OPENAI_API_KEY or OPENROUTER_API_KEY to talk to a real one."
    )
}

/// Counts where words begin, which takes no time beside reading the request.
pub(super) fn words(text: &str) -> i64 {
    let blank = u8::is_ascii_whitespace;
    let bytes = text.as_bytes();
    let later =
        bytes.iter().zip(bytes.iter().skip(1)).filter(|(before, it)| blank(before) && !blank(it)).count();
    i64::from(bytes.first().is_some_and(|first| !blank(first))) + later as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_they_are_split() {
        for text in ["", " ", "one", " one", "one ", "one two", "  one \n\ttwo  three ", "\u{fc} x"] {
            assert_eq!(words(text), text.split_ascii_whitespace().count() as i64, "{text:?}");
        }
    }

    #[test]
    fn the_last_message_is_quoted_and_counted() {
        let messages = [
            Message::system("be brief"),
            Message::user("hello [[sim hang]]"),
            Message::assistant("…"),
            Message::user("hi [[sim first_ms=1]]"),
        ];
        assert!(answer(&messages).starts_with("You said \"hi\" (message 2 of this conversation). "));
    }

    #[test]
    fn a_long_message_is_quoted_in_part() {
        let answer = answer(&[Message::user("ü".repeat(201))]);
        assert!(answer.starts_with(&format!("You said \"{}…\"", "ü".repeat(200))));
    }

    #[test]
    fn a_signature_tells_prompts_and_attempts_apart() {
        let said = |texts: &[&str]| texts.iter().map(|text| Message::user(*text)).collect::<Vec<_>>();
        let [one, two, other] = [said(&["a"]), said(&["a", "b"]), said(&["b", "b"])];
        assert!(signed_answer(&one, "1").starts_with(&answer(&one)));
        assert_ne!(signed_answer(&two, "1"), signed_answer(&other, "1"));
        assert_ne!(signed_answer(&one, "1"), signed_answer(&one, "2"));
        assert_ne!(digest(&two), digest(&said(&["ab"])));
        assert_ne!(digest(&one), digest(&[Message::assistant("a")]));
    }

    #[test]
    fn a_directive_sets_text_and_length() {
        let answer = |directive: &str| answer(&[Message::user(directive)]);
        assert_eq!(answer(r#"[[sim text="a  b"]]"#), "a  b");
        assert_eq!(answer(r#"[[sim text="a  b" chunks=3]]"#), "a b a");
        assert_eq!(answer("[[sim chunks=3]]"), "You said \"\"");
        assert_eq!(answer("[[sim empty]]"), "");
    }
}
