//! What hangs on an outer end: read, moved to the end that the pod has elsewhere, put back, and bounded.

use netckpt::capture;
use netckpt::image::{Image, Origin};
use netckpt::netns::Namespace;
use netckpt::restore::{self, Options, Undone};

use crate::netns::Ns;

/// A node with a pod on a routed link, as the CNI plugin `ptp` and the like make it.
struct Routed {
    // Dropped first: the pair goes with it.
    pod: Ns,
    node: Ns,
    outer: &'static str,
}

impl Routed {
    fn new(label: &str, outer: &'static str) -> Self {
        let routed = Self {
            node: Ns::new(&format!("{label}-node")),
            pod: Ns::new(&format!("{label}-pod")),
            outer,
        };
        for ns in [&routed.node, &routed.pod] {
            ns.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        }
        routed.node.ip(&format!(
            "link set lo up
             link add {outer} type veth peer name eth0 netns {}
             link set {outer} up",
            routed.pod.name()
        ));
        routed.pod.ip("link set lo up\nlink set eth0 up");
        routed
    }

    /// The pod's own addresses and all that its node may have for it.
    fn furnish(&self) {
        let (node, outer) = (&self.node, self.outer);
        self.pod.ip("addr add 10.244.1.7/24 dev eth0
                     addr add fd00:1::7/64 dev eth0
                     route add 169.254.1.1 dev eth0
                     route add default via 169.254.1.1");
        let mac = &node.json(&["ip", "-j", "link", "show", outer])[0]["address"];
        let mac = mac.as_str().unwrap();
        self.pod.ip(&format!("neigh add 169.254.1.1 lladdr {mac} dev eth0 nud permanent"));
        let inner = &self.pod.json(&["ip", "-j", "link", "show", "eth0"])[0]["address"];
        let inner = inner.as_str().unwrap();
        node.ip(&format!(
            "addr add 169.254.1.1/32 dev {outer} scope link
             addr add 10.244.1.1/32 dev {outer}
             addr add fd00:1::1/128 dev {outer} nodad
             route add 10.244.1.7/32 dev {outer} src 10.244.1.1
             route add 10.244.1.7/32 dev {outer} table 77 metric 5
             route add fd00:1::7/128 dev {outer} metric 99
             neigh add 10.244.1.7 lladdr {inner} dev {outer} nud permanent
             neigh add fd00:1::7 lladdr {inner} dev {outer} extern_learn
             neigh add proxy 10.9.9.9 dev {outer}
             neigh add proxy fd00:9::9 dev {outer}"
        ));
        node.sh(&format!(
            "sysctl -qw net.ipv4.conf.{outer}.proxy_arp=1 net.ipv4.conf.{outer}.arp_ignore=2 \
                        net.ipv6.conf.{outer}.proxy_ndp=1 net.ipv4.neigh.{outer}.proxy_delay=0 \
                        net.ipv4.neigh.{outer}.ucast_solicit=9 net.ipv6.neigh.{outer}.gc_stale_time=123
             tc qdisc add dev {outer} root handle 1: htb default 20
             tc class add dev {outer} parent 1: classid 1:10 htb rate 5mbit ceil 9mbit
             tc class add dev {outer} parent 1: classid 1:20 htb rate 7mbit
             tc qdisc add dev {outer} parent 1:10 handle 10: tbf rate 4mbit burst 20k latency 70ms
             tc filter add dev {outer} parent 1: protocol ip prio 3 u32 match ip src 10.244.9.0/24 flowid 1:10"
        ));
    }

    fn capture(&self) -> (Image, Vec<String>) {
        let node = self.node.open();
        let captured =
            capture::network(&self.pod.open(), Some(&node), &capture::Options::default()).unwrap();
        let named = captured.not_carried.iter();
        let named = named.filter(|one| one.class.starts_with("host/"));
        let named = named.map(|one| format!("{} {}: {}", one.class, one.object, one.why)).collect();
        (captured.into_image(Origin::default()), named)
    }

    /// What the node's own tools say of the outer end, by a name that all outer ends share.
    fn seen(&self) -> String {
        let outer = self.outer;
        let text = self.node.sh(&format!(
            "ip -o addr show dev {outer} | grep -v 'inet6 fe80' | sed 's/^[0-9]*: //'
             ip -4 route show table all dev {outer} | grep -v 'proto kernel' || true
             ip -6 route show table all dev {outer} | grep -v 'proto kernel' || true
             ip neigh show dev {outer} nud permanent; ip -6 neigh show dev {outer} | grep extern_learn || true
             ip -4 neigh show proxy dev {outer}; ip -6 neigh show proxy dev {outer}
             ip ntable show dev {outer} | grep -v 'reachable\\|queue'
             sysctl net.ipv4.conf.{outer} net.ipv6.conf.{outer} 2>/dev/null | grep -v stable_secret
             tc qdisc show dev {outer} | sed 's/direct_packets_stat [0-9]*//' | grep -v noqueue || true; tc class show dev {outer}; tc filter show dev {outer}
             ip -br link show dev {outer} | awk '{{print $3}}'"
        ));
        text.replace(outer, "OUTER")
    }

    fn restore(&self, image: &Image) -> restore::Report {
        let node = self.node.open();
        restore::restore(&self.pod.open(), Some(&node), image, &Options::default()).unwrap()
    }

    fn differences(&self, image: &Image) -> Vec<String> {
        let node: Namespace = self.node.open();
        let found = restore::verify_network(&self.pod.open(), Some(&node), image).unwrap();
        found.iter().filter(|one| one.matters()).map(ToString::to_string).collect()
    }
}

#[test]
fn an_outer_end_has_here_what_it_had_there() {
    let source = Routed::new("os-source", "veth-there");
    source.furnish();
    let shall = source.seen();
    let (image, named) = source.capture();
    assert_eq!(named, Vec::<String>::new());
    // One that CNI has made, and one that the restore makes.
    let made = Routed::new("os-made", "cali123");
    let before = made.seen();
    assert!(!made.differences(&image).is_empty());
    let report = made.restore(&image);
    assert_eq!(made.seen(), shall, "{:#?}", report.differences);
    assert_eq!(made.differences(&image), Vec::<String>::new());
    // Again: nothing to do. On to the next and back: the same.
    assert_eq!(made.restore(&image).steps, 0);
    let (again, named) = made.capture();
    assert_eq!(named, Vec::<String>::new());
    let back = Routed::new("os-back", "veth-there");
    back.restore(&again);
    assert_eq!(back.seen(), shall);
    // Undone: what it was.
    let node = made.node.open();
    let undone = restore::undo(&made.pod.open(), Some(&node), &report).unwrap();
    assert_eq!(undone, Undone::Wholly);
    assert_eq!(made.seen(), before);
}

#[test]
fn an_outer_end_that_is_made_gets_all_of_it() {
    let source = Routed::new("on-source", "veth-there");
    source.furnish();
    let shall = source.seen();
    let (image, _) = source.capture();
    let node = Ns::new("on-node");
    node.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    let bare = Routed { pod: Ns::new("on-pod"), node, outer: "veth-there" };
    bare.restore(&image);
    assert_eq!(bare.seen(), shall);
    assert_eq!(bare.restore(&image).steps, 0);
}

/// What is the node's own, or somebody else's, stays, and is told.
#[test]
fn what_the_node_has_itself_stays() {
    let source = Routed::new("nd-source", "veth-there");
    source.furnish();
    source.node.sh(
        "sysctl -qw net.ipv4.conf.veth-there.route_localnet=1 net.ipv4.conf.veth-there.rp_filter=2",
    );
    let (image, _) = source.capture();
    let target = Routed::new("nd-target", "veth-here");
    target.node.ip("addr add 10.77.0.1/32 dev veth-here\nroute add 10.77.0.2/32 dev veth-here");
    target
        .node
        .sh("tc qdisc add dev veth-here root handle 7: tbf rate 1mbit burst 10k latency 50ms
                    sysctl -qw net.ipv4.conf.veth-here.rp_filter=1");
    let report = target.restore(&image);
    let told: Vec<_> = report.differences.iter().map(ToString::to_string).collect();
    for name in ["veth-here/route_localnet", "veth-here/rp_filter"] {
        assert!(
            told.iter().any(|one| one.starts_with("host/sysctls") && one.contains(name)),
            "{told:#?}"
        );
    }
    let now = target.node.sh("sysctl -n net.ipv4.conf.veth-here.rp_filter net.ipv4.conf.veth-here.route_localnet
                              tc qdisc show dev veth-here; ip addr show dev veth-here; ip route show dev veth-here");
    for text in [
        "1\n0\n",
        "qdisc tbf 7: root",
        "rate 1Mbit",
        "10.77.0.1/32",
        "10.77.0.2 ",
        "10.244.1.1/32",
        "10.244.1.7 ",
    ] {
        assert!(now.contains(text), "{text}: {now}");
    }
    assert!(!now.contains("htb"), "{now}");
    assert_eq!(target.restore(&image).steps, 0);
}

/// Where the agent leads to the pod, it alone decides what of the node's addresses and routes there is.
#[test]
fn a_caller_that_leads_to_the_pod_makes_routes_and_addresses_itself() {
    let source = Routed::new("led-source", "veth-there");
    source.furnish();
    let (image, _) = source.capture();
    let target = Routed::new("led-target", "veth-here");
    let options = Options { led_by_caller: true, ..Options::default() };
    let node = target.node.open();
    restore::restore(&target.pod.open(), Some(&node), &image, &options).unwrap();
    let now = target.node.sh("ip addr show dev veth-here; ip route show table all dev veth-here; ip neigh show dev veth-here");
    assert!(now.contains("169.254.1.1/32") && now.contains("PERMANENT"), "{now}");
    assert!(!now.contains("10.244.1.1/32") && !now.contains("table 77"), "{now}");
}

/// What is not the pod's alone is named, not carried.
#[test]
fn what_belongs_to_others_is_named() {
    let source = Routed::new("ot-source", "veth-there");
    source.furnish();
    let node = &source.node;
    node.ip("link add br9 type bridge
             link set br9 up
             neigh add 10.244.1.7 lladdr 02:00:00:00:00:07 dev br9 nud permanent
             rule add from 10.244.1.7 lookup 77 pref 500
             rule add from 10.99.0.1 lookup 77 pref 501
             addr add 192.0.2.1/24 dev veth-there
             route add 198.51.100.0/24 dev veth-there
             link add ifb9 type ifb
             link set ifb9 up");
    node.sh("tc qdisc add dev veth-there handle ffff: ingress
             tc filter add dev veth-there parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9");
    node.sh("nft 'add table ip t; add chain ip t c; add rule ip t c ip daddr 10.244.1.7 counter; \
                  add rule ip t c iifname veth-there counter; add rule ip t c ip daddr 10.9.9.9 counter'
             iptables-legacy -A FORWARD -d 10.244.1.7 -j ACCEPT");
    let (image, named) = source.capture();
    let text = named.join("\n");
    for one in [
        "host/rules rule 500",
        "host/neighbours 10.244.1.7",
        "host/addresses 192.0.2.1/24",
        "host/routes 198.51.100.0/24",
        "host/tc-filters",
        "host/qdiscs",
        "host/nft-rules",
        "host/iptables",
    ] {
        assert!(named.iter().any(|found| found.starts_with(one)), "{one}: {text}");
    }
    assert!(!text.contains("501") && !text.contains("10.9.9.9"), "{text}");
    // Nothing that is named is in the image; what is not named is.
    let target = Routed::new("ot-target", "veth-here");
    target.restore(&image);
    let now = target.node.sh("ip rule; ip addr; ip route; tc qdisc show; nft list ruleset");
    for one in ["500:", "192.0.2.1", "198.51.100.0", "ingress", "htb", "table ip t"] {
        assert!(!now.contains(one), "{one}: {now}");
    }
    assert!(now.contains("10.244.1.7 dev veth-here"), "{now}");
}

/// An image may say of the node only what is the pod's alone: anything else is refused as a whole.
#[test]
fn an_image_that_says_more_of_the_node_is_refused() {
    let source = Routed::new("ho-source", "veth-there");
    source.furnish();
    let (image, _) = source.capture();
    // As a node has it that the forger may have made.
    let forger = Routed::new("ho-forger", "veth-there");
    forger.node.ip("link add eth0 type veth peer name far
                    link set eth0 up\nlink set far up
                    addr add 10.96.0.10/32 dev veth-there
                    route add 10.96.0.0/16 dev veth-there
                    route add 10.244.1.8/32 dev veth-there
                    neigh add 10.244.1.9 lladdr 02:00:00:00:00:07 dev eth0 nud permanent");
    let index = |name: &str| {
        let link = &forger.node.json(&["ip", "-j", "link", "show", name])[0]["ifindex"];
        link.as_u64().unwrap() as u32
    };
    let (outer, other) = (index("veth-there"), index("eth0"));
    let own = {
        let link = &source.node.json(&["ip", "-j", "link", "show", "veth-there"])[0]["ifindex"];
        link.as_u64().unwrap() as u32
    };
    let whole = |class: &str| -> Vec<u8> {
        let class = netckpt::state::class(class).unwrap();
        let read = || capture::read(class, &mut netckpt::state::Reader::new()).unwrap();
        forger.node.open().run(read).unwrap()
    };
    let sysctl = |path: &str| [path.as_bytes(), b"\0", b"1", b"\0"].concat();
    // Of the forger's node all that is on this link, as if it were on the pod's.
    let on = |class: &str, link: u32| -> Vec<u8> {
        let all = whole(class);
        let mut kept = Vec::new();
        for message in netckpt::netlink::messages(&all).map(Result::unwrap) {
            let four = link.to_ne_bytes();
            if message.bytes.windows(4).any(|window| window == four) {
                let mut bytes = message.bytes.to_vec();
                for at in 0..bytes.len() - 3 {
                    if bytes[at..at + 4] == four && at >= 16 && link == outer {
                        bytes[at..at + 4].copy_from_slice(&own.to_ne_bytes());
                    }
                }
                kept.extend(bytes);
            }
        }
        assert!(!kept.is_empty());
        kept
    };
    let forged = [
        ("host/addresses", on("addresses", outer)),
        ("host/routes", on("routes", outer)),
        ("host/neighbours", on("neighbours", other)),
        ("host/sysctls", sysctl("ipv4/conf/all/route_localnet")),
        ("host/sysctls", sysctl("ipv4/conf/eth0/proxy_arp")),
        ("host/sysctls", sysctl("ipv4/ip_forward")),
        ("host/nft-rules", b"x".to_vec()),
        ("host/rules", whole("rules")),
    ];
    let target = Routed::new("ho-target", "veth-here");
    let before = target.node.sh("ip addr; ip route show table all; ip neigh; sysctl -a 2>/dev/null | grep 'net.ipv[46].conf'");
    for (section, bytes) in forged {
        let mut image = image.clone();
        let old = image.snapshot.sections.get(section).cloned().unwrap_or_default();
        image.snapshot.sections.insert(section.to_owned(), [&old[..], &bytes[..]].concat().into());
        let node = target.node.open();
        let outcome =
            restore::restore(&target.pod.open(), Some(&node), &image, &Options::default());
        assert!(
            matches!(outcome, Err(restore::Error::Image(_) | restore::Error::Sections(_))),
            "{section}: {outcome:?}"
        );
        let after = target.node.sh("ip addr; ip route show table all; ip neigh; sysctl -a 2>/dev/null | grep 'net.ipv[46].conf'");
        assert_eq!(after, before, "{section}");
    }
}

/// A restore that fails takes back what it did outside as well.
#[test]
fn a_failed_restore_takes_back_the_host_side() {
    let source = Routed::new("rb-source", "veth-there");
    source.furnish();
    let (image, _) = source.capture();
    let target = Routed::new("rb-target", "veth-here");
    let before = target.seen();
    // The source address of a route that no address here has: the kernel refuses it.
    let mut image = image.clone();
    image.snapshot.sections.insert("host/addresses".to_owned(), bytes::Bytes::new());
    let node = target.node.open();
    let outcome = restore::restore(&target.pod.open(), Some(&node), &image, &Options::default());
    match outcome {
        Err(restore::Error::Differs { undone, findings, .. }) => {
            assert_eq!(undone, Undone::Wholly);
            assert!(
                findings.iter().any(|one| one.to_string().starts_with("host/routes")),
                "{findings:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(target.seen(), before);
}
