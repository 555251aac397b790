//! Nexthop objects, alone and in groups.

use super::{QUESTIONS, all};

#[test]
fn nexthops() {
    all(
        "nexthops",
        &[
            ("via a gateway", "nexthop add id 5 via 10.61.0.9 dev eth0"),
            ("on a link", "nexthop add id 5 dev eth0"),
            ("who made it", "nexthop add id 5 via 10.61.0.9 dev eth0 proto bird"),
            ("onlink", "nexthop add id 5 via 192.0.2.1 dev eth0 onlink"),
            ("blackhole", "nexthop add id 5 blackhole\n-6 nexthop add id 6 blackhole"),
            ("IPv6", "nexthop add id 5 via fd61::9 dev eth0"),
            (
                "used by routes",
                "nexthop add id 5 via 10.61.0.9 dev eth0\nroute add 10.7.0.0/16 nhid 5\nroute add 10.8.0.0/16 nhid 5 metric 7 mtu 1300",
            ),
            (
                "used by IPv6 routes",
                "nexthop add id 5 via fd61::9 dev eth0\n-6 route add 2001:db8:7::/48 nhid 5",
            ),
            (
                "IPv4 over IPv6",
                "nexthop add id 5 via fd61::9 dev eth0\nroute add 10.7.0.0/16 nhid 5",
            ),
            (
                "group",
                "nexthop add id 5 via 10.61.0.9 dev eth0\nnexthop add id 6 via 10.61.0.8 dev eth0\nnexthop add id 9 group 5,3/6,7\nroute add 10.7.0.0/16 nhid 9",
            ),
            (
                "group with a lower id",
                "nexthop add id 50 via 10.61.0.9 dev eth0\nnexthop add id 60 via 10.61.0.8 dev eth0\nnexthop add id 2 group 50/60",
            ),
            (
                "resilient group of one, with its default times",
                "nexthop add id 5 via 10.61.0.9 dev eth0\nnexthop add id 9 group 5 type resilient buckets 4",
            ),
            (
                "resilient group of IPv6",
                "nexthop add id 5 via fd61::9 dev eth0\nnexthop add id 6 via fd61::8 dev eth0\nnexthop add id 9 group 5/6 type resilient buckets 32 idle_timer 5\n-6 route add 2001:db8:7::/48 nhid 9",
            ),
            (
                "resilient group",
                "nexthop add id 5 via 10.61.0.9 dev eth0\nnexthop add id 6 via 10.61.0.8 dev eth0\nnexthop add id 9 group 5/6,2 type resilient buckets 16 idle_timer 77 unbalanced_timer 88\nroute add 10.7.0.0/16 nhid 9",
            ),
            (
                "for bridges",
                "nexthop add id 5 via 10.61.0.9 fdb\nnexthop add id 6 via 10.61.0.8 fdb\nnexthop add id 9 group 5/6 fdb",
            ),
            ("tunnel of MPLS", "nexthop add id 5 encap mpls 100 via 10.61.0.9 dev eth0"),
            ("tunnel of IP", "nexthop add id 5 encap ip id 7 dst 192.0.2.1 dev eth0"),
            (
                "segments",
                "nexthop add id 5 encap seg6 mode encap segs 2001:db8::a via fd61::9 dev eth0",
            ),
        ],
        QUESTIONS,
    );
}
