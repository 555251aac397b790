//! What may be on its way while a pod moves, and from where.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lab::{Namespace, eventually, on_node, try_on_node};
use crate::migrate::{MACHINE, addresses, at, create, migrate, moved};
use crate::places::{Place, netns};

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Nobody has a connection with it, and all have asked for its address before.
#[test]
fn a_server_that_only_listens_is_reached_from_all_places() {
    let namespace = Namespace::new();
    let places = [
        Place::pod(&namespace, "near", "node-a"),
        Place::pod(&namespace, "far", "node-b"),
        Place::outside(),
    ];
    create(&namespace, "web", "node-a", &json!({}));
    let ips = addresses(&namespace.running("web"));
    for (place, ip) in places.iter().flat_map(|place| ips.iter().map(move |ip| (place, ip))) {
        eventually(&format!("{ip} answers"), || place.ping(ip).then_some(()));
    }
    let wires = places.each_ref().map(Place::wire);
    moved(&namespace, "web", "node-b", &[]);
    let mut clients = Vec::new();
    for (place, ip) in places.iter().flat_map(|place| ips.iter().map(move |ip| (place, ip))) {
        let line = format!("count {} --answers 20", at(ip));
        clients.push((line.clone(), place.client(&words(&line))));
    }
    for (what, client) in clients {
        let report = client.finished();
        assert_eq!(report["answers"], 20, "{what}");
    }
    wires.into_iter().for_each(|wire| wire.clean_of(&ips));
}

/// A rule on the outside machine that drops what it would send or hear in a handshake.
struct Deaf(&'static str);

impl Deaf {
    fn new(name: &'static str, chain: &str) -> Self {
        let table = format!("table inet {name} {{ chain x {{ type filter hook {chain}; }}; }}");
        outside(&["nft", &table]).expect("nft takes it");
        Self(name)
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        let _ = outside(&["nft", "delete", "table", "inet", self.0]);
    }
}

fn outside(command: &[&str]) -> Option<()> {
    let all = [&["netns", "exec", MACHINE][..], command].concat();
    let output = std::process::Command::new("ip").args(all).output().expect("ip runs");
    output.status.success().then_some(())
}

fn connect(address: SocketAddr) -> TcpStream {
    let path = format!("/run/netns/{MACHINE}");
    let machine = netckpt::netns::Namespace::open(std::path::Path::new(&path));
    let stream = machine.expect("it is there").run(|| TcpStream::connect(address));
    let stream = stream.expect("it is entered").expect("it answers");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    stream.set_nodelay(true).expect("TCP");
    stream
}

/// The first questions of the traffic program's counting client, and that they were answered.
fn asks(stream: &mut TcpStream, questions: std::ops::RangeInclusive<u64>) {
    for question in questions {
        stream.write_all(&question.to_be_bytes()).expect("it takes it");
    }
}

fn answered(stream: &mut TcpStream, questions: std::ops::RangeInclusive<u64>) {
    for question in questions {
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, [question.to_be_bytes(), question.to_be_bytes()].concat()[..]);
    }
}

/// One peer takes its connection for open and its last word has not come when the hold is asked for;
/// another one has not heard that its SYN was answered. The first one goes on, the second one tries
/// again at the successor; neither is reset.
#[test]
fn handshakes_in_their_middle_come_to_their_end() {
    // Who is deaf outside is deaf to all.
    let namespace = Namespace::alone();
    create(&namespace, "web", "node-a", &json!({}));
    let ips = addresses(&namespace.running("web"));
    let place = Place::outside();
    eventually("it answers", || ips.iter().all(|ip| place.ping(ip)).then_some(()));
    let inside = format!("--net={}", netns("node-a", &ips[0]));
    let wire = place.wire();
    let address = |ip: &str| at(ip).parse::<SocketAddr>().expect("an address");

    let no_last_word = Deaf::new(
        "e2e-mute",
        "output priority 0; meta nfproto ipv4 tcp flags & (syn|ack) == ack drop",
    );
    let no_answer = Deaf::new(
        "e2e-deaf",
        "input priority 0; meta nfproto ipv6 tcp flags & (syn|ack) == syn|ack drop",
    );
    let mut open = connect(address(&ips[0]));
    open.write_all(b"c").expect("it is open");
    let (second, told) = std::thread::scope(|scope| {
        let second = scope.spawn(|| connect(address(&ips[1])));
        eventually("both are half open", || {
            let all = on_node("node-a", &["nsenter", &inside, "ss", "-Htn", "state", "syn-recv"]);
            (all.lines().count() == 2).then_some(())
        });
        let child = migrate(&namespace, "web", "node-b", &[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netckpt runs");
        let look = ["nsenter", &inside, "nft", "list", "table", "netdev", "netckpt-mark-settle"];
        let end = Instant::now() + Duration::from_secs(30);
        while try_on_node("node-a", &look).is_err() {
            assert!(Instant::now() < end, "nobody waits for handshakes");
        }
        drop(no_last_word);
        asks(&mut open, 1..=1);
        let output = child.wait_with_output().expect("it ends");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        drop(no_answer);
        (second.join().expect("it is connected"), told)
    });
    eprintln!("{told}");
    answered(&mut open, 1..=1);
    asks(&mut open, 2..=50);
    answered(&mut open, 2..=50);
    let mut second = second;
    second.write_all(b"c").expect("it is open");
    asks(&mut second, 1..=50);
    answered(&mut second, 1..=50);
    wire.clean_of(&ips);
}
