//! The way to a pod whose address is not of its node's range.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use netckpt::host::{Error, Inside, Pod, Way, Ways};
use netckpt::image::{Origin, Unsupported};
use netckpt::restore::{self, Options};
use netckpt::{capture, plan};

use crate::netns::Ns;
use crate::world::{Nodes, attach, inside, pod, pod_ips, reaches, state};

#[test]
fn a_moved_pod_reaches_and_is_reached_and_leaves_no_trace() {
    let nodes = Nodes::new("way");
    let (stayed, native) = (pod(&nodes.a, "stayed", 1, 9), pod(&nodes.b, "native", 2, 5));
    // Nothing leads to the moved address on the node that it left, yet; here by hand.
    nodes.a.ip("route add 10.244.1.7/32 via 192.168.77.2
                route add fd00:1::7/128 via fd77::2
                neigh add proxy 10.244.1.7 dev cni0
                neigh add proxy fd00:1::7 dev cni0");
    nodes.a.sh("sysctl -qw net.ipv4.neigh.cni0.proxy_delay=0 net.ipv6.neigh.cni0.proxy_delay=0 net.ipv6.conf.cni0.proxy_ndp=1");
    let before = state(&nodes.b);
    let moved = pod(&nodes.b, "moved", 1, 7);
    // What it had learned where it came from: its gateway and a neighbour, with addresses that
    // nobody has here.
    moved.ip("neigh replace 10.244.1.1 lladdr 02:00:00:00:aa:01 dev eth0 nud reachable
              neigh replace 10.244.1.9 lladdr 02:00:00:00:aa:09 dev eth0 nud reachable
              neigh replace fd00:1::1 lladdr 02:00:00:00:aa:01 dev eth0 nud reachable
              neigh replace fd00:1::9 lladdr 02:00:00:00:aa:09 dev eth0 nud reachable
              neigh replace 10.244.1.99 lladdr 02:00:00:00:aa:99 dev eth0 nud permanent");
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    let attached = attach(&nodes.b, &ways, &moved, "c1").unwrap();
    assert_eq!(attached.lacks, Vec::<String>::new());

    let started = Instant::now();
    for to in ["10.244.1.1", "10.244.2.1", "192.168.77.1", "10.244.2.5", "10.244.1.9"] {
        reaches(&moved, to);
    }
    for to in ["fd00:1::1", "fd00:2::1", "fd77::1", "fd00:2::5", "fd00:1::9"] {
        reaches(&moved, to);
    }
    // Ten answers: no proxied answer was delayed, no learned address had to fail first.
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
    for from in [&nodes.b, &nodes.a, &native, &stayed] {
        reaches(from, "10.244.1.7");
        reaches(from, "fd00:1::7");
    }
    reaches(&native, "10.244.2.1");
    reaches(&native, "10.244.1.9");
    let neighbours = moved.run(&["ip", "neigh"]);
    assert!(
        neighbours.contains("10.244.1.99 dev eth0 lladdr 02:00:00:00:aa:99 PERMANENT"),
        "{neighbours}"
    );

    // Twice is no error and changes nothing.
    let once = state(&nodes.b);
    attach(&nodes.b, &ways, &moved, "c1").unwrap();
    assert_eq!(state(&nodes.b), once);
    let gone = inside(&nodes.b, || ways.detach("c1", "eth0")).unwrap().unwrap();
    assert_eq!(gone.addresses.len(), 2);
    assert_eq!(inside(&nodes.b, || ways.detach("c1", "eth0")).unwrap(), None);
    drop(moved);
    assert_eq!(state(&nodes.b), before);
}

#[test]
fn what_another_pod_needs_stays() {
    let nodes = Nodes::new("share");
    let before = state(&nodes.b);
    let (first, second) = (pod(&nodes.b, "first", 1, 7), pod(&nodes.b, "second", 1, 8));
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    attach(&nodes.b, &ways, &first, "c1").unwrap();
    attach(&nodes.b, &ways, &second, "c2").unwrap();
    inside(&nodes.b, || ways.detach("c1", "eth0")).unwrap();
    reaches(&second, "10.244.1.1");
    reaches(&nodes.b, "10.244.1.8");
    let routes = nodes.b.run(&["ip", "route", "show", "proto", "78"]);
    assert!(!routes.contains("10.244.1.7") && routes.contains("10.244.1.8"), "{routes}");
    inside(&nodes.b, || ways.detach("c2", "eth0")).unwrap();
    drop((first, second));
    assert_eq!(state(&nodes.b), before);
}

#[test]
fn a_later_agent_sweeps_what_has_gone_without_a_word() {
    let nodes = Nodes::new("sweep");
    let before = state(&nodes.b);
    let (gone, lives) = (pod(&nodes.b, "gone", 1, 7), pod(&nodes.b, "lives", 1, 8));
    let folder = tempfile::tempdir().unwrap();
    {
        let ways = Ways::open(folder.path()).unwrap();
        attach(&nodes.b, &ways, &gone, "c1").unwrap();
        attach(&nodes.b, &ways, &lives, "c2").unwrap();
    }
    drop(gone);
    // A route of ours without a record: an agent that died before it had written one.
    nodes.b.ip("route add 10.244.1.66/32 dev cni0 proto 78
                route add 10.244.1.67/32 via 192.168.77.1 proto 78
                route add 10.244.1.68/32 dev cni0");
    let ways = Ways::open(folder.path()).unwrap();
    let swept = inside(&nodes.b, || ways.sweep()).unwrap();
    assert_eq!(swept.iter().map(|one| one.container_id.as_str()).collect::<Vec<_>>(), ["c1"]);
    let routes = nodes.b.run(&["ip", "route"]);
    assert!(!routes.contains("10.244.1.7 ") && !routes.contains("10.244.1.66"), "{routes}");
    // Another node's pod and another program's route are not ours to sweep.
    assert!(routes.contains("10.244.1.67") && routes.contains("10.244.1.68"), "{routes}");
    reaches(&nodes.b, "10.244.1.8");
    inside(&nodes.b, || ways.retain(|_| false)).unwrap();
    nodes.b.ip("route del 10.244.1.67/32
                route del 10.244.1.68/32");
    drop(lives);
    assert_eq!(state(&nodes.b), before);
}

#[test]
fn a_pod_that_claims_the_nodes_and_others_addresses_gets_only_its_own() {
    let nodes = Nodes::new("greedy");
    let (native, greedy) = (pod(&nodes.b, "native", 2, 5), pod(&nodes.b, "greedy", 1, 7));
    // The other node, a service, a neighbour on the bridge; and gateways that are somebody's.
    greedy.ip("addr add 192.168.77.1/32 dev eth0
               addr add 10.96.0.1/32 dev eth0
               addr add 10.244.2.5/32 dev eth0
               route add 203.0.113.0/24 via 8.8.8.8 dev eth0 onlink table 100
               route replace default via 192.168.77.9 dev eth0 onlink
               route replace default via fd77::9 dev eth0 onlink");
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    let before = nodes.b.run(&["ip", "-o", "addr"]);
    let attached = attach(&nodes.b, &ways, &greedy, "c1").unwrap();
    let own: [IpAddr; 2] = ["10.244.1.7".parse().unwrap(), "fd00:1::7".parse().unwrap()];
    assert_eq!(attached.record.addresses, own);
    assert_eq!(attached.record.gateways, Vec::<IpAddr>::new());
    assert_eq!(attached.lacks.len(), 3, "{:?}", attached.lacks);
    assert_eq!(nodes.b.run(&["ip", "-o", "addr"]), before);
    let routes = nodes.b.run(&["ip", "route", "show", "proto", "78"]);
    assert_eq!(routes.lines().count(), 1, "{routes}");
    reaches(&nodes.b, "192.168.77.1");
    reaches(&nodes.b, "10.244.1.7");
    reaches(&native, "192.168.77.1");
    inside(&nodes.b, || ways.detach("c1", "eth0")).unwrap();
}

#[test]
fn an_address_of_somebody_else_is_left_alone() {
    let nodes = Nodes::new("taken");
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    let moved = pod(&nodes.b, "taken", 1, 7);
    nodes.b.ip("route add 10.244.1.7/32 dev eth0");
    let before = state(&nodes.b);
    let error = attach(&nodes.b, &ways, &moved, "c1").unwrap_err();
    let address: IpAddr = "10.244.1.7".parse().unwrap();
    assert!(matches!(&error, Error::InUse(by) if by.address == address), "{error}");
    assert_eq!(state(&nodes.b), before);
    assert!(no_records(folder.path()));
}

#[test]
fn a_pod_of_the_nodes_own_range_needs_nothing() {
    let nodes = Nodes::new("own");
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    let own = pod(&nodes.a, "own", 1, 7);
    own.ip("neigh replace 10.244.1.99 lladdr 02:00:00:00:aa:99 dev eth0 nud stale");
    let before = state(&nodes.a);
    let attached = attach(&nodes.a, &ways, &own, "c1").unwrap();
    assert_eq!(attached.record.addresses, Vec::<IpAddr>::new());
    assert_eq!(state(&nodes.a), before);
    // It may have been learned on another node, where another one answered for it.
    assert!(!own.run(&["ip", "neigh"]).contains("10.244.1.99"));
}

#[test]
fn an_outer_end_that_was_made_anew_becomes_a_port_again() {
    let nodes = Nodes::new("port");
    let folder = tempfile::tempdir().unwrap();
    let ways = Ways::open(folder.path()).unwrap();
    let moved = pod(&nodes.b, "port", 1, 7);
    let facts = Inside::read(&moved.open(), "eth0").unwrap();
    let bridge = inside(&nodes.b, || ways.bridge(&facts)).unwrap();
    assert!(bridge.is_some());
    nodes.b.ip("link set veth17 nomaster");
    let netns = moved.open();
    let way = Way {
        container_id: "c1",
        interface: "eth0",
        pod: Pod::default(),
        netns: &netns,
        path: moved.path(),
        pod_ips: &pod_ips(),
        bridge,
        range: &[],
    };
    inside(&nodes.b, || ways.attach(&way)).unwrap();
    reaches(&moved, "10.244.1.1");
    reaches(&nodes.b, "10.244.1.7");
}

#[test]
fn a_veth_into_a_namespace_of_the_pods_own_never_comes_to_the_node() {
    let nodes = Nodes::new("nested");
    let (native, source) = (pod(&nodes.b, "native", 2, 5), pod(&nodes.b, "source", 2, 6));
    let third = Ns::new("third");
    // Indexes as of a pair of the node and another pod: they mean nothing across namespaces.
    nodes.b.ip(&format!(
        "link add other index 170 type veth peer name other index 77 netns {}",
        native.name()
    ));
    source.ip(&format!(
        "link add leak index 77 type veth peer name leak index 170 netns {}",
        third.name()
    ));
    let node = nodes.b.open();
    let captured =
        capture::network(&source.open(), Some(&node), &capture::Options::default()).unwrap();
    assert_eq!(captured.counts["host/links"], 1);
    let lost: Vec<_> = captured.not_carried.iter().filter(|one| one.class == "links").collect();
    assert!(matches!(lost[..], [one] if one.matters && one.object == "leak"), "{lost:?}");

    let image = captured.into_image(Origin::default());
    let target = pod(&nodes.b, "target", 2, 7);
    let links = |ns: &Ns| ns.json(&["ip", "-j", "link"]).as_array().unwrap().len();
    let before = links(&nodes.b);
    let options = Options {
        on_unsupported: Unsupported::Report,
        known_ends_only: true,
        ..Options::default()
    };
    let error = restore::restore(&target.open(), Some(&node), &image, &options).unwrap_err();
    let refused =
        matches!(&error, restore::Error::Plan(plan::Error::NoEnd { link }) if link == "leak");
    assert!(refused, "{error}");
    assert_eq!(links(&nodes.b), before);
}

fn no_records(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
