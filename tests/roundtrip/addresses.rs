//! Addresses, and where they stand among each other.

use super::{QUESTIONS, all};

#[test]
fn addresses() {
    all(
        "addresses",
        &[
            ("secondary", "addr add 10.61.0.3/24 dev eth0\naddr add 10.61.0.4/24 dev eth0"),
            (
                "two subnets, each with a secondary",
                "addr add 10.7.0.1/24 dev eth0\naddr add 10.61.0.3/24 dev eth0\naddr add 10.7.0.2/24 dev eth0",
            ),
            ("label", "addr add 10.7.0.1/24 dev eth0 label eth0:web"),
            ("broadcast by itself", "addr add 10.7.0.1/24 brd + dev eth0"),
            ("broadcast of another kind", "addr add 10.7.0.1/24 brd 10.7.0.200 dev eth0"),
            ("peer", "addr add 10.7.0.1 peer 10.8.0.1 dev eth0"),
            ("peer with a prefix", "addr add 10.7.0.1 peer 10.8.0.0/30 dev eth0"),
            (
                "scopes",
                "addr add 10.7.0.1/24 dev eth0 scope link\naddr add 10.7.1.1/24 dev lo scope host",
            ),
            ("a scope by number", "addr add 10.7.0.1/24 dev eth0 scope 77"),
            ("single", "addr add 10.7.0.1/32 dev eth0\naddr add 10.7.0.2/31 dev eth0"),
            ("lifetimes", "addr add 10.7.0.1/24 dev eth0 valid_lft 3600 preferred_lft 1800"),
            ("deprecated", "addr add 10.7.0.1/24 dev eth0 valid_lft 3600 preferred_lft 0"),
            ("metric", "addr add 10.7.0.1/24 dev eth0 metric 123"),
            ("no prefix route", "addr add 10.7.0.1/24 dev eth0 noprefixroute"),
            ("protocol", "addr add 10.7.0.1/24 dev eth0 proto 5"),
            ("multicast joined", "addr add 239.1.2.3/32 dev eth0 autojoin"),
            ("of loopback", "addr add 192.168.99.1/32 dev lo\naddr add 2001:db8:5::1/128 dev lo"),
            (
                "the same on two links",
                "link add a0 type veth peer name b0\nlink set a0 up\nlink set b0 up
                 addr add 10.7.0.1/24 dev a0\naddr add 10.7.0.1/24 dev b0",
            ),
            (
                "of a link that is down",
                "link add a0 type veth peer name b0\naddr add 10.7.0.1/24 dev a0",
            ),
            ("none of IPv4", "-4 addr flush dev eth0 scope global"),
            ("IPv6", "addr add 2001:db8:1::1/64 dev eth0 nodad"),
            (
                "IPv6 in order",
                "addr add 2001:db8:1::1/64 dev eth0 nodad\naddr add 2001:db8:1::2/64 dev eth0 nodad\naddr add 2001:db8:1::3/64 dev eth0 nodad",
            ),
            ("IPv6 after detection", "addr add 2001:db8:1::1/64 dev eth0\n!sleep 2"),
            ("IPv6 peer", "addr add 2001:db8:1::1 peer 2001:db8:2::1/128 dev eth0 nodad"),
            (
                "IPv6 lifetimes",
                "addr add 2001:db8:1::1/64 dev eth0 nodad valid_lft 3600 preferred_lft 1800",
            ),
            ("IPv6 deprecated", "addr add 2001:db8:1::1/64 dev eth0 nodad preferred_lft 0"),
            ("IPv6 home address", "addr add 2001:db8:1::1/64 dev eth0 home nodad"),
            ("IPv6 metric", "addr add 2001:db8:1::1/64 dev eth0 nodad metric 99"),
            ("IPv6 no prefix route", "addr add 2001:db8:1::1/64 dev eth0 nodad noprefixroute"),
            ("IPv6 protocol", "addr add 2001:db8:1::1/64 dev eth0 nodad proto 7"),
            ("IPv6 multicast joined", "addr add ff05::77/128 dev eth0 autojoin nodad"),
            (
                "IPv6 optimistic",
                "!sysctl -qw net.ipv6.conf.eth0.optimistic_dad=1\naddr add 2001:db8:1::1/64 dev eth0 optimistic\n!sleep 2",
            ),
            ("no link-local", "!ip -6 addr flush dev eth0 scope link"),
            ("another link-local", "addr add fe80::1234/64 dev eth0 nodad"),
            ("IPv6 off", "!sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1"),
            ("IPv6 off everywhere", "!sysctl -qw net.ipv6.conf.all.disable_ipv6=1"),
            (
                "many",
                "!for i in $(seq 100); do ip addr add 10.9.$i.1/24 dev eth0; ip addr add 2001:db8:$i::1/64 dev eth0 nodad; done",
            ),
        ],
        QUESTIONS,
    );
}
