//! The script inside a message: `[[sim key key=value key="any text"]]`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::script::Script;

const OPENING: &str = "[[sim";
const CLOSING: &str = "]]";
const UNTERMINATED: &str = "the directive has no end: ]] is missing";

/// The message without its directive, and the script it asks for: `standing`, with what the directive says in its place.
/// The error is a sentence that names what is wrong.
pub(super) fn read<'a>(message: &'a str, standing: &Script) -> Result<(Cow<'a, str>, Script), String> {
    let Some((before, after)) = message.split_once(OPENING) else {
        return Ok((message.trim().into(), standing.clone()));
    };
    if !after.starts_with(|next: char| next == ']' || next.is_whitespace()) {
        return Ok((message.trim().into(), standing.clone())); // [[simple]]
    }
    let (fields, after) = fields(after)?;
    let mut script = serde_json::to_value(standing).map_err(|error| error.to_string())?;
    if let Value::Object(script) = &mut script {
        script.extend(fields);
    }
    let script: Script = serde_json::from_value(script).map_err(|error| error.to_string())?;
    let said = match (before.trim(), after.trim()) {
        ("", said) | (said, "") => said.into(),
        (before, after) => format!("{before} {after}").into(),
    };
    Ok((said, script.checked()?))
}

/// The fields up to the closing brackets, and what follows these.
fn fields(mut rest: &str) -> Result<(Map<String, Value>, &str), String> {
    let mut fields = Map::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(CLOSING) {
            return Ok((fields, after));
        }
        let (key, tail) = word(rest, |it| it == '=' || it == ']' || it.is_whitespace())?;
        if key.is_empty() {
            return Err(format!("a key is missing before {tail:?}"));
        }
        let (value, tail) = match tail.strip_prefix('=') {
            Some(tail) => value(tail).map_err(|problem| format!("{key}: {problem}"))?,
            None => (Value::Bool(true), tail),
        };
        fields.insert(key.to_owned(), value);
        rest = tail;
    }
}

/// A JSON string, a number, or a bare word.
fn value(rest: &str) -> Result<(Value, &str), &'static str> {
    if rest.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let text = strings.next().and_then(Result::ok).ok_or("the quoted text is not a JSON string")?;
        return Ok((Value::String(text), &rest[strings.byte_offset()..]));
    }
    let (word, tail) = word(rest, |it| it == ']' || it.is_whitespace())?;
    Ok((word.parse::<i64>().map_or_else(|_| Value::String(word.to_owned()), Value::from), tail))
}

fn word(rest: &str, ends: impl Fn(char) -> bool) -> Result<(&str, &str), &'static str> {
    rest.find(ends).map(|end| rest.split_at(end)).ok_or(UNTERMINATED)
}

#[cfg(test)]
mod tests {
    use super::{super::script::NumberOrText, *};

    fn script(message: &str) -> Result<Script, String> {
        read(message, &Script::default()).map(|(_, script)| script)
    }

    fn said(message: &str) -> String {
        read(message, &Script::default()).unwrap().0.into_owned()
    }

    #[test]
    fn a_directive_is_read_wherever_it_stands() {
        let expected = Script { first_ms: Some(200), hang: true, ..Script::default() };
        for message in [
            "[[sim first_ms=200 hang]]",
            "hi [[sim hang  first_ms=200 ]] you",
            "hi\n[[sim\nfirst_ms=200 hang]]",
        ] {
            assert_eq!(script(message).unwrap(), expected, "{message}");
        }
        assert_eq!(said("hi [[sim hang]] you"), "hi you");
        assert_eq!(said("[[sim hang]] hi "), "hi");
        assert_eq!(said("[[sim]]"), "");
    }

    #[test]
    fn quoted_text_may_hold_anything() {
        let text = script(r#"[[sim text="say \"]]\" = \u00fc" chunk_ms=1]]"#).unwrap().text;
        assert_eq!(text.as_deref(), Some("say \"]]\" = \u{fc}"));
    }

    #[test]
    fn numbers_and_texts_are_told_apart() {
        let retry_after = |value: &str| script(&format!("[[sim retry_after={value}]]")).unwrap().retry_after;
        assert_eq!(retry_after("-1"), Some(NumberOrText::Number(-1)));
        assert_eq!(retry_after("soon"), Some(NumberOrText::Text("soon".to_owned())));
    }

    #[test]
    fn what_is_no_directive_is_text() {
        for message in ["hi", "[[simple]]", "[sim hang]", "[[ sim hang]]"] {
            assert_eq!((said(message), script(message).unwrap()), (message.to_owned(), Script::default()));
        }
    }

    #[test]
    fn a_directive_stands_above_the_standing_script() {
        let standing = Script { chunk_ms: Some(5), hang: true, ..Script::default() };
        let (_, script) = read("[[sim chunk_ms=7]]", &standing).unwrap();
        assert_eq!(script, Script { chunk_ms: Some(7), hang: true, ..Script::default() });
    }

    #[test]
    fn a_faulty_directive_is_refused_by_name() {
        let faults = [
            ("[[sim fist_ms=200]]", "fist_ms"),
            ("[[sim first_ms=soon]]", "soon"),
            ("[[sim hang", "]]"),
            ("[[sim text=\"open]]", "text"),
            ("[[sim =1]]", "key"),
            ("[[sim ]hang]]", "key"),
            ("[[sim status=200]]", "status"),
            ("[[sim chunks=1000001]]", "chunks"),
        ];
        for (message, name) in faults {
            let fault = script(message).unwrap_err();
            assert!(fault.contains(name), "{message}: {fault}");
        }
    }
}
