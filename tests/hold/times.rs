//! Holds end in time, and are found again by whoever comes after.

use std::time::{Duration, Instant};

use netckpt::hold::{self, Element, Kind};

use crate::netns::Ns;
use crate::world::{POD, World, eventually, hold, note};

fn tables(at: &Ns) -> String {
    at.run(&["nft", "list", "tables"])
}

#[test]
fn the_kernel_ends_it_when_nobody_is_left() {
    let world = World::new("ends");
    world.reachable();
    let start = Instant::now();
    // The process that planted it is gone when the test goes on.
    world.netckpt(&["hold", "--timeout", "3"]).unwrap();
    assert!(!world.answers(&world.near, POD));
    eventually("the pod answers again", || world.answers(&world.near, POD));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(2900), "released after {took:?}");
    assert!(took < Duration::from_secs(6), "released after {took:?}");
    let node = world.node.open();
    let swept = hold::sweep(&node, |_| true).unwrap();
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].note.0, "held by netckpt hold");
    assert_eq!(tables(&world.node) + &tables(&world.pod), "");
}

#[test]
fn it_is_found_by_name_and_made_endless_only_while_it_holds() {
    let world = World::new("found");
    let (pod, node) = (world.pod.open(), world.node.open());
    world.reachable();
    let first = hold("uid-1", Kind::Source);
    let planted = first.plant(&pod, &node, Element::For(Duration::from_secs(2)), &note()).unwrap();
    assert_eq!((planted.pod, planted.node), (vec!["eth0".into()], vec!["veth0".into()]));

    let listed = hold::all(&node).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].hold, first);
    assert_eq!(listed[0].pod().unwrap().id(), pod.id());
    assert_eq!(hold::in_pod(&pod).unwrap(), std::slice::from_ref(&first));
    let Element::For(left) = first.read(Some(&pod), &node).unwrap().unwrap().element else {
        panic!("it ends")
    };
    assert!(left <= Duration::from_secs(2) && left > Duration::from_millis(500), "{left:?}");
    assert!(hold::sweep(&node, |_| true).unwrap().is_empty(), "what holds is not swept");

    assert!(first.make_endless(Some(&pod), &node).unwrap());
    std::thread::sleep(Duration::from_millis(2500));
    let standing = first.read(Some(&pod), &node).unwrap().unwrap();
    assert_eq!(standing.element, Element::Endless);
    assert!(!world.answers(&world.near, POD));
    first.lift(Some(&pod), &node).unwrap();
    first.lift(Some(&pod), &node).unwrap();
    world.reachable();

    first.plant(&pod, &node, Element::For(Duration::from_millis(300)), &note()).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    let standing = first.read(Some(&pod), &node).unwrap().unwrap();
    assert_eq!(standing.element, Element::None);
    assert!(!first.make_endless(Some(&pod), &node).unwrap(), "its time is over");
    world.reachable();
}

#[test]
fn two_holds_hold_until_both_have_ended() {
    let world = World::new("two");
    let (pod, node) = (world.pod.open(), world.node.open());
    world.reachable();
    let [first, second] = ["a", "b"].map(|id| hold(id, Kind::Source));
    for one in [&first, &second] {
        one.plant(&pod, &node, Element::For(Duration::from_secs(60)), &note()).unwrap();
    }
    world.netckpt(&["release", "--id", "a"]).unwrap();
    assert!(!world.answers(&world.near, POD));
    assert!(world.netckpt(&["release", "--id", "a"]).unwrap_err().contains("no hold a"));
    world.netckpt(&["release"]).unwrap();
    world.reachable();
}

#[test]
fn it_goes_with_the_pod_and_not_to_the_next() {
    let world = World::new("gone");
    let (pod, node) = (world.pod.open(), world.node.open());
    let one = hold("a", Kind::Source);
    one.plant(&pod, &node, Element::Endless, &note()).unwrap();
    assert!(hold::sweep(&node, |_| true).unwrap().is_empty());
    drop(pod);
    let World { pod, near: _near, far: _far, node: node_ns } = world;
    drop(pod);
    let links = || node_ns.run(&["ip", "-br", "link"]);
    eventually("the kernel takes the links down", || !links().contains("veth0"));
    let swept = hold::sweep(&node, |_| true).unwrap();
    assert_eq!(swept.len(), 1);
    assert_eq!(tables(&node_ns), "");
}

/// The tables are what nft(8) can show and delete.
#[test]
fn nft_shows_it() {
    let world = World::new("shown");
    world.netckpt(&["hold", "--id", "shop-web", "--timeout", "60"]).unwrap();
    let shown = world.node.run(&["nft", "list", "table", "netdev", "netckpt-hold-shop-web"]);
    for part in [
        "comment \"held by netckpt hold\"",
        "type ether_type",
        "* timeout 1m expires",
        "hook ingress",
        "hook egress",
        "veth0",
        "meta protocol @held drop",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // It is no part of the pod's state.
    let pod = world.pod.open();
    let captured = netckpt::capture::capture(&pod, &netckpt::capture::Options::default()).unwrap();
    for class in ["nft-tables", "nft-chains", "nft-rules", "nft-sets", "nft-set-elements"] {
        assert_eq!(captured.counts[class], 0, "{class}");
    }
    for (at, family) in [(&world.node, "netdev"), (&world.node, "inet"), (&world.pod, "netdev")] {
        at.run(&["nft", "delete", "table", family, "netckpt-hold-shop-web"]);
    }
    world.reachable();
}
