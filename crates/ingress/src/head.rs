//! The head of a request: bounded, and for one host.

use axum::extract::Request;
use host::limit::hit;
use http::{HeaderMap, Version, header::HOST};
use wire::{
    Fault, FaultCode,
    limit::{HEADER_BYTES, HEADERS, URI_BYTES},
    limits::{HEADER_BYTES_MAX, HEADERS_MAX, URI_BYTES_MAX},
};

/// What stands in a header's line beside its name and value: `: ` and the line's end.
const LINE_BYTES: usize = 4;

/// Refuses a head that no handler should see. What hyper cannot read at all, it has refused before.
pub(crate) fn check(request: &Request) -> Result<(), Fault> {
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bounds = [
        (&URI_BYTES, target, URI_BYTES_MAX, FaultCode::UriTooLong),
        (&HEADERS, headers.len(), HEADERS_MAX, FaultCode::HeadersTooLarge),
        (&HEADER_BYTES, bytes(headers), HEADER_BYTES_MAX, FaultCode::HeadersTooLarge),
    ];
    for (limit, found, most, code) in bounds {
        if found > most {
            hit(limit.name);
            return Err(code.into());
        }
    }
    if names_its_host(request) {
        Ok(())
    } else {
        Err(Fault::because(FaultCode::MalformedRequest, "Name one host, in the header Host"))
    }
}

fn bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + LINE_BYTES).sum()
}

/// RFC 9112 §3.2: HTTP/1.1 asks for one Host, and a proxy that saw another one than we did is a way around it.
fn names_its_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => request.uri().authority().is_none_or(|target| host == target.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let names = |uri: &str, version, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri).version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            names_its_host(&request.body(Body::empty()).unwrap())
        };
        assert!(names("/", Version::HTTP_11, &["a.example"]));
        assert!(names("/", Version::HTTP_10, &[]));
        assert!(names("http://a.example:80/", Version::HTTP_11, &["a.example:80"]));
        assert!(!names("/", Version::HTTP_11, &[]));
        assert!(!names("/", Version::HTTP_11, &["a.example", "b.example"]));
        assert!(!names("http://b.example/", Version::HTTP_11, &["a.example"]));
    }

    #[test]
    fn a_head_is_taken_up_to_its_bounds() {
        let refused = |path_bytes: usize, others: usize, value_bytes: usize| {
            let mut request =
                Request::builder().uri(format!("/{}", "p".repeat(path_bytes - 1))).header(HOST, "a.example");
            for number in 0..others {
                request = request.header(format!("x-{number}"), "v".repeat(value_bytes));
            }
            check(&request.body(Body::empty()).unwrap()).err().map(|fault| fault.code)
        };
        assert_eq!(refused(URI_BYTES_MAX, 0, 0), None);
        assert_eq!(refused(URI_BYTES_MAX + 1, 0, 0), Some(FaultCode::UriTooLong));
        assert_eq!(refused(1, HEADERS_MAX - 1, 1), None);
        assert_eq!(refused(1, HEADERS_MAX, 1), Some(FaultCode::HeadersTooLarge));
        let host = "host".len() + "a.example".len() + LINE_BYTES;
        let whole = HEADER_BYTES_MAX - host - "x-0".len() - LINE_BYTES;
        assert_eq!(refused(1, 1, whole), None);
        assert_eq!(refused(1, 1, whole + 1), Some(FaultCode::HeadersTooLarge));
    }
}
