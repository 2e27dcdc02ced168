//! What the address of a request says: ids in its path, parameters in its query.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use bytes::Bytes;
use http::{Uri, request::Parts};
use serde_json::{Map, Value};
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

/// The last part of the address that the route's template does not call an id: a version, a label.
pub(crate) struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = RawPathParams::from_request_parts(parts, state).await.ok();
        let last = path.as_ref().and_then(|path| path.iter().last());
        last.map(|(_, text)| Self(text.to_owned())).ok_or_else(|| FaultCode::RouteNotFound.into())
    }
}

/// The part of a list that the query names, as a body.
pub(crate) fn page_as_body(uri: &Uri) -> Result<Bytes, Fault> {
    query_as_body(uri, &["limit", "cursor"])
}

/// The query parameters of these names as a body: `{"<name>":"<value>"}`, or empty when none is given. A value of digits
/// becomes a number where one is meant. The service judges the values.
pub(crate) fn query_as_body(uri: &Uri, names: &[&str]) -> Result<Bytes, Fault> {
    let fields = query_fields(uri, names)?;
    Ok(if fields.is_empty() { Bytes::new() } else { Value::from(fields).to_string().into() })
}

/// The query parameters of these names.
pub(crate) fn query_fields(uri: &Uri, names: &[&str]) -> Result<Map<String, Value>, Fault> {
    let Query(given) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Fault::because(FaultCode::MalformedRequest, "The query could not be read"))?;
    let mut fields = Map::new();
    for (name, text) in given.into_iter().filter(|(name, _)| names.contains(&name.as_str())) {
        let number = (name == "limit").then(|| text.parse::<i64>().ok()).flatten();
        let value = number.map_or(Value::from(text), Value::from);
        if fields.insert(name.clone(), value).is_some() {
            return Err(Fault::because(FaultCode::MalformedRequest, format!("Give {name} once")));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_become_a_body() {
        let body = |uri: &str| {
            query_as_body(&uri.parse().unwrap(), &["branch", "limit"]).map_err(|fault| fault.code)
        };
        assert_eq!(body("/").unwrap(), "");
        assert_eq!(body("/?other=1&branchy=2").unwrap(), "");
        assert_eq!(body("/?x=1&branch=all").unwrap(), r#"{"branch":"all"}"#);
        assert_eq!(body("/?branch=%22%7D").unwrap(), r#"{"branch":"\"}"}"#);
        assert_eq!(body("/?branch").unwrap(), r#"{"branch":""}"#);
        assert_eq!(body("/?limit=7").unwrap(), r#"{"limit":7}"#);
        assert_eq!(body("/?limit=-1").unwrap(), r#"{"limit":-1}"#);
        assert_eq!(body("/?limit=x").unwrap(), r#"{"limit":"x"}"#);
        assert_eq!(body("/?branch=a&branch=b"), Err(FaultCode::MalformedRequest));
    }
}
