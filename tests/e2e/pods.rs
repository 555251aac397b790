//! Pods that can't be checkpointed.

use serde_json::json;

use crate::lab::Namespace;

#[test]
fn a_pod_on_the_host_s_network_is_refused() {
    let namespace = Namespace::new();
    namespace.create_pod("host", "node-a", "true", &json!({"hostNetwork": true}));
    namespace.checkpoint("of-host", "host", &json!({}));
    let message = namespace.failed("of-host", "HostNetwork");
    assert!(message.contains("hostNetwork: true"), "{message}");
}

#[test]
fn a_pod_that_was_made_anew_is_another() {
    let namespace = Namespace::new();
    let former = namespace.pod("web", "node-a", "true");
    namespace.kubectl(&["delete", "pod", "web", "--timeout=60s"]).succeeds();
    namespace.pod("web", "node-b", "true");
    namespace.checkpoint("former", "web", &json!({"sourcePodUID": former}));
    let message = namespace.failed("former", "SourcePodReplaced");
    assert!(message.contains(&former), "{message}");
    namespace.checkpoint("present", "web", &json!({}));
    let object = namespace.ready("present", "True", "CheckpointCompleted");
    assert_eq!(object["status"]["nodeName"], "node-b");
}

#[test]
fn a_missing_pod_ends_in_time() {
    let namespace = Namespace::new();
    namespace.checkpoint("of-nobody", "nobody", &json!({"timeoutSeconds": 10}));
    namespace.ready("of-nobody", "Unknown", "SourcePodNotFound");
    let message = namespace.failed("of-nobody", "SourcePodNotFound");
    assert!(message.contains("no pod nobody"), "{message}");
    assert!(
        namespace.events("NetCheckpoint", "of-nobody").contains(&"SourcePodNotFound".to_owned())
    );
}

/// Another namespace's pod of that name is not meant.
#[test]
fn a_pod_of_another_namespace_is_not_found() {
    let (namespace, other) = (Namespace::new(), Namespace::new());
    other.pod("web", "node-a", "true");
    namespace.checkpoint("of-other", "web", &json!({"timeoutSeconds": 8}));
    let message = namespace.failed("of-other", "SourcePodNotFound");
    assert!(message.contains(namespace.name()), "{message}");
}

#[test]
fn a_pod_that_has_ended_is_refused() {
    let namespace = Namespace::new();
    let once = json!({"restartPolicy": "Never"});
    namespace.create_pod("once", "node-b", "exit 0", &once);
    let ended = ["wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod/once"];
    namespace.kubectl(&ended).succeeds();
    namespace.checkpoint("of-once", "once", &json!({}));
    namespace.failed("of-once", "SourcePodNotRunning");
}
