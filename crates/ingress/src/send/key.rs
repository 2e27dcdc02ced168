//! The idempotency key of a send.

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use uuid::Uuid;
use wire::{Fault, FaultCode, header};

use crate::answer::Refusal;

/// The client's key of a send; ours if it gave none.
pub(crate) struct IdempotencyKey(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let key = given_key(&parts.headers)?;
        Ok(Self(key.unwrap_or_else(|| Uuid::now_v7().to_string())))
    }
}

fn given_key(headers: &HeaderMap) -> Result<Option<String>, Fault> {
    let mut given = headers.get_all(header::IDEMPOTENCY_KEY).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(key), None) => bus::incoming::parse_key(key.to_str().unwrap_or_default()).map(Some),
        _ => Err(FaultCode::InvalidIdempotencyKey.into()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_given_once_or_not_at_all() {
        let key = |values: &[&str]| {
            let value = |text: &&str| {
                (header::IDEMPOTENCY_KEY.parse().unwrap(), HeaderValue::from_bytes(text.as_bytes()).unwrap())
            };
            given_key(&values.iter().map(value).collect()).map_err(|fault| fault.code)
        };
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["k1"]), Ok(Some("k1".into())));
        assert_eq!(key(&["\"k1\""]), Ok(Some("k1".into())));
        for bad in [&[""][..], &["k1", "k1"], &["\u{e9}"]] {
            assert_eq!(key(bad), Err(FaultCode::InvalidIdempotencyKey), "{bad:?}");
        }
    }
}
