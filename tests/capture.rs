//! What a capture holds, against what the ecosystem's own tools say of the same namespace.

mod netns;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netckpt::capture::{Captured, Error, Options, capture};
use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::state::{CLASSES, Names, objects};
use netns::{Ns, Pair};

fn captured(ns: &Ns) -> Captured {
    capture(&ns.open(), &Options::default()).expect("a capture")
}

/// Number of objects that a command says in JSON.
fn told(ns: &Ns, command: &str) -> u64 {
    let command: Vec<_> = command.split(' ').collect();
    ns.json(&command).as_array().expect("a list").len() as u64
}

#[test]
fn counts_are_those_of_the_tools() {
    let pair = Pair::wired("counts");
    let pod = &pair.pod;
    pod.ip("addr add 10.61.0.3/24 dev eth0 label eth0:second
        addr add 192.0.2.1/32 peer 192.0.2.2 dev eth0
        route add 198.51.100.0/24 via 10.61.0.1 metric 100
        route add 198.51.100.0/24 via 10.61.0.1 table 100
        route add blackhole 203.0.113.0/24
        route add unreachable fd99::/64 table 200
        rule add fwmark 0x10 lookup 100 priority 500
        neigh add 10.61.0.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
        neigh add fd61::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
        neigh add proxy 10.61.0.77 dev eth0
        nexthop add id 7 via 10.61.0.1 dev eth0
        route add 100.64.0.0/10 nhid 7");
    pod.sh("ip -6 rule add from fd61::/64 lookup 200 priority 600");
    let found = captured(pod);
    assert_eq!(found.counts["links"], told(pod, "ip -j link"));
    let addresses = pod.json(&["ip", "-j", "addr"]);
    let addresses = addresses.as_array().unwrap().iter();
    let infos = addresses.map(|link| link["addr_info"].as_array().unwrap().len() as u64);
    assert_eq!(found.counts["addresses"], infos.sum::<u64>());
    assert_eq!(
        found.counts["routes"],
        told(pod, "ip -j -4 route show table all") + told(pod, "ip -j -6 route show table all")
    );
    assert_eq!(found.counts["rules"], told(pod, "ip -j -4 rule") + told(pod, "ip -j -6 rule"));
    assert_eq!(found.counts["nexthops"], told(pod, "ip -j nexthop"));
    assert_eq!(found.counts["proxy-neighbours"], told(pod, "ip -j neigh show proxy"));
    assert!(found.counts["neighbours"] >= told(pod, "ip -j neigh show nud permanent"));
    assert_eq!(told(pod, "ip -j neigh show nud permanent"), 2);
}

/// All objects have a key of their own, and the tables know them.
#[test]
fn every_section_is_read_back_by_its_table() {
    let pair = Pair::wired("sections");
    let found = captured(&pair.pod);
    for class in CLASSES {
        let section = &found.snapshot.sections[class.name];
        let objects = objects(class, section).expect("a well-formed section");
        assert_eq!(objects.len() as u64, found.counts[class.name], "{}", class.name);
        let keys: BTreeSet<_> = objects.iter().map(|object| &object.key).collect();
        assert_eq!(keys.len(), objects.len(), "{}", class.name);
    }
    let names = Names::of(&found.snapshot.sections["links"]);
    assert!(names.has(1));
    assert_eq!(found.not_carried, [], "nothing is beside the tables in a plain pod");
}

#[test]
fn sysctls_are_those_that_the_namespace_may_write() {
    let pair = Pair::wired("sysctls");
    pair.pod.sh("sysctl -qw net.ipv4.tcp_keepalive_time=77 net.ipv6.conf.eth0.accept_ra=0
        sysctl -qw net.ipv4.ping_group_range='5 6' net.core.somaxconn=99");
    let found = captured(&pair.pod);
    let section = String::from_utf8(found.snapshot.sections["sysctls"].to_vec()).unwrap();
    let mut parts = section.split_terminator('\0');
    let mut files = BTreeSet::new();
    while let (Some(path), Some(value)) = (parts.next(), parts.next()) {
        files.insert(path.to_owned());
        let file = format!("/proc/sys/net/{path}");
        assert_eq!(pair.pod.run(&["cat", &file]).trim_end(), value, "{path}");
    }
    for (path, value) in [
        ("ipv4/tcp_keepalive_time", "77"),
        ("ipv6/conf/eth0/accept_ra", "0"),
        ("ipv4/ping_group_range", "5\t6"),
        ("core/somaxconn", "99"),
    ] {
        assert!(section.contains(&format!("{path}\0{value}\0")), "{path}");
    }
    // By their mode bits: root could write the others, if it were for the mode only.
    let listed = pair.pod.sh("cd /proc/sys/net; find . -type f -perm -200 -perm -400");
    let listed: BTreeSet<_> = listed
        .lines()
        .map(|path| path.trim_start_matches("./").to_owned())
        .filter(|path| netckpt::state::classes::sysctls::carried(path))
        // Not readable until it is set.
        .filter(|path| !path.ends_with("/stable_secret"))
        .collect();
    assert_eq!(files, listed);
}

#[test]
fn what_no_class_covers_is_named() {
    let pair = Pair::wired("beside");
    let pod = &pair.pod;
    pod.sh("ipset create blocked hash:ip
        iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001
        tc qdisc add dev eth0 root tbf rate 1mbit burst 10k latency 50ms
        ip xfrm policy add src 10.0.0.0/8 dst 10.61.0.0/24 dir out
        ip addrlabel add prefix fd77::/64 label 99
        ip maddr add 01:00:5e:01:02:03 dev eth0");
    let found = captured(pod);
    let named: BTreeSet<_> = found
        .not_carried
        .iter()
        .map(|entry| (entry.class.as_str(), entry.object.as_str()))
        .collect();
    for wanted in [
        ("qdiscs", "tbf on eth0"),
        ("xfrm-policies", "policies: 1"),
        ("address-labels", "fd77::/64 label 99"),
        ("multicast-addresses", "01:00:5e:01:02:03 on eth0"),
    ] {
        // A class that is carried by now has no detector.
        let carried = CLASSES.iter().any(|class| class.name == wanted.0);
        assert!(carried || named.contains(&wanted), "{wanted:?} is not in {named:#?}");
    }
    assert!(found.not_carried.iter().all(|entry| entry.matters), "{:#?}", found.not_carried);
}

#[test]
fn bridges_are_looked_into() {
    let ns = Ns::new("bridge");
    ns.ip("link add br0 type bridge
        link add port0 type veth peer name other0
        link set port0 master br0
        link set br0 up
        link set port0 up");
    assert!(captured(&ns).not_carried.iter().all(|entry| !entry.class.starts_with("bridge")));
    ns.sh("bridge fdb add 02:00:00:00:00:99 dev port0 master static
        bridge mdb add dev br0 port port0 grp 239.1.1.1 permanent");
    let mut wanted =
        vec![("bridge-fdb", "02:00:00:00:00:99 on port0"), ("bridge-mdb", "groups of br0")];
    match ns.try_run(&["ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1"]) {
        Ok(_) => {
            ns.run(&["bridge", "vlan", "add", "vid", "7", "dev", "port0"]);
            wanted.push(("bridge-vlans", "VLANs of port0"));
        }
        Err(error) => println!("skipped: VLANs of bridges, which this kernel has not: {error}"),
    }
    let found = captured(&ns).not_carried;
    for (class, object) in wanted {
        let carried = CLASSES.iter().any(|known| known.name == class);
        let named = found.iter().any(|entry| entry.class == class && entry.object == object);
        assert!(carried || named, "{class} is not in {found:#?}");
    }
}

#[test]
fn a_quiet_namespace_takes_one_pass() {
    let ns = Ns::new("quiet");
    let evidence = captured(&ns).evidence;
    assert_eq!((evidence.passes, evidence.interrupted), (1, 0));
    assert!(evidence.read_again.is_empty());
}

/// What a capture says that has no time to read again while `work` goes on and on.
fn capture_beside(label: &str, work: impl FnMut() + Send) -> Error {
    let ns = Ns::new(label);
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let mut work = work;
    let on_and_on = || {
        while !stop.load(Ordering::Relaxed) {
            work();
        }
    };
    let error = std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(on_and_on));
        let options = Options { patience: Duration::ZERO, ..Options::default() };
        let error = (0..500).find_map(|_| capture(&namespace, &options).err());
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap().unwrap();
        error
    });
    error.expect("no time to read again")
}

#[test]
fn what_never_rests_is_named_in_the_error() {
    let rule = |kind: u16, flags: libc::c_int| {
        let header = [libc::AF_INET as u8, 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
        let mut message = Builder::new(kind, flags as u16, &header);
        message.put_u32(6, 1_000);
        message.finish()
    };
    let turn = [rule(32, libc::NLM_F_CREATE), rule(33, 0)];
    let mut socket = None;
    let error = capture_beside("rules", || {
        // The first time it is inside.
        let socket = socket.get_or_insert_with(|| Socket::open(Protocol::Route).unwrap());
        socket.batch(turn.iter().map(Vec::as_slice)).unwrap();
    });
    let only = |error: &Error, class| matches!(error, Error::KeepsChanging { classes, .. } if classes == &[class]);
    assert!(only(&error, "rules"), "{error}");
    assert_eq!(error.reason(), "StateKeepsChanging");
    let mut value = 0;
    let error = capture_beside("files", || {
        value = (value + 1) % 1_000;
        let text = (value + 1).to_string();
        std::fs::write("/proc/sys/net/ipv4/tcp_keepalive_time", text).unwrap();
    });
    assert!(only(&error, "sysctls"), "no notification tells of these: {error}");
}

#[test]
fn a_namespace_that_is_none_is_told_apart() {
    let error = netckpt::netns::Namespace::open("/etc/hostname").unwrap_err();
    assert!(error.to_string().contains("/etc/hostname is not a network namespace"));
}

/// Tests run in the machine's first namespace mostly; its files are many more than a pod's.
#[test]
fn what_all_namespaces_share_is_nobodys_state() {
    let here = netckpt::netns::Namespace::current().expect("the test's own namespace");
    let found = capture(&here, &Options::default()).expect("a capture");
    let section = String::from_utf8_lossy(&found.snapshot.sections["sysctls"]).into_owned();
    let has = |path: &str| section.starts_with(path) || section.contains(&format!("\0{path}\0"));
    assert!(has("ipv4/ip_forward") && has("ipv4/conf/lo/forwarding"));
    assert!(!has("core/dev_weight") && !has("core/netdev_max_backlog"));
}
