//! Each class, case by case: state made with iproute2 in a pod comes back in a bare namespace, reads
//! back equal with iproute2, and equal by our own comparison.
//!
//! A case that this kernel has no means for is named and passed over; all others must come back.

mod bridges;
mod devices;
mod links;
#[path = "../netns/mod.rs"]
mod netns;

use std::thread;
use std::time::Duration;

use netckpt::image::{Evidence, Image, Manifest, Origin};
use netckpt::restore::{self, Options};
use netns::Pair;
use serde_json::Value;

/// A name, and lines for `ip -batch` in the pod (a line that starts with `!` is for the shell).
type Case<'a> = (&'static str, &'a str);

/// Every way of asking iproute2 that a case may change the answer of.
const QUESTIONS: &[&[&str]] = &[
    &["ip", "-j", "-d", "link"],
    &["ip", "-j", "-d", "addr"],
    &["ip", "-j", "-d", "-N", "-4", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-6", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-4", "rule"],
    &["ip", "-j", "-d", "-N", "-6", "rule"],
    &["ip", "-j", "-d", "nexthop"],
    &["ip", "-j", "token"],
];

fn image_of(pair: &Pair) -> Image {
    let snapshot = restore::read(&pair.pod.open(), Some(&pair.node.open())).unwrap();
    Image {
        manifest: Manifest {
            created: jiff::Timestamp::now(),
            producer: "test".to_owned(),
            kernel: String::new(),
            origin: Origin::default(),
            counts: Default::default(),
            not_carried: Vec::new(),
            evidence: Evidence::default(),
            sections: Vec::new(),
        },
        snapshot,
    }
}

/// What the tools say, one line for each thing.
fn told(pair: &Pair, questions: &[&[&str]]) -> Vec<String> {
    let mut lines = Vec::new();
    for question in questions {
        let Value::Array(mut items) = pair.pod.json(question) else { panic!("{question:?}") };
        // Hashed by chance.
        if matches!(question[2], "neigh" | "ntable") {
            items.sort_by_key(ToString::to_string);
        }
        for mut item in items {
            strip(&mut item);
            lines.push(format!("{}: {item}", question.join(" ")));
        }
    }
    lines
}

/// Leaves out what is of the moment or of the other end.
fn strip(item: &mut Value) {
    const OF_THE_MOMENT: &[&str] = &[
        "link_index",
        "link_netnsid",
        "used",
        "probes",
        "updated",
        "confirmed",
        "refcnt",
        "reachable_time",
        "reachable",
        "carrier_changes",
        "qdisc",
        "operstate",
        "unbalanced_time",
        // Spanning tree's names, which a bridge without any port has none of, and its clocks.
        "bridge_id",
        "root_id",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
    ];
    match item {
        Value::Object(fields) => {
            for name in OF_THE_MOMENT {
                fields.remove(*name);
            }
            // Time goes on between the two looks; that it does end stays.
            for name in ["valid_life_time", "preferred_life_time", "expires"] {
                if let Some(Value::Number(left)) = fields.get_mut(name) {
                    let left = left.as_u64().unwrap_or_default();
                    let coarse =
                        if left > u64::from(u32::MAX - 1) { left } else { left.div_ceil(30) };
                    fields.insert(name.to_owned(), Value::from(coarse));
                }
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A pod as CNI leaves it, without the wait for duplicate addresses.
fn wired(label: &str) -> Pair {
    let pair = Pair::bare(label);
    pair.pod.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    pair.wire();
    pair
}

/// What the tools say once the kernel has done what it does from delayed work: of a carrier it tells
/// within a second.
fn settled(pair: &Pair, questions: &[&[&str]]) -> Vec<String> {
    let mut last = told(pair, questions);
    let links = pair.pod.run(&["ip", "-d", "link"]);
    let plain = ["bridge", "macvlan", "macvtap", "vxlan"].iter().all(|kind| !links.contains(kind));
    for _ in 0..if plain { 0 } else { 5 } {
        thread::sleep(Duration::from_millis(1200));
        let now = told(pair, questions);
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// `Ok(false)` where the kernel has no means for the case.
fn case(class: &str, lines: &str, questions: &[&[&str]]) -> Result<bool, String> {
    let source = wired(class);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let command = match line.strip_prefix('!') {
            Some(shell) => shell.to_owned(),
            None => format!("ip {line}"),
        };
        if let Err(error) = source.pod.try_run(&["sh", "-euc", &command]) {
            let lacking = [
                "not supported",
                "Unknown device type",
                "not permitted",
                "stat ",
                "is a garbage",
                "is duplicate",
            ];
            if lacking.iter().any(|words| error.contains(words)) {
                return Ok(false);
            }
            return Err(format!("the case itself: {error}"));
        }
    }
    let expected = settled(&source, questions);
    let image = image_of(&source);
    let target = Pair::bare(class);
    let report = restore::restore(
        &target.pod.open(),
        Some(&target.node.open()),
        &image,
        &Options::default(),
    )
    .map_err(|error| format!("restore: {error}"))?;
    let findings = restore::verify(&target.pod.open(), &image).map_err(|e| e.to_string())?;
    let findings: Vec<_> =
        findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect();
    if !findings.is_empty() {
        return Err(format!("verify: {findings:#?}"));
    }
    // Duplicate address detection and carrier settle within a second or two.
    let mut found = told(&target, questions);
    for _ in 0..30 {
        if found == expected {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(100));
        found = told(&target, questions);
    }
    let only = |these: &[String], those: &[String], sign| -> Vec<String> {
        these.iter().filter(|l| !those.contains(l)).map(|l| format!("{sign} {l}")).collect()
    };
    let mut lines = only(&expected, &found, "-");
    lines.extend(only(&found, &expected, "+"));
    if lines.is_empty() {
        lines.push(format!("the order differs:\n{expected:#?}\n{found:#?}"));
    }
    let steps = report.plans.iter().flat_map(|plan| &plan.steps).map(|step| step.to_string());
    lines.extend(steps.map(|step| format!("  step: {step}")));
    Err(lines.join("\n"))
}

#[track_caller]
fn all(class: &str, cases: &[Case<'_>], questions: &[&[&str]]) {
    let mut failures = Vec::new();
    let (mut passed, mut lacking) = (0, Vec::new());
    for (name, lines) in cases {
        match case(class, lines, questions) {
            Ok(true) => passed += 1,
            Ok(false) => lacking.push(*name),
            Err(error) => failures.push(format!("== {class}: {name}\n{error}")),
        }
    }
    println!("{class}: {passed} of {} cases came back", cases.len());
    if !lacking.is_empty() {
        println!("{class}: not in this kernel or its tools: {}", lacking.join(", "));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

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

#[test]
fn rules() {
    all(
        "rules",
        &[
            ("from and to", "rule add pref 100 from 10.1.0.0/16 to 10.2.0.0/24 lookup 100"),
            ("not", "rule add pref 100 not from 10.1.0.0/16 lookup 100"),
            (
                "mark",
                "rule add pref 100 fwmark 0x10/0xff lookup 100\nrule add pref 101 fwmark 7 lookup 70000",
            ),
            (
                "interfaces",
                "rule add pref 100 iif eth0 oif lo lookup 100\nrule add pref 101 iif nothere lookup 100",
            ),
            ("users", "rule add pref 100 uidrange 1000-2000 lookup 100"),
            (
                "protocol and ports",
                "rule add pref 100 ipproto udp sport 53 dport 1000-2000 lookup 100",
            ),
            ("type of service", "rule add pref 100 tos 0x10 lookup 100"),
            (
                "suppressors",
                "rule add pref 100 lookup main suppress_prefixlength 0\nrule add pref 101 lookup main suppress_ifgroup 5",
            ),
            (
                "goto and nop",
                "rule add pref 100 goto 200\nrule add pref 200 nop\nrule add pref 300 goto 400",
            ),
            (
                "verdicts",
                "rule add pref 100 from 10.1.0.0/16 blackhole\nrule add pref 101 from 10.2.0.0/16 unreachable\nrule add pref 102 from 10.3.0.0/16 prohibit",
            ),
            ("master devices", "rule add pref 100 l3mdev"),
            ("who made it", "rule add pref 100 from 10.1.0.0/16 lookup 100 protocol bird"),
            ("tunnel id", "rule add pref 100 tun_id 77 lookup 100"),
            ("realms", "rule add pref 100 from 10.1.0.0/16 lookup 100 realms 3/4"),
            (
                "one priority, in order",
                "rule add pref 100 from 10.3.0.0/16 lookup 103\nrule add pref 100 from 10.1.0.0/16 lookup 101\nrule add pref 100 from 10.2.0.0/16 lookup 102",
            ),
            ("zero priority", "rule add pref 0 from 10.1.0.0/16 lookup 100"),
            ("local moved", "rule add pref 10 lookup local\nrule del pref 0"),
            ("defaults gone", "rule del pref 32767\nrule del pref 32766"),
            (
                "IPv6",
                "-6 rule add pref 100 from 2001:db8::/32 to 2001:db8:1::/48 fwmark 1 lookup 100\n-6 rule add pref 101 iif eth0 ipproto tcp dport 80 prohibit",
            ),
            (
                "IPv6 in order",
                "-6 rule add pref 100 from 2001:db8:2::/48 lookup 100\n-6 rule add pref 100 from 2001:db8:1::/48 lookup 100",
            ),
            ("IPv6 local moved", "-6 rule add pref 10 lookup local\n-6 rule del pref 0"),
            (
                "many",
                "!for i in $(seq 200); do echo rule add pref $((1000 + i)) from 10.1.$i.0/24 lookup $i; done | ip -batch -",
            ),
        ],
        QUESTIONS,
    );
}

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
