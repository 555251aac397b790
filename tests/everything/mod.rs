//! A pod with everything at once, and what the ecosystem's tools say of it.
//!
//! Use with `mod everything;` beside `mod netns;`. State comes in groups, each made by a shell script in
//! a pod as CNI leaves it. A group that this kernel or this version has no means for is named and left
//! out, so that a class that comes later is in here without a change.

#![allow(dead_code, reason = "each test takes what it needs")]

use netckpt::capture::{Options, network};
use netckpt::image::{Image, Origin};
use serde_json::Value;

use crate::netns::{Ns, Pair};

/// A name, and a shell script that makes it in the pod.
type Group = (&'static str, &'static str);

const GROUPS: &[Group] = &[
    (
        "sysctls",
        "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.tcp_keepalive_time=600 \
         net.ipv4.conf.eth0.arp_announce=2 net.ipv6.conf.eth0.router_solicitations=5 \
         net.ipv4.ip_local_port_range='20000 30000' net.core.somaxconn=99",
    ),
    (
        "pair of veth",
        "ip link add left index 40 mtu 1400 txqueuelen 77 address 02:00:00:00:40:01 type veth \
             peer name right index 41
         ip link set left alias 'one of two'; ip link set left group 7
         ip link property add dev left altname left-too
         ip addr add 192.0.2.9/24 dev left; ip link set left up; ip link set right up",
    ),
    (
        "bridge",
        "ip link add br0 index 50 type bridge; ip link set br0 type bridge forward_delay 400
         ip link add port0 index 51 type veth peer name beyond0 index 52
         ip link set port0 master br0; ip link set br0 up; ip link set port0 up",
    ),
    ("vxlan", "ip link add vx0 index 53 type vxlan id 77 dstport 4789 local 10.61.0.2 remote 10.61.0.9"),
    ("macvlan", "ip link add mv0 index 54 address 02:00:00:00:54:01 link eth0 type macvlan mode bridge"),
    ("ifb", "ip link add ifb7 index 55 address 02:00:00:00:55:01 type ifb"),
    ("tap", "ip tuntap add dev tap7 mode tap user 7; ip link set tap7 address 02:00:00:00:57:01"),
    ("dummy", "ip link add dummy7 index 57 address 02:00:00:00:58:01 type dummy"),
    ("vlan", "ip link add v7 index 58 link eth0 type vlan id 7"),
    (
        "addresses",
        "ip addr add 192.0.2.1 peer 192.0.2.2/32 dev eth0
         ip addr add 10.61.0.3/24 dev eth0 label eth0:b
         ip addr add 10.61.0.4/24 dev eth0 valid_lft 5000 preferred_lft 4000
         ip addr add 2001:db8:7::5/64 dev eth0 nodad noprefixroute",
    ),
    ("token", "ip token set ::77 dev eth0"),
    (
        "routes",
        "ip route add 10.9.0.0/16 via 10.61.0.9 table 100 metric 7 mtu 1400
         ip route add blackhole 10.66.0.0/16
         ip route add 10.8.0.0/16 nexthop via 10.61.0.8 weight 1 nexthop via 10.61.0.9 weight 3
         ip route add 2001:db8:1::/48 via fd61::9 metric 77
         ip route add unreachable fd99::/64 table 200",
    ),
    ("MPLS", "sysctl -qw net.mpls.platform_labels=1000; ip -f mpls route add 100 as 200 via inet 10.61.0.9"),
    (
        "nexthops",
        "ip nexthop add id 11 via 10.61.0.9 dev eth0; ip nexthop add id 13 via 10.61.0.8 dev eth0
         ip nexthop add id 12 group 11,5/13; ip route add 10.7.0.0/16 nhid 12",
    ),
    (
        "rules",
        "ip rule add from 10.61.0.77 lookup 100 priority 500
         ip rule add fwmark 0x10/0xff blackhole priority 501
         ip -6 rule add fwmark 0x10/0xff lookup 100 priority 600",
    ),
    (
        "neighbours",
        "ip neigh add 10.61.0.77 lladdr 02:00:00:00:00:77 dev eth0
         ip neigh add fd61::77 lladdr 02:00:00:00:00:77 dev eth0
         ip neigh add proxy 10.61.0.78 dev eth0
         ip ntable change name arp_cache dev eth0 base_reachable 20000",
    ),
    (
        "nftables",
        "nft -f - <<'END'
table inet filter {
  counter hits { packets 7 bytes 700 }
  quota much { 25 mbytes }
  set blocked { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.1-198.51.100.9 } }
  set recent { type ipv4_addr; timeout 1h; elements = { 203.0.113.7 timeout 2h } }
  map ways { type inet_service : verdict; elements = { 80 : jump web, 443 : accept } }
  chain web { counter name hits accept; }
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport vmap @ways
    ip saddr @blocked counter drop
    ct state established,related accept comment \"known\"
    meta mark 7 limit rate 10/second log prefix \"seen \" accept
  }
}
table ip nat {
  chain out { type nat hook postrouting priority srcnat; oifname \"eth0\" masquerade; }
}
END",
    ),
    ("iptables-nft", "iptables-nft -A INPUT -p tcp --dport 81 -m comment --comment seen -j ACCEPT"),
    ("ipset", "ipset create allowed hash:ip timeout 600; ipset add allowed 192.0.2.7"),
    ("iptables-legacy", "iptables-legacy -A INPUT -p tcp --dport 80 -j ACCEPT"),
    ("ip6tables-legacy", "ip6tables-legacy -A INPUT -p tcp --dport 80 -j DROP"),
    ("arptables-legacy", "arptables-legacy -A INPUT -s 10.61.0.66 -j DROP"),
    ("ebtables-legacy", "ebtables-legacy -A INPUT -p ARP -j ACCEPT"),
    (
        "conntrack",
        "conntrack -I -p tcp -s 10.61.0.2 -d 10.61.0.9 --sport 4000 --dport 80 \
             --state ESTABLISHED --timeout 50000 -u SEEN_REPLY,ASSURED
         conntrack -I -p udp -s 10.61.0.2 -d 10.61.0.9 --sport 4000 --dport 53 --timeout 5000 \
             --mark 7 --src-nat 10.61.0.3",
    ),
    (
        "traffic control",
        "tc qdisc add dev eth0 root handle 1: htb default 10
         tc class add dev eth0 parent 1: classid 1:10 htb rate 10mbit
         tc filter add dev eth0 parent 1: protocol ip prio 5 handle 800::1 u32 \
             match ip dport 80 0xffff flowid 1:10",
    ),
    ("bridge fdb", "ip link show br0 && bridge fdb add 02:00:00:00:00:99 dev port0 master static"),
    ("bridge mdb", "ip link show br0 && bridge mdb add dev br0 port port0 grp 239.1.1.1 permanent"),
    ("xfrm", "ip xfrm policy add src 10.0.0.0/8 dst 10.77.0.0/24 dir out priority 7"),
    ("address labels", "ip addrlabel add prefix fd77::/64 label 99"),
    ("multicast addresses", "ip maddr add 01:00:5e:01:02:03 dev eth0"),
    ("MPTCP", "ip mptcp endpoint add 10.61.0.2 id 7 signal"),
    ("IOAM", "ip ioam namespace add 7"),
];

/// Whether a group comes back, seen in a pod with the groups so far and nothing of what came to nothing.
fn usable(name: &str, script: &str, before: &[&str]) -> bool {
    let pair = wired("usable");
    before.iter().for_each(|script| drop(pair.pod.sh(script)));
    if let Err(error) = pair.pod.try_run(&["sh", "-euc", script]) {
        let why = error.trim_end().rsplit(": ").next().unwrap_or_default();
        println!("left out: {name}, which this kernel or its tools have not: {why}");
        return false;
    }
    let lost = image(&pair).manifest.not_carried;
    if let Some(first) = lost.iter().find(|lost| lost.matters) {
        println!("left out: {name}, which this version does not carry: {first}");
        return false;
    }
    true
}

/// A pod as CNI leaves it, without the wait for duplicate addresses.
pub fn wired(label: &str) -> Pair {
    let pair = Pair::bare(label);
    pair.pod.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    pair.wire();
    pair
}

/// A pod with everything at once that this kernel and this version know.
pub fn pod(label: &str) -> Pair {
    static USABLE: std::sync::LazyLock<Vec<&str>> = std::sync::LazyLock::new(|| {
        let mut scripts = Vec::new();
        for (name, script) in GROUPS {
            // What stands on something else needs that first.
            let before: &[&str] = if script.starts_with("ip link show") { &scripts } else { &[] };
            if usable(name, script, before) {
                scripts.push(*script);
            }
        }
        scripts
    });
    let pair = wired(label);
    USABLE.iter().for_each(|script| drop(pair.pod.sh(script)));
    pair
}

/// What a capture makes of a pod and its node's ends.
#[track_caller]
pub fn image(pair: &Pair) -> Image {
    let captured = network(&pair.pod.open(), Some(&pair.node.open()), &Options::default());
    captured.unwrap_or_else(|error| panic!("{error}")).into_image(Origin::default())
}

/// Ways of asking in JSON; a tool that is not there has nothing to say.
const ASKED: &[&[&str]] = &[
    &["ip", "-j", "-d", "link"],
    &["ip", "-j", "-d", "addr"],
    &["ip", "-j", "-d", "-N", "-4", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-6", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-4", "rule"],
    &["ip", "-j", "-d", "-N", "-6", "rule"],
    &["ip", "-j", "-d", "nexthop"],
    &["ip", "-j", "neigh", "show", "nud", "permanent"],
    &["ip", "-j", "neigh", "show", "proxy"],
    &["ip", "-j", "token"],
    &["nft", "-j", "-a", "list", "ruleset"],
    &["tc", "-j", "qdisc"],
    &["bridge", "-j", "-d", "link"],
    &["bridge", "-j", "mdb"],
];

/// Ways of asking in text.
const READ: &[&str] = &[
    // What passed no rule counts at the policy: links that come up ask and tell.
    "iptables-legacy-save -c | grep -v '^#' | sed '/^:/s/ \\[.*//'",
    "ip6tables-legacy-save -c | grep -v '^#' | sed '/^:/s/ \\[.*//'",
    "arptables-legacy-save -c | grep -v '^#'",
    "ipset save | sed 's/timeout [0-9]*//g'",
    "conntrack -L -o extended,save 2>/dev/null | sed 's/-t [0-9]*//' | sort",
    "tc class show dev eth0; tc filter show dev eth0",
    "ip xfrm policy; ip -f mpls route; ip addrlabel; ip mptcp endpoint; ip ioam namespace",
    "ip maddr show dev eth0 | sort",
    "sysctl -a 2>/dev/null | grep '^net' | grep -v -e stable_secret -e base_reachable \
         -e nf_conntrack_count -e fib_multipath_hash_seed",
];

/// What the tools say of a namespace, a line for each thing, without what is of the moment.
pub fn told(ns: &Ns) -> Vec<String> {
    let mut lines = Vec::new();
    for question in ASKED {
        let items = match ns.json(question) {
            Value::Array(items) => items,
            Value::Object(mut all) => match all.remove("nftables") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let mut shown: Vec<_> = items
            .into_iter()
            .map(|mut item| {
                strip(&mut item);
                format!("{}: {item}", question.join(" "))
            })
            .collect();
        if question.contains(&"neigh") {
            shown.sort();
        }
        lines.extend(shown);
    }
    for question in READ {
        let text = ns.try_run(&["sh", "-c", question]).unwrap_or_default();
        lines.extend(text.lines().map(|line| format!("{question}: {}", line.trim_end())));
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
        "valid_life_time",
        "preferred_life_time",
        "expires",
        "carrier_changes",
        "operstate",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "unbalanced_time",
        "last_member_query",
    ];
    match item {
        Value::Object(fields) => {
            for name in OF_THE_MOMENT {
                fields.remove(*name);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// Lines that only one side has.
pub fn differing(left: &[String], right: &[String]) -> Vec<String> {
    let only = |these: &[String], those: &[String], sign| -> Vec<String> {
        these.iter().filter(|l| !those.contains(l)).map(|l| format!("{sign} {l}")).collect()
    };
    [only(left, right, "-"), only(right, left, "+")].concat()
}
