//! State made with the ecosystem's own tools comes back in another namespace, bare or prepared as
//! CNI does it, and reads back equal with the same tools.

mod netns;

use netckpt::image::{Evidence, Image, Manifest, Origin};
use netckpt::netns::Namespace;
use netckpt::restore::{self, Error, Options, Report, Undone};
use netns::{Ns, Pair};
use serde_json::Value;

fn image(pod: &Namespace, node: &Namespace) -> Image {
    let snapshot = restore::read(pod, Some(node)).unwrap();
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

fn captured(pair: &Pair) -> Image {
    image(&pair.pod.open(), &pair.node.open())
}

#[track_caller]
fn restored(pair: &Pair, image: &Image) -> Report {
    let outcome =
        restore::restore(&pair.pod.open(), Some(&pair.node.open()), image, &Options::default());
    let report = outcome.unwrap_or_else(|error| panic!("{error}"));
    let found = restore::verify(&pair.pod.open(), image).unwrap();
    let found: Vec<_> = found.iter().filter(|f| f.matters()).map(ToString::to_string).collect();
    assert!(found.is_empty(), "verify: {found:#?}");
    println!("{} rounds, {} steps, {:?}", report.rounds, report.steps, report.timings);
    for step in report.plans.iter().skip(1).flat_map(|plan| &plan.steps) {
        println!("again: {step}");
    }
    report
}

/// What the tools say of a namespace, one line each, without what is of the moment or of the host.
fn told(ns: &Ns) -> Vec<String> {
    let mut lines = Vec::new();
    for command in [
        &["ip", "-j", "-d", "link"][..],
        &["ip", "-j", "-d", "addr"],
        &["ip", "-j", "-d", "-4", "route", "show", "table", "all"],
        &["ip", "-j", "-d", "-6", "route", "show", "table", "all"],
        &["ip", "-j", "-d", "-4", "rule"],
        &["ip", "-j", "-d", "-6", "rule"],
        &["ip", "-j", "neigh"],
        &["ip", "-j", "neigh", "show", "proxy"],
        &["ip", "-j", "-d", "nexthop"],
        &["ip", "-j", "ntable"],
    ] {
        let Value::Array(mut items) = ns.json(command) else { panic!("{command:?}") };
        // Hashed by chance, and by which end of a pair came first.
        if matches!(command[2], "ntable" | "neigh") {
            items.sort_by_key(ToString::to_string);
        }
        // What a node and its pod learn of each other's link-local addresses.
        items.retain(|item| {
            command[2] != "neigh" || !item["dst"].as_str().unwrap().starts_with("fe80::")
        });
        for mut item in items {
            strip(&mut item);
            lines.push(format!("{}: {item}", command.join(" ")));
        }
    }
    // The rest differs from namespace to namespace by chance, or is the machine's.
    let sysctls = ns.run(&["sh", "-c", "sysctl -a 2>/dev/null | grep '^net' | grep -v -e stable_secret -e base_reachable -e nf_conntrack_count -e fib_multipath_hash_seed"]);
    lines.extend(sysctls.lines().map(str::to_owned));
    lines
}

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
        "valid_life_time",
        "preferred_life_time",
        "expires",
        "carrier_changes",
        "perm_address",
        "qdisc",
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

#[track_caller]
fn assert_told_same(left: &Ns, right: &Ns) {
    let (left, right) = (told(left), told(right));
    let only = |these: &[String], those: &[String], sign: &str| -> Vec<String> {
        these
            .iter()
            .filter(|line| !those.contains(line))
            .map(|line| format!("{sign} {line}"))
            .collect()
    };
    let mut differing = only(&left, &right, "-");
    differing.extend(only(&right, &left, "+"));
    assert!(differing.is_empty(), "the tools see a difference:\n{}", differing.join("\n"));
    let moved = left.iter().zip(&right).find(|(left, right)| left != right);
    assert!(moved.is_none(), "the order differs: {moved:#?}");
}

/// The steps of all rounds, in words.
fn steps(report: &Report) -> Vec<String> {
    report.plans.iter().flat_map(|plan| &plan.steps).map(ToString::to_string).collect()
}

/// A pod with something of every class but nftables and connection tracking, which have tests of their own.
fn rich(label: &str) -> Pair {
    let pair = Pair::bare(label);
    let node = pair.node.name();
    pair.pod.sh(&format!(
        "sysctl -qw net.ipv4.conf.default.rp_filter=2 net.ipv6.conf.default.accept_ra=0
         sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.accept_redirects=1
         sysctl -qw net.ipv6.conf.all.forwarding=1
         sysctl -qw net.ipv4.ip_local_port_range='20000 30000' net.ipv4.ip_unprivileged_port_start=80
         sysctl -qw net.ipv4.tcp_keepalive_time=601 net.core.somaxconn=1234
         ip link set lo up
         ip link add eth0 index 7 mtu 1450 address 02:00:00:00:00:07 txqueuelen 77 type veth peer name veth-out netns {node}
         ip link add in0 index 21 type veth peer name in1 index 20
         ip link set eth0 alias 'front door' group 5
         ip link property add dev eth0 altname outside altname enp0
         sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv6.conf.in0.disable_ipv6=1
         sysctl -qw net.ipv6.conf.in1.use_tempaddr=1
         ip link set in1 addrgenmode none
         ip link set in1 multicast off"
    ));
    pair.node.ip("link set veth-out up");
    pair.pod.sh("ip link set eth0 up; ip link set in0 up; ip link set in1 up allmulticast on
         ip addr add 127.0.0.5/8 dev lo
         ip addr add 10.5.0.2/24 dev eth0 brd +
         ip addr add 10.5.0.3/24 dev eth0 label eth0:web
         ip addr add 10.9.0.1 peer 10.9.0.2 dev eth0 metric 77
         ip addr add 10.6.0.1/24 dev eth0 noprefixroute valid_lft 5000 preferred_lft 4000
         ip addr add fd05::2/64 dev eth0 nodad
         ip addr add fd05::3/64 dev eth0
         ip addr add fd05::4/128 dev lo
         ip addr add fd06::1/64 dev eth0 home valid_lft 9000 preferred_lft 8000
         ip addr add 10.7.0.1/30 dev in0; ip addr add 10.7.0.2/30 dev in1
         ip route add default via 10.5.0.1
         ip route add 169.254.1.1 dev eth0 scope link
         ip route add 10.20.0.0/16 via 169.254.1.1 dev eth0 onlink metric 50 mtu lock 1300
         ip route add 10.21.0.0/16 table 100 nexthop via 10.5.0.1 weight 3 nexthop via 10.5.0.9
         ip route add blackhole 10.22.0.0/16
         ip route add 10.23.0.0/16 dev eth0 src 10.5.0.3 tos 8
         ip route append 10.23.0.0/16 dev in0 tos 8
         ip -6 route add default via fd05::1 metric 10
         ip -6 route add fd20::/32 via fd05::1 expires 4000
         ip -6 route add fd21::/32 table 200 nexthop via fd05::1 nexthop via fd05::9
         ip -6 route add unreachable fd22::/32
         ip nexthop add id 1 via 10.5.0.1 dev eth0
         ip nexthop add id 2 via 10.5.0.9 dev eth0
         ip nexthop add id 10 group 1,2/2,5
         ip nexthop add id 3 blackhole
         ip route add 10.30.0.0/16 nhid 10
         ip rule add pref 100 from 10.5.0.3 lookup 100
         ip rule add pref 100 fwmark 7/0xff lookup 101
         ip rule add pref 200 to 10.99.0.0/16 uidrange 1000-2000 prohibit
         ip rule add pref 300 not iif lo ipproto tcp dport 80-90 lookup main suppress_prefixlength 0
         ip -6 rule add pref 150 from fd05::3 lookup 200
         ip -6 rule del pref 32766; ip -6 rule add pref 32000 lookup main
         ip neigh add 10.5.0.1 lladdr 02:00:00:00:00:01 dev eth0
         ip neigh add 10.5.0.8 lladdr 02:00:00:00:00:08 dev eth0 nud stale
         ip neigh add fd05::1 lladdr 02:00:00:00:00:01 dev eth0 router
         ip neigh add proxy 10.5.0.77 dev eth0
         ip -6 neigh add proxy fd05::77 dev eth0
         ip ntable change name arp_cache dev eth0 retrans 1504 queue 17"
        .replace("1,2/2,5", "1/2,3")
        .as_str());
    // Duplicate address detection is over and the kernel has all its routes.
    pair.pod.settle();
    pair
}

#[test]
fn a_bare_namespace_becomes_the_captured_one() {
    let source = rich("bare");
    let image = captured(&source);
    let target = Pair::bare("bare-to");
    restored(&target, &image);
    assert_told_same(&source.pod, &target.pod);
    // On the host the outer end has its name again, and is up.
    let outer = target.node.json(&["ip", "-j", "link", "show", "veth-out"]);
    assert_eq!(outer[0]["operstate"], "UP");
}

/// As the bridge plugin leaves a sandbox: the pod's `eth0` on the node's bridge, an address of its
/// own, a default route.
fn prepared(label: &str, index: u32) -> Pair {
    let pair = Pair::bare(label);
    let pod = pair.pod.name();
    pair.node.ip(&format!(
        "link set lo up
         link add cni0 address 02:00:00:00:00:01 type bridge
         link set cni0 up
         addr add 10.5.0.1/24 dev cni0
         link add eth0 index {index} netns {pod} type veth peer name vethabc
         link set vethabc master cni0
         link set vethabc up"
    ));
    pair.pod.ip("link set lo up
         link set eth0 up
         addr add 10.5.0.99/24 dev eth0
         route add default via 10.5.0.1");
    pair.pod.settle();
    pair
}

#[test]
fn a_prepared_namespace_becomes_the_captured_one() {
    let source = rich("cni");
    let image = captured(&source);
    let target = prepared("cni-to", 2);
    restored(&target, &image);
    assert_told_same(&source.pod, &target.pod);
    // The outer end is still what CNI knows: by name, on its bridge, up.
    let outer = target.node.json(&["ip", "-j", "link", "show", "vethabc"]);
    assert_eq!((&outer[0]["master"], &outer[0]["operstate"]), (&"cni0".into(), &"UP".into()));
    target.node.run(&["ping", "-c", "1", "-W", "2", "10.5.0.2"]);
}

#[test]
fn a_link_with_the_right_index_stays() {
    let source = rich("mend");
    let image = captured(&source);
    let target = prepared("mend-to", 7);
    let report = restored(&target, &image);
    let steps = steps(&report);
    assert!(!steps.iter().any(|step| step.contains("remove eth0")), "{steps:#?}");
    assert_told_same(&source.pod, &target.pod);
}

#[test]
fn a_second_restore_does_nothing() {
    let source = rich("twice");
    let image = captured(&source);
    for target in [Pair::bare("twice-bare"), prepared("twice-cni", 2)] {
        restored(&target, &image);
        let report = restored(&target, &image);
        assert_eq!(steps(&report), Vec::<String>::new());
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let source = rich("dry");
    let image = captured(&source);
    let target = prepared("dry-to", 2);
    let before = told(&target.pod);
    let plan = restore::plan(&target.pod.open(), Some(&target.node.open()), &image).unwrap();
    assert!(plan.steps.len() > 50);
    assert_eq!(before, told(&target.pod));
}

/// The links of a node as its own network setup knows them.
fn ends(node: &Ns) -> Vec<String> {
    let Value::Array(links) = node.json(&["ip", "-j", "-d", "link"]) else { panic!("no list") };
    let known = ["ifindex", "ifname", "flags", "mtu", "address", "master", "operstate", "txqlen"];
    links.iter().map(|link| known.map(|name| link[name].to_string()).join(" ")).collect()
}

#[test]
fn a_failing_restore_leaves_the_namespace_as_it_was() {
    let source = rich("fail");
    // A preferred source that is no address of the pod: the kernel refuses the route, after all else
    // was done.
    let mut image = captured(&source);
    let mut routes = image.snapshot.sections["routes"].to_vec();
    let route = routes.windows(4).position(|bytes| bytes == [10, 23, 0, 0]).unwrap();
    let source_of = [8, 0, 7, 0, 10, 5, 0, 3];
    let at = routes[route..].windows(8).position(|bytes| bytes == source_of).unwrap() + route;
    routes[at + 6] = 9;
    image.snapshot.sections.insert("routes".to_owned(), routes.into());
    for target in [Pair::bare("fail-bare"), prepared("fail-cni", 2), prepared("fail-mend", 7)] {
        let before = (told(&target.pod), ends(&target.node));
        let outcome = restore::restore(
            &target.pod.open(),
            Some(&target.node.open()),
            &image,
            &Options::default(),
        );
        let error = outcome.unwrap_err();
        let Error::Differs { undone, refused, .. } = &error else { panic!("{error}") };
        assert_eq!(undone, &Undone::Wholly, "{error}");
        assert!(!refused.is_empty());
        assert_eq!(error.reason(), "KernelRefused");
        let after = (told(&target.pod), ends(&target.node));
        let new: Vec<_> = after.0.iter().filter(|line| !before.0.contains(line)).collect();
        let lost: Vec<_> = before.0.iter().filter(|line| !after.0.contains(line)).collect();
        assert!(new.is_empty() && lost.is_empty(), "new {new:#?}, lost {lost:#?}");
        assert_eq!(before.1, after.1, "on the node");
    }
}

#[test]
fn verify_names_what_was_changed() {
    let source = rich("verify");
    let image = captured(&source);
    // What is changed by whom, what verify says, and how it is put right.
    let changes = [
        ("ip link set eth0 txqueuelen 78", "links: eth0: txqlen is 78 instead of 77"),
        ("ip addr add 10.99.0.1/32 dev eth0", "10.99.0.1/32 on eth0: not in the image"),
        ("ip addr del fd05::3/64 dev eth0", "fd05::3/64 on eth0: missing"),
        ("ip route del 169.254.1.1", "169.254.1.1/32 dev eth0 (table main): missing"),
        ("ip rule del pref 100 from 10.5.0.3", "from 10.5.0.3/32 lookup 100: missing"),
        ("ip nexthop del id 3", "nexthop 3 blackhole: missing"),
        ("ip neigh del 10.5.0.1 dev eth0", "10.5.0.1 on eth0: missing"),
        ("ip neigh del proxy 10.5.0.77 dev eth0", "proxy 10.5.0.77 on eth0: missing"),
        ("ip ntable change name arp_cache dev eth0 retrans 1604", "1604 instead of 1504"),
        ("sysctl -qw net.ipv4.tcp_keepalive_time=602", "602 instead of 601"),
    ];
    for (command, said) in changes {
        source.pod.sh(command);
        let found = restore::verify(&source.pod.open(), &image).unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|line| line.contains(said)), "{command}: {found:#?}");
        // A restore mends it in place.
        restored(&source, &image);
    }
}

/// The agent may be killed at any moment: whatever it had done, the next restore ends with the same.
#[test]
fn a_restore_that_was_killed_is_finished_by_the_next() {
    let source = rich("kill");
    let image = captured(&source);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), image.to_bytes().unwrap()).unwrap();
    let mut killed = 0;
    for delay in [5, 10, 15, 20, 30, 40, 60, 80] {
        let target = prepared("kill-to", 2);
        let (image_path, netns) =
            (file.path().to_str().unwrap(), target.pod.path().to_str().unwrap());
        let restore = [env!("CARGO_BIN_EXE_netckpt"), "restore", image_path, "--netns", netns];
        // Straight into the namespace: what is killed is the restore, not `ip netns exec`.
        let node = target.node.path().to_str().unwrap().to_owned();
        let mut child = std::process::Command::new("nsenter")
            .arg(format!("--net={node}"))
            .args(restore)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        restored(&target, &image);
        assert_told_same(&source.pod, &target.pod);
    }
    assert!(killed > 0, "every restore was done before it could be killed");
}

/// An image that tells nothing of the host (`capture --no-host`) gets an outer end of its own.
#[test]
fn without_host_links_the_outer_end_gets_a_name() {
    let source = rich("nohost");
    let mut image = captured(&source);
    image.snapshot.sections.remove("host/links");
    let target = Pair::bare("nohost-to");
    restored(&target, &image);
    let Value::Array(links) = target.node.json(&["ip", "-j", "link", "show", "type", "veth"])
    else {
        panic!("no list")
    };
    assert_eq!((links.len(), &links[0]["operstate"]), (1, &Value::from("UP")));
    // And without a host namespace nothing can be made.
    let bare = Ns::new("nohost-bare");
    let outcome = restore::restore(&bare.open(), None, &image, &Options::default());
    assert_eq!(outcome.unwrap_err().reason(), "NoHostNamespace");
}

/// On the host that still has the source, its names are taken.
#[test]
fn a_copy_beside_its_source_gets_another_outer_name() {
    let source = rich("copy");
    let image = captured(&source);
    let copy = Ns::new("copy-to");
    restore::restore(&copy.open(), Some(&source.node.open()), &image, &Options::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let Value::Array(links) = source.node.json(&["ip", "-j", "link", "show", "type", "veth"])
    else {
        panic!("no list")
    };
    assert_eq!(links.len(), 2);
}

/// The kernel looks at a gateway only when a route is made; the way to it may go away later.
#[test]
fn a_route_whose_gateway_went_away_comes_back() {
    let source = rich("stranded");
    source.pod.sh("ip route add 10.40.0.0/16 via 169.254.1.1 dev eth0
         ip route add 10.41.0.0/16 via 169.254.1.1 dev eth0 table 500
         ip route del 169.254.1.1
         ip -6 addr add fd40::1/64 dev eth0 nodad
         ip -6 route add fd41::/64 via fd40::9
         ip -6 addr del fd40::1/64 dev eth0");
    let image = captured(&source);
    for target in [Pair::bare("stranded-bare"), prepared("stranded-cni", 2)] {
        restored(&target, &image);
        assert_told_same(&source.pod, &target.pod);
    }
}

/// What a target has already and the image has otherwise: for each case, what is done in a pod before
/// it is captured, and in the one that is to become it.
const OVER: &[(&str, &str, &str)] = &[
    ("a value that is empty", "", "sysctl -qw net.ipv4.ip_local_reserved_ports=3000-3001"),
    (
        "a route on a link behind one through a gateway",
        "ip route add 10.9.0.0/16 via 10.5.0.1 metric 5; ip route append 10.9.0.0/16 dev eth0 metric 5",
        "",
    ),
    (
        "routes alike but for their source",
        "ip route append 10.9.0.0/16 via 10.5.0.6; ip route append 10.9.0.0/16 via 10.5.0.5
         ip route append 10.9.0.0/16 via 10.5.0.5 src 10.5.0.99",
        "ip route append 10.9.0.0/16 via 10.5.0.5 src 10.5.0.99
         ip route append 10.9.0.0/16 via 10.5.0.5",
    ),
    (
        "nexthops of other kinds under the same ids",
        "ip nexthop add id 1 via 10.5.0.1 dev eth0; ip nexthop add id 2 via 10.5.0.2 dev eth0
         ip nexthop add id 10 group 1/2; ip nexthop add id 11 group 1 type resilient buckets 8
         ip route add 10.9.0.0/16 nhid 10; ip route add 10.8.0.0/16 nhid 11",
        "ip nexthop add id 10 via 10.5.0.1 dev eth0; ip nexthop add id 2 group 10
         ip nexthop add id 11 group 10 type resilient buckets 4
         ip route add 10.9.0.0/16 nhid 10; ip route add 10.8.0.0/16 nhid 11",
    ),
    (
        "gateways that nothing leads to any more",
        "ip addr add 10.44.0.1/32 dev eth0; ip route add 10.44.0.2 dev eth0; ip route add 10.44.0.3 dev eth0
         ip nexthop add id 1 via 10.44.0.2 dev eth0; ip route add 10.45.0.0/16 nhid 1
         ip route add 10.46.0.0/16 nexthop via 10.44.0.2 dev eth0 nexthop via 10.44.0.3 dev eth0
         ip route del 10.44.0.2; ip route del 10.44.0.3",
        "",
    ),
];

/// It reads as an error until it is written, so that it is missing in the target.
#[test]
fn a_secret_for_addresses_comes_back_on_a_link_that_stays() {
    let pods = [prepared("secret", 2), prepared("secret-to", 2)];
    pods[0].pod.sh("sysctl -qw net.ipv6.conf.eth0.stable_secret=fd00::78
         sysctl -qw net.ipv6.conf.default.stable_secret=fd00::79
         sysctl -qw net.ipv6.conf.lo.addr_gen_mode=0 net.ipv6.conf.eth0.addr_gen_mode=0");
    let image = captured(&pods[0]);
    let found = restore::verify(&pods[1].pod.open(), &image).unwrap();
    let missing = |path| found.iter().any(|f| f.matters() && f.object == path);
    assert!(missing("ipv6/conf/eth0/stable_secret"), "{found:#?}");
    restored(&pods[1], &image);
    let files = ["eth0/stable_secret", "default/stable_secret", "eth0/addr_gen_mode"];
    let read = |pair: &Pair| {
        files.map(|f| pair.pod.run(&["cat", &format!("/proc/sys/net/ipv6/conf/{f}")]))
    };
    assert_eq!(read(&pods[0]), read(&pods[1]));
}

#[test]
fn what_a_target_has_otherwise_is_mended() {
    let mut failures = Vec::new();
    for (name, source, target) in OVER {
        let pods = [prepared("over", 2), prepared("over-to", 2)];
        pods[0].pod.sh(source);
        pods[1].pod.sh(target);
        let image = captured(&pods[0]);
        let outcome = restore::restore(
            &pods[1].pod.open(),
            Some(&pods[1].node.open()),
            &image,
            &Options::default(),
        );
        if let Err(error) = outcome {
            failures.push(format!("{name}: {error}"));
            continue;
        }
        let (said, shall) = (told(&pods[1].pod), told(&pods[0].pod));
        let kept = |line: &&String| {
            let here = ["net.", "ip -j -d -4 ", "ip -j -d nexthop"];
            here.iter().any(|start| line.starts_with(start))
        };
        let said: Vec<_> = said.iter().filter(kept).collect();
        let shall: Vec<_> = shall.iter().filter(kept).collect();
        if said != shall {
            let only = |these: &[&String], those: &[&String]| -> Vec<String> {
                these.iter().filter(|l| !those.contains(l)).map(|l| l.to_string()).collect()
            };
            let (more, less) = (only(&said, &shall), only(&shall, &said));
            failures.push(format!("{name}: too much {more:#?}, missing {less:#?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
