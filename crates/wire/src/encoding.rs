//! Bodies on the wire: JSON, or MessagePack in its human-readable form (maps with names, ids and times as the same text as
//! in JSON), chosen by `Content-Type`. Reading is strict, and its errors name the field.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Fault, FaultCode, FieldError, check::Request};

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `application/json`
    #[default]
    Json,
    /// `application/msgpack`
    MessagePack,
}

/// A value of ours that cannot be written; a bug, as all of them can.
#[derive(Debug, thiserror::Error)]
#[error("cannot be encoded: {0}")]
pub struct EncodeError(String);

impl Encoding {
    /// The encoding that a `Content-Type` or `Accept` header names, if it is one of ours. Parameters are ignored.
    pub fn named(media_type: &str) -> Option<Self> {
        match media_type.split([';', ',']).next().unwrap_or_default().trim() {
            "application/json" => Some(Self::Json),
            "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => {
                Some(Self::MessagePack)
            }
            _ => None,
        }
    }

    /// The name of this encoding, for `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MessagePack => "application/msgpack",
        }
    }

    /// Writes a body.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| EncodeError(error.to_string())),
            Self::MessagePack => {
                let mut body = Vec::with_capacity(256);
                let mut serializer =
                    rmp_serde::Serializer::new(&mut body).with_struct_map().with_human_readable();
                value.serialize(&mut serializer).map_err(|error| EncodeError(error.to_string()))?;
                Ok(body)
            }
        }
    }

    /// Reads and checks a request. An empty body counts as an object without fields.
    pub fn decode<T: Request>(self, body: &[u8]) -> Result<T, Fault> {
        let value: T = match self {
            _ if body.is_empty() => from_json(b"{}"),
            Self::Json => from_json(body),
            Self::MessagePack => from_message_pack(body),
        }?;
        crate::check::run(&value).map(|()| value)
    }
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    // serde reads a struct from an array as well; a request is an object.
    if matches!(body.trim_ascii_start().first(), Some(byte) if *byte != b'{' && is_json_start(*byte)) {
        return serde_json::from_slice::<serde::de::IgnoredAny>(body)
            .map_or_else(|error| Err(malformed(error)), |_| Err(not_an_object()));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() { misfit(&path, &strip_position(&error.to_string())) } else { malformed(error) }
    })?;
    reader.end().map_err(malformed)?;
    Ok(value)
}

const fn is_json_start(byte: u8) -> bool {
    matches!(byte, b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9')
}

/// Values within values, as many as in JSON. Reading is recursive, and the reader's own bound is more than a thread's stack
/// holds.
const DEPTH_MAX: usize = 128;

fn from_message_pack<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    if !matches!(body.first(), Some(0x80..=0x8f | 0xde | 0xdf)) {
        return Err(not_an_object());
    }
    let mut rest = body;
    let mut reader = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
    reader.set_max_depth(DEPTH_MAX);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        match error.into_inner() {
            rmp_serde::decode::Error::Syntax(text) => misfit(&path, &text),
            rmp_serde::decode::Error::TypeMismatch(_) => misfit(&path, "invalid type"),
            _ => Fault::because(FaultCode::MalformedBody, "The body is not well-formed MessagePack"),
        }
    })?;
    if !rest.is_empty() {
        return Err(Fault::because(FaultCode::MalformedBody, "The body goes on after its end"));
    }
    Ok(value)
}

fn malformed(error: serde_json::Error) -> Fault {
    Fault::because(FaultCode::MalformedBody, format!("The body is not well-formed JSON: {error}"))
}

fn not_an_object() -> Fault {
    Fault::invalid(vec![FieldError {
        field: "body".into(),
        code: "invalid_type".into(),
        message: "an object is expected".into(),
    }])
}

/// A well-formed body that is not the request's form: serde's sentence, told apart into field and code.
fn misfit(path: &str, sentence: &str) -> Fault {
    let named = sentence.split('`').nth(1).unwrap_or_default();
    let code = ["unknown field", "missing field", "duplicate field", "invalid type"]
        .into_iter()
        .find(|kind| sentence.starts_with(kind))
        .unwrap_or("invalid value");
    let at = if path == "." { "" } else { path };
    let field = match code {
        // The path of serde ends before, or at, the field that the sentence names.
        "unknown field" | "missing field" | "duplicate field" => {
            let parent = at.strip_suffix(named).map_or(at, |parent| parent.trim_end_matches('.'));
            if parent.is_empty() { named.to_owned() } else { format!("{parent}.{named}") }
        }
        _ if at.is_empty() => "body".to_owned(),
        _ => at.to_owned(),
    };
    let code: Cow<'static, str> = code.replace(' ', "_").into();
    Fault::invalid(vec![FieldError { field, code, message: sentence.to_owned() }])
}

/// serde_json ends its sentences with " at line 1 column 2"; for a named field that only confuses.
fn strip_position(sentence: &str) -> String {
    sentence.split(" at line ").next().unwrap_or(sentence).to_owned()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::check::Checks;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u32,
    }

    impl Request for Sample {
        fn check(&self, _: &mut Checks) {}
    }

    fn refused(body: &str) -> (u16, String, String) {
        let fault = Encoding::Json.decode::<Sample>(body.as_bytes()).unwrap_err();
        let error = fault.errors.first();
        (
            fault.code.status(),
            error.map(|error| error.field.clone()).unwrap_or_default(),
            error.map(|error| error.code.to_string()).unwrap_or_default(),
        )
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            (r#"{"name":"a""#, 400, "", ""),
            (r#"{"name":"a"} x"#, 400, "", ""),
            (r#"{"name":"\ud800"}"#, 400, "", ""),
            ("", 422, "name", "missing_field"),
            ("null", 422, "body", "invalid_type"),
            (r#"["a"]"#, 422, "body", "invalid_type"),
            (r#"["a""#, 400, "", ""),
            (r#"{"name":7}"#, 422, "name", "invalid_type"),
            (r#"{"name":"a","id":"x"}"#, 422, "id", "unknown_field"),
            (r#"{"name":"a","name":"b"}"#, 422, "name", "duplicate_field"),
            (r#"{"name":"a","inner":{"number":"b"}}"#, 422, "inner.number", "invalid_type"),
            (r#"{"name":"a","inner":{"numbr":1}}"#, 422, "inner.numbr", "unknown_field"),
            (r#"{"name":"a","inner":{}}"#, 422, "inner.number", "missing_field"),
            (r#"{"name":"a","inner":{"number":1e999}}"#, 400, "", ""),
        ];
        for (body, status, field, code) in cases {
            assert_eq!(refused(body), (status, field.to_owned(), code.to_owned()), "{body}");
        }
        let deep = "[".repeat(10_000);
        assert_eq!(refused(&format!(r#"{{"name":{deep}"#)).0, 422, "a wrong type is seen before its depth");
        assert_eq!(refused(&deep).0, 400);
    }

    #[test]
    fn message_pack_reads_what_it_wrote_and_nothing_else() {
        let sample = Sample { name: "é".into(), inner: Some(Inner { number: 7 }) };
        let body = Encoding::MessagePack.encode(&sample).unwrap();
        assert_eq!(Encoding::MessagePack.decode::<Sample>(&body).unwrap(), sample);
        let mut longer = body.clone();
        longer.push(0xc0);
        assert_eq!(
            Encoding::MessagePack.decode::<Sample>(&longer).unwrap_err().code,
            FaultCode::MalformedBody
        );
        for cut in 1..body.len() {
            assert!(Encoding::MessagePack.decode::<Sample>(&body[..cut]).is_err(), "cut at {cut}");
        }
        let deep = [&[0x81, 0xa1, b'a'][..], &[0x91; 10_000]].concat();
        assert_eq!(from_message_pack::<serde_json::Value>(&deep).unwrap_err().code, FaultCode::MalformedBody);
        let huge = [0x81, 0xa4, b'n', b'a', b'm', b'e', 0xdb, 0xff, 0xff, 0xff, 0xff];
        assert!(Encoding::MessagePack.decode::<Sample>(&huge).is_err());
        assert_eq!(
            Encoding::MessagePack.decode::<Sample>(&[0x91, 0xa1, b'a']).unwrap_err().code,
            FaultCode::InvalidBody
        );
    }

    #[test]
    fn ids_are_text_in_both_encodings() {
        let id = crate::TurnId::new();
        let packed = Encoding::MessagePack.encode(&id).unwrap();
        assert_eq!(&packed[2..], id.to_string().as_bytes());
    }

    #[test]
    fn media_types_are_read_with_their_parameters() {
        assert_eq!(Encoding::named("application/json; charset=utf-8"), Some(Encoding::Json));
        assert_eq!(Encoding::named("application/msgpack"), Some(Encoding::MessagePack));
        assert_eq!(Encoding::named("text/plain"), None);
    }
}
