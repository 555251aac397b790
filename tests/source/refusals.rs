//! Pods that can't be checkpointed: each says why, and ends.

use serde_json::json;

use crate::world::{
    Node, checkpoint, condition, events, eventually, failed, ready, seen, shared, wait_for,
};

#[test]
fn what_is_no_pod_s_network_is_refused_at_once() {
    let node = Node::start("refusing-node");
    node.pod_object("host-pod", "Running", &json!({"hostNetwork": true}));
    node.pod_object("ended-pod", "Succeeded", &json!({}));
    node.pod_object("made-anew", "Running", &json!({}));
    checkpoint("of-host", "host-pod", &json!({}));
    checkpoint("of-ended", "ended-pod", &json!({}));
    checkpoint("of-former", "made-anew", &json!({"sourcePodUID": "the-former"}));
    let message = failed("of-host", "HostNetwork");
    assert!(message.contains("hostNetwork: true"), "{message}");
    failed("of-ended", "SourcePodNotRunning");
    let message = failed("of-former", "SourcePodReplaced");
    assert!(message.contains("the-former"), "{message}");
    assert_eq!(seen("of-host").unwrap()["status"]["nodeName"], "refusing-node");
}

#[test]
fn nobody_s_pod_ends_in_time_with_the_reason() {
    let node = Node::start("asking-node");
    node.pod_object("pending-pod", "Pending", &json!({}));
    let elsewhere = json!({"nodeName": "node-without-agent"});
    node.pod_object("elsewhere-pod", "Running", &elsewhere);
    let short = json!({"timeoutSeconds": 15});
    checkpoint("of-missing", "missing-pod", &short);
    checkpoint("of-elsewhere", "elsewhere-pod", &short);
    checkpoint("of-pending", "pending-pod", &short);
    // Long before the end it says what it waits for.
    ready("of-missing", "Unknown", "SourcePodNotFound");
    ready("of-elsewhere", "Unknown", "NodeHasNoAgent");
    ready("of-pending", "Unknown", "SourcePodNotRunning");
    for (name, reason) in [
        ("of-missing", "SourcePodNotFound"),
        ("of-elsewhere", "NodeHasNoAgent"),
        ("of-pending", "SourcePodNotRunning"),
    ] {
        eventually(&format!("an event tells why {name} waits"), || {
            let is_waiting = condition(&seen(name)?, "Ready")?.0 == "Unknown";
            assert!(is_waiting, "{name} has ended without an event of its wait");
            events("NetCheckpoint", name).contains(&reason.to_owned()).then_some(())
        });
    }
    let message = failed("of-missing", "SourcePodNotFound");
    assert!(message.contains("no pod missing-pod in namespace default"), "{message}");
    let message = failed("of-elsewhere", "NodeHasNoAgent");
    assert!(message.contains("node-without-agent"), "{message}");
    failed("of-pending", "SourcePodNotRunning");
}

#[test]
fn a_sandbox_that_is_gone_is_told() {
    let node = Node::start("gone-node");
    node.file_storage("gone");
    let pod = node.pod("gone-pod");
    wait_for(shared().1.stop(&pod.sandbox));
    checkpoint("of-gone", "gone-pod", &json!({"storageName": "gone", "timeoutSeconds": 6}));
    let message = failed("of-gone", "SandboxNotFound");
    assert!(message.contains(&pod.uid), "{message}");
}
