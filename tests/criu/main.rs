//! Pods that move with plain CRIU between two namespaces, their connections kept: what netckpt does to
//! the network, with nothing of Kubernetes around it.

#[path = "../netns/mod.rs"]
mod netns;
#[path = "../programs/mod.rs"]
mod programs;

mod lab;
mod wire;

use std::time::Duration;

use lab::{ADDRESS4, ADDRESS6, Lab, PORT, Way};
use wire::Wire;

/// Moves there and back under a client; answers the client's report.
fn moved(lab: &mut Lab, arguments: &[&str]) -> serde_json::Value {
    let wire = Wire::tap(lab.client.name(), "eth0");
    let client = lab.client(arguments);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        let steps = lab.go(Way::Plain);
        eprintln!("{steps:.1?}");
        // The client's retransmission timer has grown to as much as the pause was long.
        std::thread::sleep(steps.all * 2 + Duration::from_millis(1500));
    }
    let report = client.content();
    eprintln!("{report}");
    wire.clean();
    assert!(report["silentMs"].as_f64() < Some(500.0), "it does not go on: {report}");
    report
}

fn at(address: &str) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{PORT}"),
        false => format!("{address}:{PORT}"),
    }
}

#[test]
fn a_connection_goes_there_and_back() {
    let mut lab = Lab::new("true");
    let report = moved(&mut lab, &["count", &at(ADDRESS4)]);
    assert!(report["answers"].as_u64() > Some(100), "{report}");
}

#[test]
fn a_connection_over_ipv6_goes_there_and_back() {
    moved(&mut Lab::new("true"), &["count", &at(ADDRESS6)]);
}

#[test]
fn a_thousand_connections_go_there_and_back() {
    let many = ["count", &at(ADDRESS4), "--connections", "1000", "--every", "100"];
    moved(&mut Lab::new("true"), &many);
}

#[test]
fn streams_lose_no_byte() {
    let mut lab = Lab::new("true");
    for direction in ["up", "down", "both"] {
        moved(&mut lab, &["bulk", direction, &at(ADDRESS4)]);
    }
}

#[test]
fn half_closed_connections_go_on() {
    let mut lab = Lab::new("true");
    for closed in ["half", "mute"] {
        moved(&mut lab, &[closed, &at(ADDRESS4)]);
    }
}

#[test]
fn datagrams_find_the_same_server() {
    let report = moved(&mut Lab::new("true"), &["datagrams", &at(ADDRESS4)]);
    assert!(report["lost"].as_u64() > Some(0), "nothing was held: {report}");
}

#[test]
fn a_server_that_only_listens_is_there() {
    let mut lab = Lab::new("true");
    lab.go(Way::Plain);
    let wire = Wire::tap(lab.client.name(), "eth0");
    let client = lab.client(&["count", &at(ADDRESS4), "--answers", "20"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(client.content()["answers"], 20);
    wire.clean();
}

/// As a sidecar's init container sets it up: what comes for another port goes to the server.
#[test]
fn redirected_connections_go_there_and_back() {
    let nat = format!(
        "nft -f - <<-NFT
            table inet mesh {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat; policy accept;
                    tcp dport 8080 redirect to :{PORT}
                    tcp dport 8081 dnat ip to {ADDRESS4}:{PORT}
                }}
            }}
NFT"
    );
    for port in [8080, 8081] {
        moved(&mut Lab::new(&nat), &["count", &format!("{ADDRESS4}:{port}")]);
    }
}

#[test]
fn a_prepared_successor_takes_over() {
    let mut lab = Lab::new("true");
    let wire = Wire::tap(lab.client.name(), "eth0");
    let client = lab.client(&["count", &at(ADDRESS4)]);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(300));
        let steps = lab.go(Way::Staged);
        eprintln!("{steps:.1?}");
        std::thread::sleep(steps.all * 2 + Duration::from_millis(1500));
    }
    let report = client.content();
    wire.clean();
    assert!(report["silentMs"].as_f64() < Some(500.0), "it does not go on: {report}");
}
