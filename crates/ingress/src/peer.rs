//! Where a request comes from: the address of its connection, or, behind a proxy that the configuration trusts, the one that
//! this proxy names. What anybody else says about addresses is not believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// Where a proxy names the client.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of a connection's other end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

/// Networks, or single addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<IpNet>);

impl Networks {
    /// From texts; the first one that is no network as an error.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| text.clone())
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of them has this address.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The proxies whose word counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedProxies(Networks);

impl TrustedProxies {
    /// The networks, or single addresses; the first text that is none as an error.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        Networks::parse(texts).map(Self)
    }

    /// The client of a request: the last address on its way that no trusted proxy has.
    pub fn client(&self, Peer(peer): Peer, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let values = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<_> = values.flat_map(|text| text.split(',')).map(str::trim).collect();
        let mut client = peer;
        for text in named.into_iter().rev() {
            let Ok(address) = text.parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !self.trusts(client) {
                break;
            }
        }
        client
    }

    /// Whether the other end of a connection is one of them.
    pub fn include(&self, Peer(peer): Peer) -> bool {
        self.trusts(peer.ip().to_canonical())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.contain(address)
    }
}

/// The address, or for IPv6 the network that one customer has (a /56): from there many addresses cost nothing.
pub(crate) fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 72 << 72).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted =
            TrustedProxies::parse(&trusted.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let headers = forwarded.iter().map(|text| (FORWARDED_FOR, text.parse().unwrap())).collect();
        trusted.unwrap().client(Peer(SocketAddr::new(peer.parse().unwrap(), 1)), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        assert_eq!(client(&[], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(
            client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6, 1.1.1.1"]),
            "1.1.1.1",
            "the client's own claim"
        );
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &["6.6.6.6", "1.1.1.1, 10.0.0.2"]), "1.1.1.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.1"], "10.0.0.1", &["6.6.6.6, nonsense"]), "10.0.0.1");
        assert_eq!(client(&["10.0.0.1"], "::ffff:10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(TrustedProxies::parse(&["x".to_owned()]).unwrap_err(), "x");
    }

    #[test]
    fn a_customer_has_one_address_or_one_network() {
        let of = |text: &str| customer(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2ff::1"), of("2001:db8:1:200:5::9"));
        assert_ne!(of("2001:db8:1:200::1"), of("2001:db8:1:300::1"));
    }
}
