//! Pods that are being restored: silent until they have leave to speak.

use std::time::Duration;

use netckpt::hold::{Element, Kind};

use crate::netns::Ns;
use crate::world::{CLIENT, POD, POD6, Wire, World, eventually, hold, note};

#[test]
fn it_is_silent_from_before_it_has_an_address_until_it_has_leave() {
    let world = World::new("waits");
    let (pod, node) = (world.pod.open(), world.node.open());
    world.pod.ip("link set eth0 down
        addr flush dev eth0");
    let one = hold("pod-uid", Kind::Successor);
    one.plant(&pod, &node, Element::None, &note()).unwrap();
    let mac = world.pod.sh("cat /sys/class/net/eth0/address");
    let wire = Wire::on(&world.near, &format!("ether src {}", mac.trim()));
    world.pod.ip(&format!(
        "link set eth0 up
         addr add {POD}/24 dev eth0
         addr add {POD6}/64 dev eth0
         route replace default via 10.61.0.1"
    ));
    assert!(!world.answers(&world.near, POD) && !world.answers(&world.near, POD6));
    wire.is_silent();

    // Leave that ends by itself.
    one.set(Some(&pod), &node, Element::For(Duration::from_secs(2))).unwrap();
    eventually("it speaks", || world.answers(&world.near, POD));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!world.answers(&world.near, POD));
    let standing = one.read(Some(&pod), &node).unwrap().unwrap();
    assert_eq!(standing.element, Element::None);

    one.lift(Some(&pod), &node).unwrap();
    eventually("it speaks", || world.answers(&world.near, POD));
}

#[test]
fn leave_for_ip_leaves_arp_held() {
    let world = World::new("ip");
    let (pod, node) = (world.pod.open(), world.node.open());
    world.reachable();
    let one = hold("pod-uid", Kind::Successor);
    one.plant(&pod, &node, Element::None, &note()).unwrap();
    let time = Duration::from_secs(60);
    one.let_ip(&pod, &node, time).unwrap();
    let standing = one.read(Some(&pod), &node).unwrap().unwrap();
    assert_eq!(standing.element, Element::None);
    assert!(matches!(standing.ip, Element::For(left) if left <= time), "{standing:?}");
    assert!(world.answers(&world.near, POD), "both know each other's hardware address");
    world.near.sh("ip neigh flush dev eth0");
    assert!(!world.answers(&world.near, POD), "nobody answers ARP");
    let arping = ["arping", "-c", "1", "-w", "1", "-I", "eth0", CLIENT];
    assert!(world.pod.try_run(&arping).is_err(), "nor asks");
    one.set(Some(&pod), &node, Element::For(time)).unwrap();
    eventually("it speaks", || world.answers(&world.near, POD));
}

/// A restore may make the pair anew.
#[test]
fn it_is_planted_again_without_a_gap_on_what_there_is_then() {
    let world = World::new("anew");
    let (pod, node) = (world.pod.open(), world.node.open());
    let one = hold("pod-uid", Kind::Successor);
    one.plant(&pod, &node, Element::None, &note()).unwrap();
    world.node.ip(&format!(
        "link del veth0
         link add veth9 type veth peer name net1 netns {}
         link set veth9 up",
        world.pod.name()
    ));
    let standing = one.plant(&pod, &node, Element::None, &note()).unwrap();
    assert_eq!((standing.pod, standing.node), (vec!["net1".into()], vec!["veth9".into()]));
    world.pod.ip(&format!(
        "link set net1 up
        addr add {POD}/24 dev net1"
    ));
    world.node.ip("link set veth9 master cni0");
    assert!(!world.answers(&world.near, POD));
    one.lift(Some(&pod), &node).unwrap();
    eventually("it speaks", || world.answers(&world.near, POD));
}

/// From when its node leads to it until it may answer, the node does not say that nobody is there; what
/// comes for it is not kept from it.
#[test]
fn its_node_does_not_say_that_nobody_is_there() {
    let world = World::new("hush");
    let (pod, node) = (world.pod.open(), world.node.open());
    world.reachable();
    let one = hold("pod-uid", Kind::Successor);
    one.plant(&pod, &node, Element::None, &note()).unwrap();
    one.hush(&pod, &node, Duration::from_secs(60)).unwrap();
    assert!(one.covers(&pod, &node).unwrap());
    world.node.sh("ip neigh flush dev cni0; ip -6 neigh flush dev cni0");
    let wire = Wire::on(&world.far, "icmp[0] == 3 or icmp6[0] == 1");
    let ask = |address| {
        let _ = world.far.try_run(&["ping", "-c", "6", "-i", "1", "-W", "1", address]);
    };
    ask(POD);
    ask(POD6);
    wire.is_silent();
    // Of others it goes on telling.
    ask("10.61.0.77");
    assert!(wire.seen().contains("10.61.0.77 unreachable"), "{}", wire.seen());

    one.let_ip(&pod, &node, Duration::from_secs(60)).unwrap();
    let mac = |at: &Ns, device: &str| {
        let link = at.run(&["ip", "-br", "link", "show", device]);
        link.split_whitespace().nth(2).unwrap().to_owned()
    };
    let (pods, nodes) = (mac(&world.pod, "eth0"), mac(&world.node, "cni0"));
    for (address, gateway) in [(POD, "10.61.0.1"), (POD6, "fd61::1")] {
        let know = |address, mac, device| {
            format!("neigh replace {address} lladdr {mac} dev {device} nud reachable")
        };
        world.node.ip(&know(address, &pods, "cni0"));
        world.pod.ip(&know(gateway, &nodes, "eth0"));
        assert!(world.answers(&world.far, address), "who knows {address} reaches it");
    }
    let of_it = "nft list tables inet | grep -c netckpt-wait || true";
    assert_eq!(world.node.sh(of_it).trim(), "1");
    one.set(Some(&pod), &node, Element::For(Duration::from_secs(60))).unwrap();
    assert_eq!(world.node.sh(of_it).trim(), "0");
    world.reachable();
}
