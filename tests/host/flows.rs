//! What the node tracks of a pod's flows, with translation, goes with the pod.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use netckpt::capture;
use netckpt::host::flows;

use crate::netns::Ns;
use crate::world::{Lan, inside, pod};

/// kube-proxy's part: a Service that is one backend, and masquerade of what leaves for the client.
const RULES: &str = "table ip t {
    chain pre { type nat hook prerouting priority -100; ip daddr 10.96.0.10 tcp dport 80 dnat to 192.168.77.9:8080; }
    chain others { type nat hook prerouting priority -100; ip daddr 10.96.0.11 tcp dport 80 dnat to 10.244.1.7:8080; }
    chain post { type nat hook postrouting priority 100; tcp dport 9090 masquerade; }
    chain every { type filter hook forward priority 0; ct state invalid drop; }
}";

/// `conntrack -L` of a node, the lines that have all of these words.
fn tracked(node: &Ns, words: &[&str]) -> Vec<String> {
    let all = node.run(&["conntrack", "-L"]);
    let has = |line: &&str| words.iter().all(|word| line.contains(word));
    all.lines().filter(has).map(str::to_owned).collect()
}

/// A server in the client's namespace that answers each byte with the next one.
fn serve(client: &Ns, port: u16) {
    let listener = client.open().run(|| TcpListener::bind(("0.0.0.0", port))).unwrap().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() {
                    if stream.write_all(&[byte[0].wrapping_add(1)]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn connect(pod: &Ns, to: &str) -> TcpStream {
    let stream = pod.open().run(|| TcpStream::connect(to)).unwrap().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    stream
}

fn answers(stream: &mut TcpStream) {
    let mut byte = [0];
    stream.write_all(&[41]).unwrap();
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [42]);
}

#[test]
fn flows_to_services_go_along_and_those_of_the_node_are_named() {
    let lan = Lan::new("flows");
    for node in [&lan.a, &lan.b] {
        node.sh(&format!("nft -f - <<'END'\n{RULES}\nEND"));
    }
    let source = pod(&lan.a, "source", 1, 7);
    serve(&lan.client, 8080);
    serve(&lan.client, 9090);
    let mut service = connect(&source, "10.96.0.10:80");
    let mut outside = connect(&source, "192.168.77.9:9090");
    answers(&mut service);
    answers(&mut outside);
    let neighbour = pod(&lan.a, "neighbour", 1, 8);
    let mut other = connect(&neighbour, "10.96.0.10:80");
    answers(&mut other);

    let node = lan.a.open();
    let captured =
        capture::network(&source.open(), Some(&node), &capture::Options::default()).unwrap();
    assert_eq!(captured.counts[flows::SECTION], 1, "that of the Service");
    let named: Vec<_> =
        captured.not_carried.iter().filter(|one| one.class == flows::SECTION).collect();
    assert!(matches!(named[..], [one] if one.object.contains("9090")), "{named:?}");

    // On the other node, which has seen a packet of it pass, and then beside a stale entry of the same
    // flow.
    let port = service.local_addr().unwrap().port();
    lan.b.sh(&format!(
        "conntrack -I -p tcp --state ESTABLISHED -t 100 -s 192.168.77.9 -d 10.244.1.7 \
         --sport 8080 --dport {port}"
    ));
    let section = captured.snapshot.sections[flows::SECTION].clone();
    let own: [IpAddr; 1] = ["10.244.1.7".parse().unwrap()];
    for _ in 0..2 {
        assert_eq!(inside(&lan.b, || flows::insert(&section, 5, &own)).unwrap(), [""; 0]);
    }
    let translated = ["src=10.244.1.7", "dst=10.96.0.10", "src=192.168.77.9", "sport=8080"];
    let there = tracked(&lan.b, &translated);
    assert!(matches!(&there[..], [one] if one.contains("ESTABLISHED")), "{there:?}");
    // Of an image that claims flows of others, nothing comes.
    let theirs: [IpAddr; 1] = ["10.244.1.99".parse().unwrap()];
    inside(&lan.b, || flows::forget(&own.into())).unwrap();
    inside(&lan.b, || flows::insert(&section, 5, &theirs)).unwrap();
    assert_eq!(tracked(&lan.b, &["10.244.1.7"]), [""; 0]);

    // The pod has left: its flows are forgotten, but for the one that only this node can translate,
    // and nobody else's.
    assert_eq!(inside(&lan.a, || flows::forget(&own.into())).unwrap(), 1);
    assert_eq!(tracked(&lan.a, &translated), [""; 0]);
    assert_eq!(tracked(&lan.a, &["src=10.244.1.7", "dport=9090"]).len(), 1);
    assert_eq!(tracked(&lan.a, &["src=10.244.1.8", "dst=10.96.0.10"]).len(), 1);
    answers(&mut other);
    answers(&mut outside);
}

/// Somebody else sends them to this node, which translates them: they go on through it.
#[test]
fn flows_that_the_node_leads_to_the_pod_stay() {
    let lan = Lan::new("led");
    lan.a.sh(&format!("nft -f - <<'END'\n{RULES}\nEND"));
    lan.client
        .ip("route add 10.96.0.11 via 192.168.77.1\nroute replace 10.244.1.0/24 via 192.168.77.1");
    let server = pod(&lan.a, "server", 1, 7);
    serve(&server, 8080);
    let mut led = connect(&lan.client, "10.96.0.11:80");
    let mut direct = connect(&lan.client, "10.244.1.7:8080");
    answers(&mut led);
    answers(&mut direct);
    let node = lan.a.open();
    let options = capture::Options::default();
    let captured = capture::network(&server.open(), Some(&node), &options).unwrap();
    assert_eq!(captured.counts[flows::SECTION], 1, "the direct one");
    let named = captured.not_carried.iter().filter(|one| one.class == flows::SECTION);
    assert!(named.map(|one| &one.object).all(|one| one.contains("10.96.0.11")));
    let own: [IpAddr; 1] = ["10.244.1.7".parse().unwrap()];
    assert_eq!(inside(&lan.a, || flows::forget(&own.into())).unwrap(), 1);
    // The Service has another backend since.
    lan.a.sh("nft flush chain ip t others");
    answers(&mut led);
}

#[test]
fn flows_without_a_socket_are_found_by_a_walk() {
    let lan = Lan::new("walk");
    lan.a.sh(&format!("nft -f - <<'END'\n{RULES}\nEND"));
    let source = pod(&lan.a, "source", 1, 7);
    source
        .open()
        .run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"x", "192.168.77.9:53").unwrap();
            let node = lan.a.open();
            let captured =
                capture::network(&source.open(), Some(&node), &capture::Options::default());
            assert_eq!(captured.unwrap().counts[flows::SECTION], 1);
        })
        .unwrap();
}
