//! Neighbours, those that are answered for, and the tables that they are in.

use super::all;

#[test]
fn neighbours() {
    all(
        "neighbours",
        &[
            ("permanent", "neigh add 10.61.0.7 lladdr 02:00:00:00:00:07 dev eth0"),
            ("IPv6 permanent", "neigh add fd61::7 lladdr 02:00:00:00:00:07 dev eth0"),
            ("router", "neigh add fd61::7 lladdr 02:00:00:00:00:07 dev eth0 router"),
            ("who made it", "neigh add 10.61.0.7 lladdr 02:00:00:00:00:07 dev eth0 protocol bird"),
            (
                "extern learned",
                "neigh add 10.61.0.7 lladdr 02:00:00:00:00:07 dev eth0 extern_learn nud permanent",
            ),
            ("noarp", "neigh add 10.61.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud noarp"),
            ("stale", "neigh add 10.61.0.7 lladdr 02:00:00:00:00:07 dev eth0 nud stale"),
            ("managed", "neigh add 10.61.0.7 dev eth0 managed"),
            ("managed by another", "neigh add 10.61.0.7 dev eth0 managed extern_learn"),
            (
                "IPv6 extern learned, stale",
                "neigh add fd61::7 lladdr 02:00:00:00:00:07 dev eth0 extern_learn nud stale",
            ),
            ("outside of any subnet", "neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev eth0"),
            (
                "many",
                "!for i in $(seq 3 200); do echo neigh add 10.61.0.$i lladdr 02:00:00:00:00:07 dev eth0; done | ip -batch -",
            ),
        ],
        &[
            &[
                "ip",
                "-j",
                "neigh",
                "show",
                "nud",
                "permanent",
                "nud",
                "noarp",
                "nud",
                "stale",
                "to",
                "0.0.0.0/0",
            ],
            &["ip", "-j", "-6", "neigh", "show", "nud", "permanent"],
        ],
    );
}

#[test]
fn proxy_neighbours() {
    all(
        "proxy",
        &[
            ("IPv4", "neigh add proxy 10.7.0.1 dev eth0"),
            ("IPv6", "neigh add proxy 2001:db8::1 dev eth0"),
            ("on any link", "neigh add proxy 10.7.0.1 dev lo"),
            ("router", "neigh add proxy 2001:db8::1 dev eth0 router"),
            ("who made it", "neigh add proxy 10.7.0.1 dev eth0 protocol bird"),
        ],
        &[&["ip", "-j", "neigh", "show", "proxy"], &["ip", "-j", "-6", "neigh", "show", "proxy"]],
    );
}

#[test]
fn neighbour_tables() {
    all(
        "ntable",
        &[
            (
                "ARP",
                "ntable change name arp_cache dev eth0 base_reachable 12345 retrans 1004 gc_stale 61003 delay_probe 4321 queue 55 app_probes 1 ucast_probes 7 mcast_probes 8 anycast_delay 901 proxy_delay 702 proxy_queue 33 locktime 404",
            ),
            (
                "neighbour discovery",
                "ntable change name ndisc_cache dev eth0 base_reachable 54321 retrans 2004 ucast_probes 5 mcast_probes 6",
            ),
            ("of loopback", "ntable change name arp_cache dev lo retrans 1500"),
            (
                "by files",
                "!sysctl -qw net.ipv4.neigh.eth0.mcast_resolicit=3 net.ipv4.neigh.eth0.interval_probe_time_ms=4000 net.ipv4.neigh.eth0.unres_qlen_bytes=300000",
            ),
        ],
        &[&["ip", "-j", "ntable"]],
    );
}
