//! One request, as it came in.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use identity::Principal;
use wire::{Encoding, Fault, FaultCode, OperationInfo, Path, Request, header};

use crate::{Context, ReplyTo, reply::Wants};

/// A request whose reply subject was found good.
#[derive(Debug)]
pub struct Incoming {
    /// Who asks; absent for what is asked before there is a user.
    pub caller: Option<Principal>,
    /// The ids in its subject.
    pub path: Path,
    /// Its names.
    pub context: Context,
    /// Where the answer goes.
    pub reply_to: ReplyTo,
    /// The encoding of the body, or what is wrong with it.
    encoding: Result<Encoding, Fault>,
    /// The key to send by.
    idempotency_key: Result<Option<String>, Fault>,
    /// Whether the outcome of the send is waited for elsewhere already ([`header::ENSURE`]).
    pub ensure: bool,
    /// How much is to be told.
    wants: Result<Wants, Fault>,
    /// The body, unread.
    pub body: Bytes,
}

impl Incoming {
    /// Reads what surrounds the body. None when there is nowhere to answer: such a request is dropped.
    pub(crate) fn read(info: &OperationInfo, message: Message) -> Option<Self> {
        let headers = message.headers.as_ref();
        let path = Path::new(info, message.subject.as_str());
        let caller =
            if info.is_guarded() { Some(Principal::authorised_by_broker(path.user().ok()?)) } else { None };
        let encoding = encoding(headers);
        let answer_in = header(headers, header::ACCEPT).and_then(Encoding::named);
        let answer_in = answer_in.or(encoding.as_ref().ok().copied()).unwrap_or_default();
        let user = caller.map(|caller| caller.user());
        let Some(reply_to) =
            message.reply.as_deref().and_then(|subject| ReplyTo::checked(subject, user, answer_in))
        else {
            metrics::counter!("omnichat_bad_replies_total").increment(1);
            return None;
        };
        let idempotency_key = idempotency_key(headers);
        let ensure = header(headers, header::ENSURE) == Some("true");
        let wants = Wants::parse(header(headers, header::STREAM));
        let context = Context::from_headers(headers);
        let body = message.payload;
        Some(Self { caller, path, context, reply_to, encoding, idempotency_key, ensure, wants, body })
    }

    /// How much of the turn is to be told to its sender; from then on, answers are as it is wanted.
    pub fn wants(&mut self) -> Result<Wants, Fault> {
        // Where that cannot be read, somebody may wait for the end of it.
        let wants = self.wants.as_ref().copied().unwrap_or(Wants::Steps);
        self.reply_to = self.reply_to.clone().wanting(wants);
        self.wants.clone()
    }

    /// Reads and checks the body.
    pub fn decode<T: Request>(&self) -> Result<T, Fault> {
        if self.body.len() > wire::limits::BODY_BYTES_MAX {
            return Err(FaultCode::BodyTooLarge.into());
        }
        self.encoding.clone()?.decode(&self.body)
    }

    /// The encoding of the body.
    pub fn encoding(&self) -> Result<Encoding, Fault> {
        self.encoding.clone()
    }

    /// The key to send by, if one was given.
    pub fn idempotency_key(&self) -> Result<Option<String>, Fault> {
        self.idempotency_key.clone()
    }

    /// Who asks. A guarded operation always has a caller.
    pub fn caller(&self) -> Result<Principal, Fault> {
        self.caller.ok_or(Fault::new(FaultCode::MissingToken))
    }
}

fn header<'a>(headers: Option<&'a HeaderMap>, name: &'static str) -> Option<&'a str> {
    headers?.get(name).map(|value| value.as_str())
}

fn encoding(headers: Option<&HeaderMap>) -> Result<Encoding, Fault> {
    header(headers, header::CONTENT_TYPE).map_or(Ok(Encoding::Json), |media_type| {
        Encoding::named(media_type).ok_or_else(|| {
            Fault::because(
                FaultCode::UnsupportedMediaType,
                "Send the body as application/json or application/msgpack",
            )
        })
    })
}

/// A key is visible ASCII; a quoted one (a structured-field string) is taken without its quotes.
fn idempotency_key(headers: Option<&HeaderMap>) -> Result<Option<String>, Fault> {
    let Some(headers) = headers else { return Ok(None) };
    let mut given = headers.get_all(header::IDEMPOTENCY_KEY);
    let Some(first) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(FaultCode::InvalidIdempotencyKey.into());
    }
    parse_key(first.as_str()).map(Some)
}

/// Reads an `Idempotency-Key`.
pub fn parse_key(text: &str) -> Result<String, Fault> {
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let long = key.len() > wire::limits::IDEMPOTENCY_KEY_BYTES_MAX;
    if key.is_empty() || long || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Err(FaultCode::InvalidIdempotencyKey.into());
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::is_plain;

    #[test]
    fn a_key_is_visible_ascii_with_or_without_quotes() {
        assert_eq!(parse_key("k1").unwrap(), "k1");
        assert_eq!(parse_key("\"k1\"").unwrap(), "k1");
        assert!(parse_key(&"k".repeat(255)).is_ok());
        for bad in ["", "\"\"", "a\tb", "é", &"k".repeat(256)] {
            assert_eq!(parse_key(bad).unwrap_err().code, FaultCode::InvalidIdempotencyKey, "{bad}");
        }
        assert!(is_plain("req-1") && !is_plain("a b") && !is_plain(""));
    }
}
