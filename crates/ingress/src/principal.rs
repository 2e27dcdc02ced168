//! Who calls: the bearer token of a request, proven.

use http::{HeaderMap, HeaderValue, Uri, header::AUTHORIZATION};
use identity::{Principal, Verifier};
use wire::{Fault, FaultCode};

/// Proves the token in `Authorization`.
pub(crate) fn prove(headers: &HeaderMap, uri: &Uri, verifier: &Verifier) -> Result<Principal, Fault> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let only = given.next().ok_or(FaultCode::MissingToken)?;
    if given.next().is_some() || carries_token(uri) {
        return Err(FaultCode::InvalidToken.into());
    }
    let token = bearer(only).ok_or(FaultCode::InvalidToken)?;
    Ok(verifier.verify(token)?.principal())
}

/// The scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A token in the address as well (RFC 6750 §2: one way per request).
fn carries_token(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token=")))
}

#[cfg(test)]
mod tests {
    use identity::{Secret, Signer};
    use wire::UserId;

    use super::*;

    fn secret() -> Secret {
        Secret::new("0123456789abcdef0123456789abcdef".to_owned().into()).unwrap()
    }

    fn proven(values: &[String], uri: &str) -> Result<UserId, FaultCode> {
        let headers =
            values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect();
        prove(&headers, &uri.parse().unwrap(), &Verifier::new(&secret()))
            .map(|principal| principal.user())
            .map_err(|fault| fault.code)
    }

    #[test]
    fn a_bearer_token_names_its_user() {
        let user = UserId::new();
        let token = Signer::new(&secret(), 60).sign(user, uuid::Uuid::now_v7()).unwrap();
        assert_eq!(proven(&[format!("Bearer {token}")], "/"), Ok(user));
        assert_eq!(proven(&[format!("bEARER {token}")], "/?x=access_token=1"), Ok(user));
    }

    #[test]
    fn anything_but_one_bearer_token_is_refused() {
        let token = Signer::new(&secret(), 60).sign(UserId::new(), uuid::Uuid::now_v7()).unwrap();
        let good = format!("Bearer {token}");
        assert_eq!(proven(&[], "/"), Err(FaultCode::MissingToken));
        let cases = [
            vec![good.clone(), good.clone()],
            vec![token.clone()],
            vec![format!("Basic {token}")],
            vec![format!("Bearer  {token}")],
            vec![format!("Bearer {token} x")],
            vec!["bearer".to_owned()],
            vec!["bearer ".to_owned()],
            vec![String::new()],
            vec![format!("Bearer {}", "x".repeat(65_536))],
        ];
        for values in cases {
            assert_eq!(proven(&values, "/"), Err(FaultCode::InvalidToken), "{values:.40?}");
        }
        assert_eq!(proven(&[good], "/?a=b&access_token=c"), Err(FaultCode::InvalidToken));
    }
}
