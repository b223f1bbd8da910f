//! Where on the network an address lies, so that a public server cannot send us to a private one.
//!
//! The blocks are those of the IANA registries of special-purpose addresses (RFC 6890 and what has been registered since).
//! Addresses that carry an IPv4 address inside (mapped, NAT64) lie where that one does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// On the public Internet.
    Public,
    /// In an organisation's own network.
    Private,
    /// On the same wire: there are the clouds' metadata services, and what is no single host.
    LinkLocal,
    /// On this machine.
    Loopback,
}

impl Scope {
    /// Where `address` lies.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether a server there may redirect to a server in `target`: to the public Internet, or to its like.
    pub(super) fn may_lead_to(self, target: Self) -> bool {
        target == Self::Public || target == self
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Loopback => "loopback",
        })
    }
}

fn of_v4(address: Ipv4Addr) -> Scope {
    match address.octets() {
        [0 | 127, ..] => Scope::Loopback,
        // Azure's metadata and the like answer at a public-looking address of Microsoft's.
        [169, 254, ..] | [168, 63, 129, 16] | [224..=255, ..] => Scope::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Scope::Private,
        // Carriers' networks (Alibaba's metadata are there), protocol assignments, benchmarking.
        [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18 | 19, ..] => Scope::Private,
        _ => Scope::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Scope {
    if let Some(inside) = address.to_ipv4_mapped() {
        return of_v4(inside);
    }
    let v4 = |high: u16, low: u16| of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Scope::Loopback,
        // ::a.b.c.d (long out of use), 64:ff9b::a.b.c.d, 2002:aabb:ccdd::
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0x64, 0xff9b, 1, ..] | [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Scope::Private,
        [0xfe80..=0xfebf, ..] | [0xff00..=0xffff, ..] => Scope::LinkLocal,
        _ => Scope::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check the scope of addresses in every spelling that a hostile server may choose.
    #[test]
    fn scopes() {
        for (scope, addresses) in [
            (Scope::Public, &["151.101.2.132", "2a04:4e42::644", "172.32.0.1", "64:ff9b::8.8.8.8"][..]),
            (
                Scope::Private,
                &["10.1.2.3", "172.31.255.255", "192.168.1.1", "100.100.100.200", "fd00:ec2::254"],
            ),
            (
                Scope::LinkLocal,
                &[
                    "169.254.169.254",
                    "168.63.129.16",
                    "fe80::1",
                    "ff02::1",
                    "255.255.255.255",
                    "::ffff:169.254.169.254",
                ],
            ),
            (
                Scope::Loopback,
                &[
                    "127.0.0.1",
                    "127.8.8.8",
                    "0.0.0.0",
                    "::1",
                    "::",
                    "::ffff:127.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:7f00:1::",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(Scope::of(address.parse().unwrap()), scope, "{address}");
            }
        }
    }

    /// Check that redirects lead out or stay, and never lead inwards.
    #[test]
    fn directions() {
        let scopes = [Scope::Public, Scope::Private, Scope::LinkLocal, Scope::Loopback];
        for from in scopes {
            for to in scopes {
                assert_eq!(from.may_lead_to(to), to == Scope::Public || to == from, "{from} to {to}");
            }
        }
    }
}
