//! Namespaces as others make them (`ip netns`), and the harness that the other tests stand on.

mod netns;

use netckpt::netns::Namespace;
use netns::{Ns, Pair};

#[test]
fn a_named_namespace_opens_and_is_the_one_ip_means() {
    let ns = Ns::new("open");
    let opened = ns.open();
    let link = ns.run(&["readlink", "/proc/self/ns/net"]);
    assert_eq!(opened.id().to_string(), link.trim());
}

#[test]
fn nothing_is_left_after_a_panic() {
    let (send, receive) = std::sync::mpsc::channel();
    let outcome = std::thread::spawn(move || {
        let ns = Ns::new("panic");
        let sleeping = ns.command(&["sleep", "60"]).spawn().unwrap();
        let inside = format!("/proc/{}/ns/net", sleeping.id());
        // `ip netns exec` takes a moment to be inside.
        for _ in 0..1000 {
            if Namespace::open(&inside).is_ok_and(|now| now.id() == ns.open().id()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        send.send((ns.path().to_owned(), sleeping)).unwrap();
        panic!("as a failing test does");
    })
    .join();
    assert!(outcome.is_err());
    let (path, mut sleeping) = receive.recv().unwrap();
    assert!(!path.exists());
    assert!(!sleeping.wait().unwrap().success(), "ended with the namespace");
}

#[test]
fn a_wired_pair_talks() {
    let pair = Pair::wired("wired");
    let routes = pair.pod.json(&["ip", "-j", "route", "show", "default"]);
    assert_eq!(routes[0]["gateway"], "10.61.0.1");
    assert_eq!(pair.pod.json(&["ip", "-j", "link"]).as_array().unwrap().len(), 2);
    let peer = pair.node.json(&["ip", "-j", "link", "show", "veth0"]);
    assert_eq!(peer[0]["operstate"], "UP");
}
