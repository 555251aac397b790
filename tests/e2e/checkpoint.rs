//! The good course: a running pod becomes an image.

use netckpt::image::{Image, Limits};
use serde_json::json;

use crate::lab::{Namespace, condition, stored};

#[test]
fn a_pod_s_network_is_stored() {
    let namespace = Namespace::new();
    let commands = "ip route add blackhole 203.0.113.0/24; ip rule add fwmark 7 table 100; \
                    ip link add inner0 type veth peer name inner1; ip link set inner0 up";
    let uid = namespace.pod("web", "node-a", commands);
    namespace.checkpoint("web", "web", &json!({}));
    let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "netcheckpoint/web"];
    namespace.kubectl(&wait).succeeds();
    let object = namespace.seen("web").expect("it is there");
    let status = &object["status"];
    assert_eq!(status["nodeName"], "node-a");
    assert_eq!(status["sourcePodUID"], uid.as_str());
    assert_eq!(condition(&object, "Ready").unwrap().1, "CheckpointCompleted");
    let ips = ["get", "pod", "web", "-o", "jsonpath={.status.podIPs[*].ip}"];
    let ips = namespace.kubectl(&ips).succeeds();
    let told: Vec<_> =
        status["podIPs"].as_array().unwrap().iter().map(|ip| ip.as_str().unwrap()).collect();
    assert_eq!(told.join(" "), ips);

    let bytes = std::fs::read(stored(&object)).unwrap();
    assert_eq!(status["image"]["digest"], netckpt::image::digest(&bytes));
    assert_eq!(status["image"]["storageName"], "default");
    let image = Image::from_bytes(&bytes, &Limits::DEFAULT).unwrap();
    // lo, eth0, and the veth pair inside.
    assert_eq!(image.manifest.counts["links"], 4);
    assert_eq!(image.manifest.origin.pod_uid, uid);

    let events = namespace.events("NetCheckpoint", "web");
    for reason in ["CheckpointInProgress", "CheckpointCompleted"] {
        assert!(events.iter().any(|event| event == reason), "{reason}: {events:?}");
    }
    assert!(namespace.events("Pod", "web").contains(&"CheckpointCompleted".to_owned()));
    // What people see.
    let table = namespace.kubectl(&["get", "nckpt"]).succeeds();
    assert!(table.contains("CheckpointCompleted") && table.contains("node-a"), "{table}");
}

#[test]
fn both_nodes_work_at_once() {
    let namespace = Namespace::new();
    for node in ["node-a", "node-b"] {
        namespace.pod(node, node, "true");
    }
    for number in 0..5 {
        for node in ["node-a", "node-b"] {
            namespace.checkpoint(&format!("{node}-{number}"), node, &json!({}));
        }
    }
    for number in 0..5 {
        for node in ["node-a", "node-b"] {
            let name = format!("{node}-{number}");
            let object = namespace.ready(&name, "True", "CheckpointCompleted");
            assert_eq!(object["status"]["nodeName"], node);
        }
    }
}
