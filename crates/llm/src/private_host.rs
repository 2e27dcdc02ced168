//! Which hosts belong to a machine or its own network, so that a public service refuses to talk to them unless told to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Is the host of `url` loopback, link-local or private, by address or by a name that cannot be public? A public name
/// that resolves to a private address is not seen here.
pub(crate) fn is_private(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => is_private_v4(address),
        Ok(IpAddr::V6(address)) => is_private_v6(address),
        Err(_) => {
            let name = host.trim_end_matches('.');
            !name.contains('.') || name.ends_with(".localhost") || name.ends_with(".internal")
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let shared_by_carriers = a == 100 && (64..128).contains(&b);
    let this_network = a == 0;
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || shared_by_carriers
        || this_network
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded_v4 = match segments {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] => Some((high, low)), // mapped, compatible
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some((high, low)),  // NAT64
        [0x2002, high, low, ..] => Some((high, low)),                // 6to4
        _ => None,
    };
    let embedded_private =
        embedded_v4.is_some_and(|(high, low)| is_private_v4((u32::from(high) << 16 | u32::from(low)).into()));
    address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local() || embedded_private
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_hosts_are_told_from_public_ones() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "[::1]",
            "[::]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
            "localhost",
            "api.localhost",
            "localhost.",
            "ollama",
            "host.docker.internal",
        ];
        for host in private {
            assert!(is_private(&format!("http://{host}/v1").parse().unwrap()), "{host}");
        }
        let public = [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "[2606:4700::1111]",
            "[::ffff:8.8.8.8]",
            "api.openai.com",
        ];
        for host in public {
            assert!(!is_private(&format!("http://{host}/v1").parse().unwrap()), "{host}");
        }
    }
}
