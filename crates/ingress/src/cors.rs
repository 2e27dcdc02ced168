//! Which pages may use the API from a browser. There are no cookies: a page can only do what the token it holds can do.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN,
        VARY,
    },
};

use crate::StartError;

/// The entry that stands for every port of this machine.
pub(crate) const THIS_MACHINE: &str = "http://localhost:*";
const HOSTS_OF_THIS_MACHINE: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const PREFLIGHT: [(HeaderName, HeaderValue); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE")),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-type, idempotency-key, last-event-id, prefer, x-request-id",
        ),
    ),
    (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
];
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, retry-after, link, location, preference-applied, ratelimit, ratelimit-policy",
);

/// The origins that are let in.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    exact: Vec<String>,
    this_machine: bool,
}

impl Origins {
    /// # Errors
    /// [`StartError::Origin`] names the first entry that is none.
    pub fn parse(entries: &[String]) -> Result<Self, StartError> {
        let mut origins = Self::default();
        for entry in entries {
            match entry.as_str() {
                THIS_MACHINE => origins.this_machine = true,
                origin if is_origin(origin) => origins.exact.push(origin.to_ascii_lowercase()),
                _ => return Err(StartError::Origin(entry.clone())),
            }
        }
        Ok(origins)
    }

    /// The origin of a request, if its page may read the answer.
    pub fn granted(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        let granted = (self.this_machine && is_of_this_machine(text)) || self.exact.iter().any(|o| o == text);
        granted.then(|| origin.clone())
    }

    /// Whether whoever asks may open a socket, which browsers let every page do: a program, which has no origin, the pages of
    /// this very server, and those of the origins that are let in.
    pub fn let_in(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => self.granted(headers).is_some() || is_own(origin, headers),
            (Some(_), Some(_)) => false,
        }
    }

    /// Writes down on an answer who may read it.
    pub fn mark(&self, answer: &mut HeaderMap, granted: Option<HeaderValue>) {
        if self.this_machine || !self.exact.is_empty() {
            answer.insert(VARY, HeaderValue::from_name(ORIGIN));
        }
        if let Some(origin) = granted {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Whether a browser asks what a page may do, before it lets the page do it.
pub(crate) fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page that was let in may do.
pub(crate) fn preflight() -> Response {
    (StatusCode::NO_CONTENT, PREFLIGHT).into_response()
}

/// `scheme://host` or `scheme://host:port`, and nothing more.
fn is_origin(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._:[]".contains(c);
    text.split_once("://").is_some_and(|(scheme, host)| {
        [scheme, host].iter().all(|part| !part.is_empty() && part.chars().all(plain))
    })
}

/// Whether the page came from where the request goes to. TLS ends before us, so the scheme may be either.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| {
        ["http://", "https://"].into_iter().find_map(|scheme| origin.strip_prefix(scheme))
    });
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn is_of_this_machine(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://") else { return false };
    HOSTS_OF_THIS_MACHINE
        .iter()
        .filter_map(|host| authority.strip_prefix(host))
        .any(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(entries: &[&str], origin: &'static str) -> bool {
        let entries: Vec<_> = entries.iter().map(ToString::to_string).collect();
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))]);
        Origins::parse(&entries).unwrap().granted(&headers).is_some()
    }

    #[test]
    fn an_origin_is_let_in_by_its_exact_text() {
        let list = ["https://app.example.org", "http://Intern.example:8443"];
        assert!(grants(&list, "https://app.example.org"));
        assert!(grants(&list, "http://intern.example:8443"));
        for stranger in [
            "http://app.example.org",
            "https://app.example.org:8443",
            "https://app.example.org.evil.example",
            "https://evil-app.example.org",
            "http://localhost:5173",
            "null",
            "",
        ] {
            assert!(!grants(&list, stranger), "{stranger}");
        }
        assert!(!grants(&[], "https://app.example.org"));
    }

    #[test]
    fn a_socket_is_for_programs_own_pages_and_those_let_in() {
        let origins = Origins::parse(&["https://app.example.org".to_owned()]).unwrap();
        let let_in = |lines: &[&'static str]| {
            let host = (HOST, HeaderValue::from_static("chat.example.org"));
            let lines = lines.iter().map(|line| (ORIGIN, HeaderValue::from_static(line)));
            origins.let_in(&lines.chain([host]).collect())
        };
        assert!(let_in(&[]));
        for origin in ["https://app.example.org", "https://chat.example.org", "http://Chat.Example.org"] {
            assert!(let_in(&[origin]), "{origin}");
            assert!(!let_in(&[origin, origin]), "twice {origin}");
        }
        for stranger in [
            "https://chat.example.org:8443",
            "https://evil.example",
            "https://chat.example.org.evil.example",
            "chrome-extension://chat.example.org",
            "chat.example.org",
            "null",
            "",
        ] {
            assert!(!let_in(&[stranger]), "{stranger}");
        }
    }

    #[test]
    fn this_machine_is_let_in_on_every_port() {
        for own in
            ["http://localhost", "http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:65535"]
        {
            assert!(grants(&[THIS_MACHINE], own), "{own}");
        }
        for stranger in [
            "http://localhost.evil.example",
            "http://localhost:5173.evil.example",
            "http://localhost:",
            "http://localhost:65536",
            "http://127.0.0.1.evil.example",
            "http://evil.example/http://localhost",
        ] {
            assert!(!grants(&[THIS_MACHINE], stranger), "{stranger}");
        }
    }

    #[test]
    fn what_no_browser_sends_is_refused_at_the_start() {
        for entry in
            ["*", "app.example.org", "https://", "https://app.example.org/", "https://*.example.org", ""]
        {
            assert!(matches!(Origins::parse(&[entry.to_owned()]), Err(StartError::Origin(_))), "{entry}");
        }
    }
}
