//! What the address of a request says: ids in its path, parameters in its query.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use bytes::Bytes;
use http::{Uri, request::Parts};
use wire::{Fault, FaultCode, Id};

use crate::answer::Refusal;

/// The id that the route's template calls by the kind's token. What is not an id names nothing, so the answer is the one
/// for an unknown id.
pub(crate) struct PathId<I>(pub I);

impl<I: Id, S: Send + Sync> FromRequestParts<S> for PathId<I> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let text = path.as_ref().and_then(|path| path.iter().find(|(name, _)| *name == I::TOKEN));
        let id = text.and_then(|(_, text)| text.parse().ok());
        id.map(Self).ok_or_else(|| I::MISSING.into())
    }
}

/// The query parameter `name` as a body: `{"<name>":"<value>"}`, or empty when it is not given. The service judges the
/// value.
pub(crate) fn query_as_body(uri: &Uri, name: &str) -> Result<Bytes, Fault> {
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Fault::because(FaultCode::MalformedRequest, "The query could not be read"))?;
    let mut values = given.into_iter().filter(|(given, _)| given == name);
    match (values.next(), values.next()) {
        (None, _) => Ok(Bytes::new()),
        (Some((_, value)), None) => Ok(serde_json::json!({ name: value }).to_string().into()),
        _ => Err(Fault::because(FaultCode::MalformedRequest, format!("Give {name} once"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_parameter_becomes_a_body() {
        let body = |uri: &str| query_as_body(&uri.parse().unwrap(), "branch").map_err(|fault| fault.code);
        assert_eq!(body("/").unwrap(), "");
        assert_eq!(body("/?other=1&branchy=2").unwrap(), "");
        assert_eq!(body("/?x=1&branch=all").unwrap(), r#"{"branch":"all"}"#);
        assert_eq!(body("/?branch=%22%7D").unwrap(), r#"{"branch":"\"}"}"#);
        assert_eq!(body("/?branch").unwrap(), r#"{"branch":""}"#);
        assert_eq!(body("/?branch=a&branch=b"), Err(FaultCode::MalformedRequest));
    }
}
