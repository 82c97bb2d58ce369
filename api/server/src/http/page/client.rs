//! Whose request it is, as far as an address tells.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;

use crate::config::Networks;

/// Where a proxy says for whom it asks. Each adds the address it was asked from at the end.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client: that of the connection, unless it is a proxy that is trusted. Of what trusted proxies say the last address
/// that is not one of them counts: what stands before it, anybody may have written.
pub(super) fn address(connection: IpAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    let mut found = connection;
    let said = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|value| value.to_str().ok());
    for hop in said.flat_map(|value| value.rsplit(',')) {
        if !trusted.contain(found) {
            break;
        }
        // What is none was not written by a proxy that is worth its trust; whoever wrote it is all that is known.
        let Some(address) = parse(hop.trim()) else { break };
        found = address;
    }
    found.to_canonical()
}

/// Whether somebody who is not trusted says for whom it asks: a proxy that nobody named, or somebody who tries.
pub(super) fn is_forwarded_by_a_stranger(connection: IpAddr, headers: &HeaderMap, trusted: &Networks) -> bool {
    headers.contains_key(FORWARDED_FOR) && !trusted.contain(connection)
}

/// An address, in brackets and with a port or not.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::networks;

    fn client(connection: &str, said: &[&str]) -> String {
        let trusted: Networks = ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|text| networks::parse(text)).collect();
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append(FORWARDED_FOR, value.parse().expect("a value"));
        }
        address(connection.parse().expect("an address"), &headers, &trusted).to_string()
    }

    /// Turns red when what a stranger says is believed: with a new address for every request there would be no limit.
    #[test]
    fn only_trusted_proxies_are_believed_and_only_what_they_saw_themselves() {
        for (connection, said, expected) in [
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // The client wrote the first one.
            ("10.0.0.1", &["1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.2.3.4", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.0.0.2, fd00::3"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.1, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(connection, said), expected, "{connection} {said:?}");
        }
    }
}
