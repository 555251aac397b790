//! A capture that stands by: what it gives when it is asked is what a capture from nothing gives, and
//! little is read for it.

mod netns;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use netckpt::capture::{self, Captured, Options, Standing, Update};
use netckpt::state::classes::LINKS;
use netckpt::state::{CLASSES, compare, objects};
use netns::Pair;

fn network(pair: &Pair) -> Captured {
    capture::network(&pair.pod.open(), Some(&pair.node.open()), &Options::default())
        .expect("a capture")
}

fn stand_by(pair: &Pair) -> (Standing, Captured) {
    Standing::open(&pair.pod.open(), Some(&pair.node.open()), &Options::default())
        .expect("it stands by")
}

/// Whether two captures hold the same objects, by the bytes but for what runs on by itself.
#[track_caller]
fn are_equal(stood: &Captured, full: &Captured, what: &str) {
    let names =
        |captured: &Captured| captured.snapshot.sections.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(stood), names(full), "{what}");
    let inside = CLASSES.iter().filter(|class| !class.source.is_inventory());
    let all = inside.map(|class| (class.name, *class)).chain([("host/links", &LINKS)]);
    for (name, class) in all {
        let of = |captured: &Captured| {
            let section = &captured.snapshot.sections[name];
            objects(class, section).expect("a well-formed section")
        };
        let (stood, full) = (of(stood), of(full));
        let keys = |all: &[netckpt::state::Object]| {
            all.iter().map(|one| one.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&stood), keys(&full), "{what}: {name}");
        for (stood, full) in stood.iter().zip(&full) {
            assert_eq!(compare(stood, full), [], "{what}: {name}");
        }
    }
    // Times left run on.
    let exact = !what.contains("expires");
    for name in
        ["routes", "rules", "sysctls", "nft-chains", "nexthops", "qdiscs"].iter().filter(|_| exact)
    {
        assert_eq!(stood.snapshot.sections[*name], full.snapshot.sections[*name], "{what}: {name}");
    }
    // What is only listed has, in the full one, what the other holds open.
    let counts = |captured: &Captured| {
        let mut counts = captured.counts.clone();
        let listed = |name: &str| {
            let class = CLASSES.iter().find(|class| class.name == name);
            class.is_some_and(|class| class.source.is_inventory())
        };
        counts.retain(|name, _| !listed(name));
        counts
    };
    assert_eq!(counts(stood), counts(full), "{what}");
    assert_eq!(stood.not_carried, full.not_carried, "{what}");
}

fn kept(update: &Update) -> BTreeSet<String> {
    let stood = update.captured.evidence.standing.as_ref().expect("it stood by");
    stood.kept.iter().cloned().collect()
}

/// A pod in which nothing happens any more.
fn quiet(label: &str) -> Pair {
    let pair = Pair::wired(label);
    pair.pod.settle();
    pair.node.settle();
    pair
}

/// Classes that a quiet pod's capture does not read again.
const KEPT: &[&str] = &[
    "rules",
    "routes",
    "nexthops",
    "neighbours",
    "nft-tables",
    "nft-chains",
    "nft-rules",
    "qdiscs",
    "conntrack",
];

#[test]
fn where_nothing_changed_only_what_is_untold_is_read() {
    let pair = quiet("stand-quiet");
    pair.pod.sh("nft add table inet filter
        nft add chain inet filter input '{ type filter hook input priority 0; }'
        nft add rule inet filter input tcp dport 81 drop");
    let (mut standing, first) = stand_by(&pair);
    are_equal(&first, &network(&pair), "the first capture");
    for _ in 0..2 {
        let update = standing.update().expect("an update");
        assert_eq!(update.changed, BTreeSet::new());
        assert!(update.captured.evidence.read_again.is_empty(), "{:?}", update.captured.evidence);
        let kept = kept(&update);
        for class in KEPT {
            assert!(kept.contains(*class), "{class} is read again: {:?}", update.captured.evidence);
        }
    }
    are_equal(&standing.finish().expect("an end").captured, &network(&pair), "at the end");
}

/// Threads of this process that are inside a namespace, or hold on to it.
fn threads_inside(pair: &Pair) -> usize {
    let id = pair.pod.open().id().to_string();
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs").map_while(Result::ok);
    let inside = |task: &std::fs::DirEntry| {
        std::fs::read_link(task.path().join("ns/net")).is_ok_and(|link| link.as_os_str() == &*id)
    };
    tasks.filter(|task| inside(task)).count()
}

#[test]
fn nothing_stays_of_one_that_is_dropped() {
    let pair = quiet("stand-drop");
    let (standing, _) = stand_by(&pair);
    assert_eq!(threads_inside(&pair), 1);
    let others = std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    assert!(others < 100, "its files are among the program's own: {others}");
    drop(standing);
    let end = Instant::now() + Duration::from_secs(10);
    while threads_inside(&pair) > 0 {
        assert!(Instant::now() < end, "its thread is still there");
        std::thread::yield_now();
    }
}

/// Each is done after the first capture, and each is in the last one.
const CHANGES: &[(&str, &str)] = &[
    ("links", "ip link set eth0 mtu 1400"),
    ("links", "ip link set eth0 gso_max_size 30000"),
    ("links", "ip link set eth0 alias again"),
    ("links", "ip link add br7 type bridge"),
    ("links", "ip link set eth0 txqueuelen 77"),
    ("addresses", "ip addr add 10.61.0.9/24 dev eth0"),
    ("addresses", "ip addr del 10.61.0.2/24 dev eth0"),
    ("routes", "ip route add 198.51.100.0/24 via 10.61.0.1"),
    ("routes", "ip -6 route add fd99::/64 via fd61::1 expires 100"),
    ("rules", "ip rule add fwmark 7 lookup 100"),
    ("nexthops", "ip nexthop add id 7 via 10.61.0.1 dev eth0"),
    ("neighbours", "ip neigh add 10.61.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent"),
    ("proxy-neighbours", "ip neigh add proxy 10.61.0.77 dev eth0"),
    ("sysctls", "sysctl -qw net.ipv4.tcp_keepalive_time=77"),
    ("sysctls", "sysctl -qw net.ipv6.conf.eth0.accept_ra=0"),
    ("nft-tables", "nft add table inet later"),
    ("nft-chains", "nft add table inet later; nft add chain inet later input"),
    (
        "nft-rules",
        "nft add table inet a; nft add chain inet a b; nft add rule inet a b tcp dport 81 drop",
    ),
    (
        "nft-set-elements",
        "nft add table inet a; nft add set inet a s '{ type ipv4_addr; }'
        nft add element inet a s '{ 10.0.0.1 }'",
    ),
    ("nft-objects", "nft add table inet a; nft add counter inet a c"),
    ("ipsets", "ipset create later hash:ip"),
    ("ipset-members", "ipset create later hash:ip; ipset add later 10.0.0.1"),
    ("qdiscs", "tc qdisc replace dev eth0 root tbf rate 1mbit burst 10k latency 50ms"),
    (
        "tc-filters",
        "tc qdisc add dev eth0 ingress
        tc filter add dev eth0 ingress protocol ip u32 match ip dst 10.0.0.1/32 flowid 1:1",
    ),
    ("xfrm-policies", "ip xfrm policy add src 10.0.0.0/8 dst 10.61.0.0/24 dir out"),
    (
        "conntrack",
        "conntrack -I -p tcp -s 10.61.0.2 -d 10.61.0.1 --sport 1 --dport 2 --state ESTABLISHED -t 600 -u ASSURED,SEEN_REPLY",
    ),
];

#[test]
fn what_changed_meanwhile_is_there() {
    for (class, change) in CHANGES {
        let pair = quiet("stand-change");
        let (standing, _) = stand_by(&pair);
        pair.pod.sh(change);
        pair.pod.settle();
        let update = standing.finish().expect("an end");
        are_equal(&update.captured, &network(&pair), change);
        assert!(update.changed.contains(*class), "{change}: {:?}", update.changed);
    }
}
