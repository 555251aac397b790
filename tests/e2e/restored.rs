//! The successor on the other node: it has the network before its first container runs, or it does not
//! run and says why.

use std::time::Duration;

use serde_json::json;

use crate::lab::{AGENTS, Namespace, agent_pod, condition, eventually, kubectl, on_node, stored};

/// What a container sees of its network in its first instant.
const LOOK: &str = "ip -o addr; ip route show table 100; ip rule";

/// A pod with more than CNI gives, and its checkpoint; the pod is gone then.
fn checkpoint_of_a_rich_pod(namespace: &Namespace) -> String {
    let commands = "ip addr add 10.77.0.1/24 dev eth0 label eth0:x; \
                    ip route add 203.0.113.0/24 via 10.77.0.9 table 100; \
                    ip rule add fwmark 7 table 100";
    namespace.pod("web", "node-a", commands);
    let get = ["get", "pod", "web", "-o", "jsonpath={.status.podIP}"];
    let address = namespace.kubectl(&get).succeeds();
    namespace.checkpoint("web", "web", &json!({}));
    namespace.ready("web", "True", "CheckpointCompleted");
    namespace.delete_pod("web");
    address
}

#[test]
fn the_first_container_finds_the_network_there() {
    let namespace = Namespace::new();
    let address = checkpoint_of_a_rich_pod(&namespace);
    namespace.create_successor("again", "node-b", "web", LOOK);
    let pod = namespace.running("again");
    assert_eq!(pod["status"]["podIP"], address.as_str());
    let (status, reason, _) = condition(&pod, "netckpt.io/NetworkRestored").expect("it is told");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Restored"));

    let seen = namespace.kubectl(&["logs", "again"]).succeeds();
    for wanted in [
        format!("inet {address}/24"),
        "10.77.0.1/24 scope global eth0:x".to_owned(),
        "203.0.113.0/24 via 10.77.0.9".to_owned(),
        "fwmark 0x7 lookup 100".to_owned(),
    ] {
        assert!(seen.contains(&wanted), "{wanted} is missing in\n{seen}");
    }

    // It is reached from a pod of its new node and from outside of the cluster, and it reaches out.
    namespace.pod("neighbour", "node-b", "true");
    let ping = ["exec", "neighbour", "--", "ping", "-c", "1", "-W", "5", &address];
    eventually("it answers a pod of its node", || namespace.kubectl(&ping).ok.then_some(()));
    let outside =
        || std::process::Command::new("ping").args(["-c", "1", "-W", "5", &address]).output();
    eventually("it answers from outside", || outside().ok()?.status.success().then_some(()));
    let node = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
    let nodes = kubectl(&["get", "node", "node-a", "-o", node]).succeeds();
    let neighbour = ["get", "pod", "neighbour", "-o", "jsonpath={.status.podIP}"];
    let neighbour = namespace.kubectl(&neighbour).succeeds();
    for other in [neighbour.as_str(), nodes.split(' ').next().expect("node-a has an address")] {
        let ping = ["exec", "again", "--", "ping", "-c", "1", "-W", "5", other];
        eventually(&format!("{other} answers it"), || namespace.kubectl(&ping).ok.then_some(()));
    }

    let restores = namespace.seen("web").expect("it is there")["status"]["restores"].clone();
    assert_eq!(restores[0]["podName"], "again");
    assert_eq!(restores[0]["state"], "Restored");
    assert!(namespace.events("Pod", "again").contains(&"Restored".to_owned()));
    assert!(namespace.events("NetCheckpoint", "web").contains(&"Restored".to_owned()));
}

#[test]
fn a_missing_checkpoint_keeps_the_pod_waiting_and_says_so() {
    let namespace = Namespace::new();
    namespace.create_successor("early", "node-b", "web", "true");
    let told = eventually("kubelet tells why", || {
        let notes = namespace.notes("Pod", "early").join("\n");
        notes.contains("netckpt").then_some(notes)
    });
    assert!(told.contains("NetCheckpoint") && told.contains("web"), "{told}");
    // It starts by itself once there is what it waits for.
    checkpoint_of_a_rich_pod(&namespace);
    namespace.running("early");
}

#[test]
fn an_image_that_was_changed_is_refused() {
    let namespace = Namespace::new();
    checkpoint_of_a_rich_pod(&namespace);
    let file = stored(&namespace.seen("web").expect("it is there"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    namespace.create_successor("again", "node-b", "web", "true");
    eventually("kubelet tells that it is not what was stored", || {
        namespace.notes("Pod", "again").join("\n").contains("ImageDamaged").then_some(())
    });
    let get = ["get", "pod", "again", "-o", "jsonpath={.status.phase}"];
    assert_eq!(namespace.kubectl(&get).succeeds(), "Pending");
}

#[test]
fn the_agent_may_die_at_any_moment_of_a_restore() {
    let namespace = Namespace::alone();
    let address = checkpoint_of_a_rich_pod(&namespace);
    for pause in [0, 150, 400, 800] {
        namespace.create_successor("again", "node-b", "web", LOOK);
        std::thread::sleep(Duration::from_millis(pause));
        let agent = agent_pod("node-b");
        kubectl(&["-n", AGENTS, "delete", "pod", &agent, "--grace-period=0", "--force"]).succeeds();
        let pod = namespace.running("again");
        assert_eq!(pod["status"]["podIP"], address.as_str(), "killed after {pause} ms");
        let seen = namespace.kubectl(&["logs", "again"]).succeeds();
        assert!(seen.contains("fwmark 0x7 lookup 100"), "killed after {pause} ms: {seen}");
        namespace.delete_pod("again");
    }
    eventually("the node keeps no route to the address", || {
        let ways = on_node("node-b", &["ip", "route", "show", "proto", "78"]);
        (!ways.contains(&address)).then_some(())
    });
}
