//! The credential of a request: one bearer token, or an API key in its place.

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};
use wire::{Fault, FaultCode};

/// The credential in `Authorization`.
pub(crate) fn given<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<&'a str, Fault> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let only = given.next().ok_or(FaultCode::MissingToken)?;
    if given.next().is_some() || carries_token(uri) {
        return Err(FaultCode::InvalidToken.into());
    }
    bearer(only).ok_or(FaultCode::InvalidToken.into())
}

/// The scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && plain).then_some(token)
}

/// A token in the address as well (RFC 6750 §2: one way per request).
pub(crate) fn carries_token(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token=")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(values: &[&str], uri: &str) -> Result<String, FaultCode> {
        let headers =
            values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect();
        given(&headers, &uri.parse().unwrap()).map(str::to_owned).map_err(|fault| fault.code)
    }

    #[test]
    fn one_bearer_token_is_taken() {
        assert_eq!(credential(&["Bearer abc"], "/"), Ok("abc".into()));
        assert_eq!(credential(&["bEARER abc"], "/?x=access_token=1"), Ok("abc".into()));
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(credential(&[], "/"), Err(FaultCode::MissingToken));
        let cases: [&[&str]; 7] = [
            &["Bearer abc", "Bearer abc"],
            &["abc"],
            &["Basic abc"],
            &["Bearer  abc"],
            &["Bearer a b"],
            &["bearer"],
            &["bearer "],
        ];
        for values in cases {
            assert_eq!(credential(values, "/"), Err(FaultCode::InvalidToken), "{values:?}");
        }
        assert_eq!(credential(&["Bearer abc"], "/?a=b&access_token=c"), Err(FaultCode::InvalidToken));
    }
}
