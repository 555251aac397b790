//! The path to a pod on another node, switched there, back, and again.

use std::net::IpAddr;

use netckpt::host::{Lead, Pod, Way, Ways};

use crate::netns::Ns;
use crate::world::{Lan, inside, pod, pod_behind, pod_ips, reaches, state};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const KEPT: [&str; 2] = ["10.244.1.7", "fd00:1::7"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Both addresses of the moved pod on the node of that number.
fn leads(node: u8, sequence: i64) -> Vec<Lead> {
    let lead = |address: &&str| Lead {
        address: ip(address),
        node_ips: vec![ip(&format!("192.168.77.{node}")), ip(&format!("fd77::{node}"))],
        range_ips: vec![ip(&format!("10.244.{node}.200")), ip(&format!("fd00:{node}::200"))],
        mac: MAC.to_vec(),
        sequence,
    };
    KEPT.iter().map(lead).collect()
}

/// The moved pod on a node, with the hardware address that it has kept.
fn moved(node: &Ns, label: &str) -> Ns {
    // The kernel takes a pair down some time after its namespace.
    let moved = pod_behind(node, label, 1, 7, &format!("veth-{label}"));
    // What it had learned where it came from comes with the image. IPv6 has no proxy for a whole
    // range: the node answers for the neighbours that the pod was talking to.
    moved.ip("link set eth0 address 02:00:00:00:00:07
              neigh replace fd00:1::9 lladdr 02:00:00:00:aa:09 dev eth0 nud stale");
    moved
}

struct Node<'a> {
    ns: &'a Ns,
    ways: Ways,
    _folder: tempfile::TempDir,
}

impl<'a> Node<'a> {
    fn new(ns: &'a Ns) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { ns, ways: Ways::open(folder.path()).unwrap(), _folder: folder }
    }

    fn leads(&self, leads: &[Lead], lives: bool) -> Vec<String> {
        inside(self.ns, || self.ways.lead(leads, |_| lives)).unwrap()
    }

    fn arrives(&self, pod: &Ns, container: &str, sequence: i64) {
        let (netns, pod_ips) = (pod.open(), pod_ips());
        let way = Way {
            container_id: container,
            interface: "eth0",
            pod: Pod::default(),
            netns: &netns,
            path: pod.path(),
            pod_ips: &pod_ips,
            bridge: None,
            range: &[],
        };
        inside(self.ns, || {
            self.ways.prepare(&way).unwrap();
            self.ways.switch(container, "eth0", sequence).unwrap();
        });
    }

    fn leaves(&self, container: &str) {
        inside(self.ns, || self.ways.detach(container, "eth0")).unwrap();
    }
}

#[track_caller]
fn reached(from: &[&Ns]) {
    for from in from {
        KEPT.iter().for_each(|to| reaches(from, to));
    }
}

#[test]
fn a_pod_is_reached_from_everywhere_on_its_third_move() {
    let lan = Lan::new("moves");
    let (stayed, native) = (pod(&lan.a, "stayed", 1, 9), pod(&lan.b, "native", 2, 5));
    let all = [&lan.client, &lan.a, &lan.b, &stayed, &native];
    let (a, b) = (Node::new(&lan.a), Node::new(&lan.b));
    let before = (state(&lan.a), state(&lan.b));
    let mut at = moved(&lan.a, "home");
    // Everyone has learned where it is before it moves, each time.
    reached(&all);
    for turn in 0..4 {
        let (to, from, number, sequence) =
            if turn % 2 == 0 { (&b, &a, 2, turn + 1) } else { (&a, &b, 1, turn + 1) };
        // The source is taken down only when the path is switched: two have the address then.
        at.ip("link set eth0 down");
        let next = moved(to.ns, &format!("stay{turn}"));
        to.arrives(&next, &format!("c{turn}"), sequence);
        assert_eq!(from.leads(&leads(number, sequence), false), Vec::<String>::new());
        assert_eq!(to.leads(&leads(number, sequence - 1), false), Vec::<String>::new());
        reached(&all);
        reaches(&next, "10.244.1.9");
        reaches(&next, "fd00:1::9");
        reaches(&next, "192.168.77.9");
        if turn > 0 {
            from.leaves(&format!("c{}", turn - 1));
        }
        drop(std::mem::replace(&mut at, next));
        reached(&all);
    }
    a.leaves("c3");
    assert_ne!(state(&lan.b), before.1);
    a.leads(&[], false);
    b.leads(&[], false);
    drop(at);
    assert_eq!(state(&lan.a), before.0);
    assert_eq!(state(&lan.b), before.1);
}

#[test]
fn a_pod_that_is_made_anew_elsewhere_is_reached_there() {
    let lan = Lan::new("anew");
    let (stayed, native) = (pod(&lan.a, "stayed", 1, 9), pod(&lan.b, "native", 2, 5));
    let all = [&lan.client, &lan.a, &lan.b, &stayed, &native];
    let (a, b) = (Node::new(&lan.a), Node::new(&lan.b));
    let away = moved(&lan.b, "away");
    b.arrives(&away, "c0", 1);
    a.leads(&leads(2, 1), false);
    reached(&all);
    // It is gone before the next one is there: its old node knows nothing of it any more.
    drop(away);
    b.leaves("c0");
    a.leads(&[], false);
    let home = moved(&lan.a, "home");
    a.arrives(&home, "c1", 1);
    b.leads(&leads(1, 1), false);
    reached(&all);
}

#[test]
fn a_failed_migration_switches_back() {
    let lan = Lan::new("failed");
    let stayed = pod(&lan.a, "stayed", 1, 9);
    let source = moved(&lan.a, "source");
    let a = Node::new(&lan.a);
    let before = state(&lan.a);
    reached(&[&lan.client, &lan.a, &stayed]);
    a.leads(&leads(2, 1), true);
    let lost = stayed.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "1", KEPT[0]]);
    assert!(lost.is_err(), "it is led to the other node, where nobody is");
    a.leads(&[], true);
    reached(&[&lan.client, &lan.a, &stayed]);
    assert_eq!(state(&lan.a), before);
    drop(source);
}

#[test]
fn a_pod_that_never_speaks_gives_its_path_back() {
    let lan = Lan::new("back");
    let b = Node::new(&lan.b);
    let source = moved(&lan.a, "source");
    let native = pod(&lan.b, "native", 2, 5);
    reached(&[&lan.b, &native]);
    let successor = moved(&lan.b, "successor");
    successor.ip("link set eth0 down");
    b.arrives(&successor, "c1", 1);
    let lost = native.try_run(&["ping", "-n", "-q", "-c", "1", "-W", "1", KEPT[0]]);
    assert!(lost.is_err(), "it is led to the successor, which is silent");
    let back = || inside(&lan.b, || b.ways.give_back("c1", "eth0")).unwrap();
    assert_eq!([back(), back()], [true, false]);
    assert!(b.leads(&leads(1, 1), false).is_empty());
    reached(&[&lan.b, &native]);
    drop(source);
}

#[test]
fn what_others_took_away_is_led_again_and_what_is_others_is_left() {
    let lan = Lan::new("again");
    let a = Node::new(&lan.a);
    a.leads(&leads(2, 1), false);
    let led = state(&lan.a);
    lan.a.ip("route del 10.244.1.7/32\nroute del fd00:1::7/128");
    lan.a.sh("sysctl -qw net.ipv4.neigh.cni0.proxy_delay=80");
    a.leads(&leads(2, 1), false);
    assert_eq!(state(&lan.a), led);
    // Another agent goes on from what is on file.
    a.leads(&leads(2, 2), false);
    assert_eq!(state(&lan.a), led);
    a.leads(&[], false);
    // Somebody's own route, a node that is nowhere, and an address of this node.
    lan.a.ip("route add 10.244.1.7/32 dev eth0");
    let mut odd = leads(2, 1);
    odd[1].node_ips = vec![ip("fd99::1")];
    odd[1].range_ips = vec![ip("fd98::1")];
    odd.push(Lead { address: ip("192.168.77.1"), ..odd[0].clone() });
    let before = state(&lan.a);
    assert_eq!(a.leads(&odd, false).len(), 3);
    assert_eq!(state(&lan.a), before);
}
