//! The path to a pod that moves there and back with its address: from pods of both nodes, from the
//! nodes, and from outside of the pod network.

use serde_json::json;

use crate::lab::{Namespace, eventually, on_node, try_on_node};

const NODES: [&str; 2] = ["node-a", "node-b"];

/// Addresses of a pod, in their order.
fn addresses(namespace: &Namespace, pod: &str) -> Vec<String> {
    let get = ["get", "pod", pod, "-o", "jsonpath={.status.podIPs[*].ip}"];
    namespace.kubectl(&get).succeeds().split(' ').map(str::to_owned).collect()
}

/// Everybody reaches all addresses.
fn reached(namespace: &Namespace, addresses: &[String]) {
    for address in addresses {
        for node in NODES {
            let pod = format!("on-{node}");
            let ping = ["exec", &pod, "--", "ping", "-c", "1", "-W", "2", address];
            eventually(&format!("{address} answers {pod}"), || {
                namespace.kubectl(&ping).ok.then_some(())
            });
        }
        for machine in ["node-a", "node-b", "control"] {
            eventually(&format!("{address} answers {machine}"), || {
                try_on_node(machine, &["ping", "-c", "1", "-W", "2", address]).ok()
            });
        }
    }
}

/// host-local's file of an address of node-a.
fn reservation(address: &str) -> Option<String> {
    let file = format!("/var/lib/cni/networks/bridge/{address}");
    try_on_node("node-a", &["cat", &file]).ok()
}

#[test]
fn a_kept_address_is_reached_from_everywhere_there_and_back_and_there() {
    let namespace = Namespace::new();
    for node in NODES {
        namespace.pod(&format!("on-{node}"), node, "true");
    }
    namespace.pod("stay-0", "node-a", "true");
    let kept = addresses(&namespace, "stay-0");
    assert_eq!(kept.len(), 2, "an IPv4 and an IPv6 one: {kept:?}");
    reached(&namespace, &kept);
    let mut at = "stay-0".to_owned();
    for (turn, node) in ["node-b", "node-a", "node-b"].into_iter().enumerate() {
        // It has been talking to its neighbours, which is what its node answers for over IPv6.
        for neighbour in NODES.iter().flat_map(|node| addresses(&namespace, &format!("on-{node}")))
        {
            let ping = ["exec", &at, "--", "ping", "-c", "1", "-W", "2", &neighbour];
            eventually(&format!("{neighbour} answers it"), || {
                namespace.kubectl(&ping).ok.then_some(())
            });
        }
        let checkpoint = format!("move-{turn}");
        namespace.checkpoint(&checkpoint, &at, &json!({}));
        namespace.ready(&checkpoint, "True", "CheckpointCompleted");
        namespace.delete_pod(&at);
        // Kubelet takes the sandbox down some time after the pod is gone from the API.
        eventually("it is kept while nobody has it", || {
            reservation(&kept[0]).filter(|held| held.starts_with("netckpt"))
        });
        at = format!("stay-{}", turn + 1);
        namespace.create_successor(&at, node, &checkpoint, "true");
        namespace.running(&at);
        assert_eq!(addresses(&namespace, &at), kept);
        reached(&namespace, &kept);
        for address in &kept {
            let held = reservation(address).expect("it is kept while the pod lives");
            assert!(held.starts_with("netckpt"), "{held}");
        }
    }
    let leads = on_node("node-a", &["ip", "route", "show", "proto", "78"]);
    assert!(leads.contains(&kept[0]), "{leads}");

    // The pod is gone, and nothing can bring it back: the address is anybody's again.
    namespace.delete_pod(&at);
    for turn in 0..3 {
        let delete = ["delete", "netcheckpoint", &format!("move-{turn}"), "--timeout=60s"];
        namespace.kubectl(&delete).succeeds();
    }
    for node in NODES {
        for family in ["-4", "-6"] {
            eventually(&format!("{node} leads nowhere"), || {
                let ways = on_node(node, &["ip", family, "route", "show", "proto", "78"]);
                let proxied = on_node(node, &["ip", family, "neigh", "show", "proxy"]);
                let mine = |text: &str| kept.iter().any(|one| text.contains(&format!("{one} ")));
                (!mine(&ways) && !mine(&proxied)).then_some(())
            });
        }
    }
    for address in &kept {
        eventually("it is given back", || reservation(address).is_none().then_some(()));
    }
    assert!(namespace.kubectl(&["get", "podroutes", "-o", "name"]).succeeds().is_empty());
}
