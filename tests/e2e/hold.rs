//! Holds through kubectl: a pod falls silent, its successor takes over, or it goes on.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lab::{Namespace, agent_pod, condition, eventually, kill_agent, kubectl, run_folder};

/// Whether the client, which is outside of the cluster, reaches an address.
fn answers(address: &str) -> bool {
    let ping = ["netns", "exec", "netckpt-client", "ping", "-c", "1", "-W", "1", address];
    let output = Command::new("ip").args(ping).output();
    output.is_ok_and(|output| output.status.success())
}

fn on_node(node: &str, script: &str) -> String {
    let on = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/on.sh");
    assert!(run_folder().exists());
    let output = Command::new(on).args([node, "sh", "-c", script]).output().expect("bash runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A pod on node-a, and its address.
fn pod(namespace: &Namespace) -> String {
    namespace.pod("web", "node-a", "true");
    let get = ["get", "pod", "web", "-o", "jsonpath={.status.podIP}"];
    let address = namespace.kubectl(&get).succeeds();
    eventually("it answers", || answers(&address).then_some(()));
    address
}

#[track_caller]
fn held(namespace: &Namespace, status: &str, reason: &str) -> Value {
    eventually(&format!("Held={status} {reason}"), || {
        let object = namespace.seen("web")?;
        let (is, why, _) = condition(&object, "Held")?;
        (is == status && why == reason).then_some(object)
    })
}

fn takeover(namespace: &Namespace) -> Option<String> {
    let object = namespace.seen("web")?;
    Some(object["status"]["restores"][0]["takeover"].as_str()?.to_owned())
}

#[test]
fn a_held_pod_is_taken_over_by_its_successor() {
    let namespace = Namespace::new();
    let address = pod(&namespace);
    namespace.checkpoint("web", "web", &json!({"traffic": "Held"}));
    namespace.ready("web", "True", "CheckpointCompleted");
    held(&namespace, "True", "TrafficHeld");
    assert!(!answers(&address));

    // The source is there, and silent: its address is no reason to wait.
    namespace.create_successor("again", "node-b", "web", "true");
    eventually("the successor has taken over", || (takeover(&namespace)? == "Done").then_some(()));
    let object = held(&namespace, "True", "SourceFenced");
    assert!(object["status"]["restores"][0]["liveAt"].is_string());
    assert!(
        on_node("node-b", "nft list tables").lines().all(|line| !line.contains("netckpt-wait"))
    );
    eventually("it answers at the kept address", || answers(&address).then_some(()));
    assert!(namespace.events("Pod", "again").contains(&"SuccessorLive".to_owned()));

    namespace.delete_pod("web");
    held(&namespace, "False", "SourceGone");
    assert!(answers(&address));
    eventually("the source's node has no hold", || {
        (!on_node("node-a", "nft list tables").contains("netckpt-hold")).then_some(())
    });
    let story = namespace.kubectl(&["describe", "netcheckpoint", "web"]).succeeds();
    for reason in ["TrafficHeld", "CheckpointCompleted", "SourceFenced", "SourceGone"] {
        assert!(story.contains(reason), "{reason}: {story}");
    }
    let delete = ["delete", "netcheckpoint", "web", "--timeout=60s"];
    namespace.kubectl(&delete).succeeds();
    assert!(answers(&address));
}

/// A successor that somebody else than CRIU makes live.
fn create_manual(namespace: &Namespace) {
    let manual = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "again", "annotations": {
            "netckpt.io/restore-from": "web", "netckpt.io/release": "Manual",
        }},
        "spec": {
            "nodeName": "node-b", "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "shell", "image": "localhost/netckpt-test:latest",
                "imagePullPolicy": "Never", "command": ["sleep", "infinity"],
            }],
        },
    });
    namespace.feed(&["create", "-f", "-"], &manual.to_string()).succeeds();
}

#[test]
fn a_controller_says_by_annotation_that_a_successor_is_live() {
    let namespace = Namespace::new();
    let address = pod(&namespace);
    namespace.checkpoint("web", "web", &json!({"traffic": "Held"}));
    namespace.ready("web", "True", "CheckpointCompleted");
    create_manual(&namespace);
    namespace.running("again");
    assert_ne!(takeover(&namespace).as_deref(), Some("Done"), "nobody has said that it is live");
    assert!(!answers(&address));
    let live = ["annotate", "pod", "again", "netckpt.io/release=Live", "--overwrite"];
    namespace.kubectl(&live).succeeds();
    eventually("the successor has taken over", || (takeover(&namespace)? == "Done").then_some(()));
    held(&namespace, "True", "SourceFenced");
    eventually("it answers at the kept address", || answers(&address).then_some(()));
}

/// Neither both nor neither: the successor is not there in time, and stays silent.
#[test]
fn a_source_whose_time_is_over_goes_on_and_its_successor_never_speaks() {
    let namespace = Namespace::new();
    let address = pod(&namespace);
    namespace.checkpoint("web", "web", &json!({"traffic": "Held", "holdTimeoutSeconds": 15}));
    namespace.ready("web", "True", "CheckpointCompleted");
    create_manual(&namespace);
    namespace.running("again");
    assert!(!answers(&address), "the source is held, and nobody has released the successor");
    held(&namespace, "False", "TimedOut");
    eventually("the successor's pod says so", || {
        let get = ["get", "pod", "again", "-o", "json"];
        let pod: Value = serde_json::from_str(&namespace.kubectl(&get).succeeds()).ok()?;
        (condition(&pod, "netckpt.io/NetworkRestored")?.1 == "SourceReleased").then_some(())
    });
    assert!(on_node("node-b", "nft list tables").contains("netckpt-wait"), "it stays silent");
    namespace.delete_pod("again");
    eventually("the source answers", || answers(&address).then_some(()));
}

#[test]
fn a_hold_is_released_though_agents_die() {
    let namespace = Namespace::alone();
    let address = pod(&namespace);
    namespace.checkpoint("web", "web", &json!({"traffic": "Held", "holdTimeoutSeconds": 60}));
    namespace.ready("web", "True", "CheckpointCompleted");
    kill_agent("node-a");
    assert!(!answers(&address), "the hold needs no agent");
    let patch = ["patch", "netcheckpoint", "web", "--type=merge", "-p"];
    let running = r#"{"spec":{"traffic":"Running"}}"#;
    namespace.kubectl(&[&patch[..], &[running]].concat()).succeeds();
    held(&namespace, "False", "Released");
    eventually("it answers", || answers(&address).then_some(()));

    // And by deletion, with the agent gone in the middle of it.
    namespace.checkpoint("other", "web", &json!({"traffic": "Held"}));
    namespace.ready("other", "True", "CheckpointCompleted");
    assert!(!answers(&address));
    namespace.kubectl(&["delete", "netcheckpoint", "other", "--wait=false"]).succeeds();
    let agent = agent_pod("node-a");
    let kill = ["-n", crate::lab::AGENTS, "delete", "pod", &agent, "--grace-period=0", "--force"];
    kubectl(&kill).succeeds();
    eventually("it is gone", || namespace.seen("other").is_none().then_some(()));
    eventually("it answers", || answers(&address).then_some(()));
}

/// The successor's agent dies while it takes over: it goes on from what the kernel and the object say.
#[test]
fn a_takeover_survives_the_death_of_both_agents() {
    let namespace = Namespace::alone();
    let address = pod(&namespace);
    namespace.checkpoint("web", "web", &json!({"traffic": "Held"}));
    namespace.ready("web", "True", "CheckpointCompleted");
    namespace.create_successor("again", "node-b", "web", "true");
    eventually("it has begun", || {
        let object = namespace.seen("web")?;
        object["status"]["restores"].as_array().filter(|all| !all.is_empty()).map(drop)
    });
    kill_agent("node-b");
    kill_agent("node-a");
    std::thread::sleep(Duration::from_millis(500));
    eventually("the successor has taken over", || (takeover(&namespace)? == "Done").then_some(()));
    eventually("it answers", || answers(&address).then_some(()));
    held(&namespace, "True", "SourceFenced");
}
