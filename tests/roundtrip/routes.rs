//! Routes of all tables and types.

use super::{QUESTIONS, all};

#[test]
fn routes() {
    all(
        "routes",
        &[
            ("via a gateway", "route add 10.7.0.0/16 via 10.61.0.9"),
            ("on a link", "route add 10.7.0.0/16 dev eth0 scope link"),
            ("onlink", "route add 10.7.0.0/16 via 192.0.2.1 dev eth0 onlink"),
            (
                "another table",
                "route add 10.7.0.0/16 via 10.61.0.9 table 100\nroute add default via 10.61.0.9 table 70000",
            ),
            (
                "source",
                "addr add 10.61.0.77/24 dev eth0\nroute add 10.7.0.0/16 via 10.61.0.9 src 10.61.0.77",
            ),
            (
                "protocols",
                "route add 10.7.0.0/16 via 10.61.0.9 proto bird\nroute add 10.8.0.0/16 via 10.61.0.9 proto 201",
            ),
            (
                "type of service",
                "route add 10.7.0.0/16 tos 0x10 via 10.61.0.9\nroute add 10.7.0.0/16 via 10.61.0.8",
            ),
            (
                "metrics",
                "route add 10.7.0.0/16 via 10.61.0.9 metric 5\nroute add 10.7.0.0/16 via 10.61.0.8 metric 6",
            ),
            (
                "path metrics",
                "route add 10.7.0.0/16 via 10.61.0.9 mtu 1300 advmss 1200 rtt 100 rttvar 50 window 1000 cwnd 10 initcwnd 20 initrwnd 30 ssthresh 40 reordering 5 hoplimit 33 quickack 1 rto_min 20 features ecn",
            ),
            (
                "locked metrics",
                "route add 10.7.0.0/16 via 10.61.0.9 mtu lock 1300 advmss lock 1200",
            ),
            ("congestion control", "route add 10.7.0.0/16 via 10.61.0.9 congctl reno"),
            (
                "fast open without cookie",
                "route add 10.7.0.0/16 via 10.61.0.9 fastopen_no_cookie 1",
            ),
            (
                "appended",
                "route append 10.7.0.0/16 via 10.61.0.9\nroute append 10.7.0.0/16 via 10.61.0.8\nroute append 10.7.0.0/16 via 10.61.0.7",
            ),
            (
                "prepended",
                "route add 10.7.0.0/16 via 10.61.0.9\nroute prepend 10.7.0.0/16 via 10.61.0.8",
            ),
            (
                "multipath",
                "route add 10.7.0.0/16 nexthop via 10.61.0.9 weight 3 nexthop via 10.61.0.8",
            ),
            (
                "multipath onlink",
                "route add 10.7.0.0/16 nexthop via 192.0.2.1 dev eth0 onlink nexthop via 10.61.0.8",
            ),
            ("over IPv6", "route add 10.7.0.0/16 via inet6 fd61::9 dev eth0"),
            ("realms", "route add 10.7.0.0/16 via 10.61.0.9 realm 5/6"),
            ("blackhole", "route add blackhole 10.7.0.0/16"),
            ("unreachable", "route add unreachable 10.7.0.0/16 metric 4"),
            ("prohibit", "route add prohibit 10.7.0.0/16"),
            ("throw", "route add throw 10.7.0.0/16 table 55"),
            ("local", "route add local 10.7.0.0/16 dev lo"),
            ("local in main", "route add local 10.7.0.0/16 dev lo table main"),
            (
                "broadcast and multicast",
                "route add broadcast 10.7.0.255 dev eth0\nroute add multicast 239.0.0.0/8 dev eth0",
            ),
            ("no default", "route del default"),
            (
                "kernel's own removed",
                "route del 10.61.0.0/24\nroute del broadcast 10.61.0.255 dev eth0 table local",
            ),
            ("kernel's own changed", "route change 10.61.0.0/24 dev eth0 src 10.61.0.2 mtu 1111"),
            ("scope", "route add 10.7.0.0/16 dev eth0 scope 50"),
            (
                "tunnel of IP",
                "route add 10.7.0.0/16 encap ip id 7 dst 192.0.2.1 src 192.0.2.2 ttl 9 tos 4 dev eth0",
            ),
            ("tunnel of MPLS", "route add 10.7.0.0/16 encap mpls 100/200 ttl 7 via 10.61.0.9"),
            ("IPv6", "route add 2001:db8:7::/48 via fd61::9"),
            ("IPv6 metrics", "route add 2001:db8:7::/48 via fd61::9 metric 5 mtu 1300 hoplimit 9"),
            (
                "IPv6 preference",
                "route add 2001:db8:7::/48 via fd61::9 pref high\nroute add 2001:db8:8::/48 via fd61::9 pref low",
            ),
            ("IPv6 expiring", "-6 route add 2001:db8:7::/48 via fd61::9 expires 900"),
            (
                "IPv6 other tables",
                "-6 route add default via fd61::9 table 100\n-6 route add 2001:db8:7::/48 dev eth0 table 70000",
            ),
            ("IPv6 source", "-6 route add 2001:db8:7::/48 via fd61::9 src fd61::2"),
            ("IPv6 from", "-6 route add 2001:db8:7::/48 from 2001:db8:1::/64 via fd61::9"),
            (
                "IPv6 types",
                "-6 route add blackhole 2001:db8:7::/48\n-6 route add unreachable 2001:db8:8::/48\n-6 route add prohibit 2001:db8:9::/48\n-6 route add throw 2001:db8:a::/48",
            ),
            (
                "IPv6 local and anycast",
                "-6 route add local 2001:db8:7::/48 dev lo\n-6 route add anycast 2001:db8:8::1 dev eth0",
            ),
            (
                "IPv6 multipath",
                "-6 route add 2001:db8:7::/48 nexthop via fd61::9 weight 3 nexthop via fd61::8",
            ),
            (
                "IPv6 appended",
                "-6 route append 2001:db8:7::/48 via fd61::9\n-6 route append 2001:db8:7::/48 via fd61::8",
            ),
            (
                "IPv6 local and anycast of the kernel's own removed",
                "!sysctl -qw net.ipv6.conf.all.forwarding=1
                 addr add 2001:db8:9::1/64 dev eth0 nodad
                 -6 route del local fd61::2 dev eth0 table local
                 -6 route del anycast 2001:db8:9:: dev eth0 table local",
            ),
            ("IPv6 multicast", "-6 route add multicast ff05::/16 dev eth0 table local"),
            ("IPv6 no default", "-6 route del default"),
            (
                "IPv6 kernel's own removed",
                "-6 route del fd61::/64 dev eth0\n-6 route del ff00::/8 dev eth0 table local",
            ),
            (
                "segments",
                "-6 route add 2001:db8:7::/48 encap seg6 mode encap segs 2001:db8::a,2001:db8::b dev eth0",
            ),
            (
                "segments inline",
                "-6 route add 2001:db8:7::/48 encap seg6 mode inline segs 2001:db8::a dev eth0",
            ),
            (
                "segments end here",
                "-6 route add 2001:db8:7::1 encap seg6local action End.DX6 nh6 fd61::9 count dev eth0\n-6 route add 2001:db8:7::2 encap seg6local action End dev eth0",
            ),
            (
                "segments below the link layer",
                "-6 route add 2001:db8:7::/48 encap seg6 mode l2encap segs 2001:db8::a dev eth0",
            ),
            (
                "segments signed",
                "-6 route add 2001:db8:7::/48 encap seg6 mode inline segs 2001:db8::a hmac 17 dev eth0",
            ),
            (
                "segments lead on",
                "-6 route add 2001:db8:7::1 encap seg6local action End.X nh6 fd61::9 dev eth0
                 -6 route add 2001:db8:7::2 encap seg6local action End.T table 100 dev eth0
                 -6 route add 2001:db8:7::3 encap seg6local action End.DX4 nh4 10.61.0.9 count dev eth0",
            ),
            (
                "segments decapsulate into a table",
                "-6 route add 2001:db8:7::4 encap seg6local action End.DT6 table 100 dev eth0",
            ),
            (
                "segments are bound to others",
                "-6 route add 2001:db8:7::5 encap seg6local action End.B6 srh segs 2001:db8::a dev eth0
                 -6 route add 2001:db8:7::6 encap seg6local action End.B6.Encaps srh segs 2001:db8::a,2001:db8::b dev eth0",
            ),
            (
                "tunnel of IP with key, sequence and checksum",
                "route add 10.7.0.0/16 encap ip id 7 dst 192.0.2.1 key csum seq dev eth0",
            ),
            ("through an IPsec link", "route add 10.7.0.0/16 encap xfrm if_id 7 dev eth0"),
            (
                "paths with tunnels of their own",
                "route add 10.7.0.0/16 nexthop encap mpls 100 via 10.61.0.9 nexthop encap mpls 200/300 via 10.61.0.8 weight 3",
            ),
            (
                "IPv6 tunnel",
                "-6 route add 2001:db8:7::/48 encap ip6 id 7 dst 2001:db8::a hoplimit 9 dev eth0",
            ),
            (
                "measuring",
                "-6 route add 2001:db8:7::/48 encap ioam6 trace prealloc type 0x800000 ns 1 size 12 dev eth0",
            ),
            ("RPL", "-6 route add 2001:db8:7::/48 encap rpl segs 2001:db8::a dev eth0"),
            (
                "many",
                "!for i in $(seq 200); do echo route add 10.7.$i.0/24 via 10.61.0.9 table $((i + 1000)); echo route add 2001:db8:$i::/48 via fd61::9; done | ip -batch -",
            ),
        ],
        QUESTIONS,
    );
}

/// The kernel wants a way to a gateway at the moment a route is made, not later: such a route needs a
/// way that is there for that moment only.
#[test]
fn routes_that_lead_nowhere() {
    all(
        "dangling",
        &[
            ("IPv6", "-6 addr del fd61::2/64 dev eth0"),
            ("IPv6 by route", "-6 route del fd61::/64 dev eth0"),
            ("IPv4 by route", "route del 10.61.0.0/24"),
        ],
        QUESTIONS,
    );
}
