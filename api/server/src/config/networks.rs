//! Addresses and networks in a configuration, such as `10.0.0.7`, `10.0.0.0/8` and `fd00::/8` (CIDR, RFC 4632).

use std::net::IpAddr;

/// A block of addresses. Those of IPv4 are kept as IPv6 has them, `::ffff:10.0.0.7`, so that a connection that came over either is
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: u128,
    mask: u128,
}

/// Some of them; none at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether the address is in one of them.
    pub fn contain(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0.iter().any(|network| bits & network.mask == network.base)
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Networks {
        Networks(networks.into_iter().collect())
    }
}

/// Reads an address, or an address and a length of prefix behind which it is all zeros; `None` when it is neither.
pub fn parse(text: &str) -> Option<Network> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => width,
        // Not "+8", which the standard library takes.
        Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => length.parse::<u32>().ok()?,
        Some(_) => return None,
    };
    let host_bits = width.checked_sub(length)?;
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    let base = bits(address);
    // 10.0.0.1/8 is more likely a slip than a wish.
    (base & mask == base).then_some(Network { base, mask })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Networks {
        texts.iter().map(|text| parse(text).expect(text)).collect()
    }

    #[test]
    fn an_address_is_in_its_network_and_in_no_other() {
        let networks = of(&["10.1.0.0/16", "192.0.2.7", "fd00::/8"]);
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "fd12::1"] {
            assert!(networks.contain(inside.parse().expect("an address")), "{inside}");
        }
        for outside in ["10.2.0.1", "192.0.2.8", "fe80::1", "::a01:203"] {
            assert!(!networks.contain(outside.parse().expect("an address")), "{outside}");
        }
        assert!(!Networks::default().contain("10.1.2.3".parse().expect("an address")));
        // All of IPv4 is not all of IPv6.
        assert!(of(&["0.0.0.0/0"]).contain("203.0.113.9".parse().expect("an address")));
        assert!(!of(&["0.0.0.0/0"]).contain("2001:db8::1".parse().expect("an address")));
        assert!(of(&["::/0"]).contain("203.0.113.9".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "host", "/8"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
