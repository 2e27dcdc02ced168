//! A text as every provider's wire carries it: a JSON string.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A text that is escaped once and sent many times: a history goes out again with every turn. Cheap to clone.
#[derive(Clone)]
pub struct Text {
    json: Arc<RawValue>,
    bytes: usize,
}

impl Text {
    /// Bytes of the text itself.
    pub const fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The text itself, borrowed if nothing in it had to be escaped.
    pub fn plain(&self) -> Cow<'_, str> {
        let quoted = self.json.get();
        match quoted.get(1..=self.bytes) {
            Some(text) if quoted.len() == self.bytes + 2 => Cow::Borrowed(text),
            // What was written by the same library can be read.
            _ => Cow::Owned(serde_json::from_str(quoted).unwrap_or_default()),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        // A text always makes JSON.
        let json = serde_json::value::to_raw_value(text).unwrap_or_default();
        Self { json: json.into(), bytes: text.len() }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        (*text).into()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.plain() == other
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.plain())
    }
}

/// Never shows the text: it belongs to a user, and this is what ends up in logs.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

/// As JSON only.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer).map(|text| (*text).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_out_as_it_went_in() {
        for plain in ["", "plain", "ü\u{1f600}", "a \"b\" \\ \n\t\u{0}\u{7f}\u{2028}", "\"\"", "\\"] {
            let text = Text::from(plain);
            assert_eq!(
                (text.plain().as_ref(), text.len(), text.is_empty()),
                (plain, plain.len(), plain.is_empty())
            );
            assert_eq!(text.to_string(), plain);
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(json, serde_json::to_string(plain).unwrap());
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
        }
    }

    #[test]
    fn only_what_was_escaped_is_read_again() {
        assert!(matches!(Text::from("ü").plain(), Cow::Borrowed(_)));
        assert!(matches!(Text::from("\"").plain(), Cow::Owned(_)));
    }

    #[test]
    fn it_is_never_printed_for_a_log() {
        assert_eq!(format!("{:?}", Text::from("secret")), "6 bytes");
    }
}
