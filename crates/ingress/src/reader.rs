//! Who may read what machines ask about: this machine, and those that the configuration names. To others there are no
//! metrics, and of readiness no more than the word.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName};

use crate::{
    Config, StartError,
    peer::{FORWARDED_FOR, Networks, Peer, TrustedProxies},
};

/// What proxies add to a request.
const OF_PROXIES: [HeaderName; 4] = [
    FORWARDED_FOR,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
];

/// Those who may.
pub(crate) struct Readers {
    others: Networks,
    proxies: TrustedProxies,
}

/// On a request of anybody else.
#[derive(Clone, Copy)]
pub(crate) struct Stranger;

impl Readers {
    /// # Errors
    /// [`StartError::Reader`], [`StartError::Proxy`].
    pub fn new(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            others: Networks::parse(&config.status_readers).map_err(StartError::Reader)?,
            proxies: TrustedProxies::parse(&config.trusted_proxies).map_err(StartError::Proxy)?,
        })
    }

    fn include(&self, peer: Peer, headers: &HeaderMap) -> bool {
        // A proxy that nobody told us of may speak for anybody, wherever it runs.
        let unknown_proxy =
            !self.proxies.include(peer) && OF_PROXIES.iter().any(|name| headers.contains_key(name));
        let client = self.proxies.client(peer, headers);
        !unknown_proxy && (client.is_loopback() || self.others.contain(client))
    }
}

/// Tells strangers apart.
pub(crate) async fn run(State(readers): State<Arc<Readers>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    if !peer.is_some_and(|peer| readers.include(peer, request.headers())) {
        request.extensions_mut().insert(Stranger);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_reads_and_who_is_named() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let readers = Readers {
            others: Networks::parse(&texts(&["10.1.0.0/16"])).unwrap(),
            proxies: TrustedProxies::parse(&texts(&["10.1.0.9"])).unwrap(),
        };
        let may = |peer: &str, headers: &[(HeaderName, &str)]| {
            let peer = Peer(std::net::SocketAddr::new(peer.parse().unwrap(), 1));
            let headers = headers.iter().map(|(name, text)| (name.clone(), text.parse().unwrap())).collect();
            readers.include(peer, &headers)
        };
        let [forwarded, .., via] = OF_PROXIES;
        for known in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"] {
            assert!(may(known, &[]), "{known}");
            assert!(!may(known, &[(via.clone(), "1.1 x")]), "{known}, through a proxy that is not named");
            assert!(!may(known, &[(forwarded.clone(), "127.0.0.1")]), "{known}, claiming to be a proxy");
        }
        assert!(!may("192.0.2.1", &[]));
        assert!(!may("192.0.2.1", &[(forwarded.clone(), "127.0.0.1")]));
        assert!(may("10.1.0.9", &[(forwarded.clone(), "10.1.2.3"), (via.clone(), "1.1 x")]));
        assert!(!may("10.1.0.9", &[(forwarded, "192.0.2.1")]));
    }
}
