//! Egress policy: which addresses a tenant's backend may have.
//!
//! Tenants write plans, and plans name hosts: without this policy, any tenant could make the gateway send requests into the
//! operator's own network. It is applied after name resolution, to the address actually connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The operator's policy: `egress.allow` and `egress.deny` on top of "public addresses only".
#[derive(Debug, Clone, Default)]
pub struct Egress {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl Egress {
    /// `allow` lists exceptions among private, loopback and link-local networks, `deny` exceptions among public ones.
    #[must_use]
    pub const fn new(allow: Vec<IpNet>, deny: Vec<IpNet>) -> Self {
        Self { allow, deny }
    }

    /// Returns whether a tenant's backend may have this address. `deny` takes precedence over `allow`.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let inside = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        if inside(&self.deny) {
            return false;
        }
        inside(&self.allow)
            || match address {
                IpAddr::V4(address) => is_public_v4(address),
                IpAddr::V6(address) => is_public_v6(address),
            }
    }
}

/// Returns whether IANA's IPv4 special-purpose registry does not list the address as non-global.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240;
    !special
}

/// Returns whether IANA's IPv6 special-purpose registry does not list the address as non-global; addresses that embed an IPv4 address
/// are judged by it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = segments {
        return is_public_v4(v4(high, low));
    }
    if let [0x2002, high, low, ..] = segments {
        return is_public_v4(v4(high, low));
    }
    let special = address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || (first & 0xfe00) == 0xfc00
        || (first & 0xffc0) == 0xfe80
        || (first & 0xffc0) == 0xfec0
        || (first == 0x0100 && second == 0)
        || (first == 0x2001 && second < 0x0200)
        || (first == 0x2001 && second == 0x0db8)
        || (first == 0x3fff && second < 0x1000)
        || (first == 0x64 && second == 0xff9b)
        || first == 0x5f00
        || first == 0;
    !special
}

const fn v4(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::Egress;

    fn egress(allow: &[&str], deny: &[&str]) -> Egress {
        let parse = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Egress::new(parse(allow), parse(deny))
    }

    #[test]
    fn only_public_addresses_are_permitted() {
        let rule = egress(&[], &[]);
        for refused in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!rule.permits(refused.parse().unwrap()), "{refused}");
        }
        for permitted in
            ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2001:4860:4860::8888"]
        {
            assert!(rule.permits(permitted.parse().unwrap()), "{permitted}");
        }
    }

    #[test]
    fn the_operator_opens_and_closes_networks() {
        let rule = egress(&["10.0.0.0/8", "127.0.0.1/32"], &["8.8.8.0/24", "10.9.0.0/16"]);
        assert!(rule.permits("10.1.1.1".parse().unwrap()));
        assert!(rule.permits("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!rule.permits("127.0.0.2".parse().unwrap()));
        assert!(!rule.permits("10.9.1.1".parse().unwrap()));
        assert!(!rule.permits("8.8.8.8".parse().unwrap()));
    }
}
