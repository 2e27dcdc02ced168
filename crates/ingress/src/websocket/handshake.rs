//! Who may open a socket, and whose it is if the request says so. Browsers let a page open one anywhere, and say from which
//! origin; they let it set no header but the subprotocols, so a token may stand among these.

use http::{
    HeaderMap, Uri,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use wire::{Fault, FaultCode};

use crate::{cors::Origins, credential};

/// What is spoken.
pub(super) const PROTOCOL: &str = "omnichat.v1";
/// Before a token that stands among the subprotocols.
const BEARER: &str = "bearer.";

/// The credential that the request shows; none, if it is to be said in the first message.
///
/// # Errors
/// The page's origin is not let in; another protocol is wanted; a token stands in the address, or there are two.
pub(super) fn check(origins: &Origins, headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, Fault> {
    if !origins.let_in(headers) {
        return Err(FaultCode::OriginNotAllowed.into());
    }
    if credential::carries_token(uri) || uri.query().is_some_and(|query| query.starts_with("token=")) {
        return Err(Fault::because(
            FaultCode::InvalidToken,
            "Addresses are written into logs: offer the token as the subprotocol bearer.<token>, or say it first",
        ));
    }
    let offered: Vec<_> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    if !offered.is_empty() && !offered.contains(&PROTOCOL) {
        return Err(Fault::because(
            FaultCode::MalformedRequest,
            "This server speaks the subprotocol omnichat.v1: offer it, or none",
        ));
    }
    let mut tokens = offered.iter().filter_map(|protocol| protocol.strip_prefix(BEARER));
    match (tokens.next(), tokens.next(), headers.contains_key(AUTHORIZATION)) {
        (Some(token), None, false) => Ok(Some(token.to_owned())),
        (None, _, true) => credential::given(headers, uri).map(|token| Some(token.to_owned())),
        (None, _, false) => Ok(None),
        _ => Err(FaultCode::InvalidToken.into()),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, header::ORIGIN};

    use super::*;

    type Lines<'a> = &'a [(HeaderName, &'a str)];

    fn shown(lines: Lines<'_>, uri: &str) -> Result<Option<String>, FaultCode> {
        let headers =
            lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        check(&Origins::default(), &headers, &uri.parse().unwrap()).map_err(|fault| fault.code)
    }

    #[test]
    fn a_token_is_shown_in_one_way_or_not_at_all() {
        let [protocol, bearer] = [SEC_WEBSOCKET_PROTOCOL, AUTHORIZATION];
        assert_eq!(shown(&[], "/ws"), Ok(None));
        assert_eq!(shown(&[(protocol.clone(), PROTOCOL)], "/ws?x=1"), Ok(None));
        assert_eq!(shown(&[(protocol.clone(), "omnichat.v1, bearer.abc")], "/ws"), Ok(Some("abc".into())));
        let lines = [(protocol.clone(), "bearer.abc"), (protocol.clone(), PROTOCOL)];
        assert_eq!(shown(&lines, "/ws"), Ok(Some("abc".into())));
        assert_eq!(shown(&[(bearer.clone(), "Bearer abc")], "/ws"), Ok(Some("abc".into())));
        let refused: [(Lines<'_>, &str, FaultCode); 8] = [
            (&[(protocol.clone(), "graphql-ws")], "/ws", FaultCode::MalformedRequest),
            (&[(protocol.clone(), "bearer.abc")], "/ws", FaultCode::MalformedRequest),
            (&[(protocol.clone(), "")], "/ws", FaultCode::MalformedRequest),
            (&[(protocol.clone(), "omnichat.v1,bearer.a,bearer.b")], "/ws", FaultCode::InvalidToken),
            (
                &[(protocol.clone(), "omnichat.v1,bearer.a"), (bearer.clone(), "Bearer a")],
                "/ws",
                FaultCode::InvalidToken,
            ),
            (&[(bearer, "Basic abc")], "/ws", FaultCode::InvalidToken),
            (&[], "/ws?access_token=a", FaultCode::InvalidToken),
            (&[], "/ws?token=a", FaultCode::InvalidToken),
        ];
        for (lines, uri, code) in refused {
            assert_eq!(shown(lines, uri), Err(code), "{lines:?} {uri}");
        }
        assert_eq!(shown(&[(ORIGIN, "https://evil.example")], "/ws"), Err(FaultCode::OriginNotAllowed));
    }
}
