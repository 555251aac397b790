//! Pods that are held while they are captured, and what ends that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use netckpt::image::{Image, Limits};
use netckpt::pod::{PodNetwork, Runtime};
use serde_json::{Value, json};

use crate::world::{
    Node, Pod, annotated, checkpoint, condition, events, eventually, failed, images, ready, seen,
    shared, wait_for,
};

/// A command among the node's namespaces.
fn on_node(command: &[&str]) -> (bool, String) {
    let output = shared().1.command(Path::new(command[0])).args(&command[1..]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn network(pod: &Pod) -> PodNetwork {
    wait_for(async { Runtime::new(&shared().1.socket()).network(&pod.uid).await }).unwrap()
}

fn netns(pod: &Pod) -> PathBuf {
    network(pod).path.unwrap()
}

fn uid(name: &str) -> String {
    seen(name).unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Whether the kernel drops what comes and goes: the element that decides is there. That nothing passes
/// then is what `tests/hold` sees on the wire.
fn is_silent(uid: &str) -> bool {
    let table = format!("netckpt-hold-{uid}");
    on_node(&["nft", "list", "set", "netdev", &table, "held"]).1.contains("elements")
}

fn is_planted(uid: &str) -> bool {
    on_node(&["nft", "list", "tables"]).1.contains(&format!("netckpt-hold-{uid}"))
}

#[track_caller]
fn held(name: &str, status: &str, reason: &str) -> Value {
    eventually(&format!("{name} becomes Held={status} {reason}"), || {
        let object = seen(name)?;
        let (is, why, _) = condition(&object, "Held")?;
        (is == status && why == reason).then_some(object)
    })
}

fn patch(name: &str, patch: &Value) {
    let merge = ["patch", "nckpt", name, "--type=merge", "-p", &patch.to_string()];
    shared().0.kubectl(&merge).succeeds();
}

/// What a successor's agent writes.
fn takeover(name: &str, state: &str) {
    let restores = json!({"status": {"restores": [{
        "podUID": "successor", "podName": "again", "nodeName": "elsewhere",
        "state": "Restored", "reason": "Restored", "takeover": state,
    }]}});
    let text = restores.to_string();
    let merge = ["patch", "nckpt", name, "--subresource=status", "--type=merge", "-p", &text];
    shared().0.kubectl(&merge).succeeds();
}

#[test]
fn a_pod_is_held_from_before_the_capture_until_it_is_released() {
    let node = Node::start("holding-node");
    let pod = node.pod("holding-pod");
    let spec = json!({"storageName": "holding-node", "traffic": "Held"});
    checkpoint("holding", "holding-pod", &spec);
    let object = ready("holding", "True", "CheckpointCompleted");
    let (status, reason, message) = condition(&object, "Held").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "TrafficHeld"));
    assert!(message.contains("eth0 in the pod") && message.contains("60 s"), "{message}");
    let status = &object["status"];
    assert!(status["heldAt"].as_str() < status["capturedAt"].as_str(), "{status}");
    assert!(status["heldUntil"].is_string() && status["timings"]["holdMs"].is_number(), "{status}");
    assert!(status["counts"]["nft-tables"].is_null() || status["counts"]["nft-tables"] == 0);
    let uid = uid("holding");
    assert!(is_planted(&uid) && is_silent(&uid));
    let named = status["notCarried"].to_string();
    assert!(!named.contains("netckpt-hold"), "its own hold is nothing that is lost: {named}");

    // The lock that CRIU makes when it dumps.
    let path = netns(&pod);
    let inside = format!("--net={}", path.display());
    let lock = "CRIU-0c7a3f2e-1b2c-4d5e-8";
    assert!(on_node(&["nsenter", &inside, "nft", "add", "table", "inet", lock]).0);
    eventually("the lock is told", || {
        (seen("holding")?["status"]["criuLock"] == lock).then_some(())
    });
    assert!(on_node(&["nsenter", &inside, "nft", "delete", "table", "inet", lock]).0);

    patch("holding", &json!({"spec": {"traffic": "Running"}}));
    let object = held("holding", "False", "Released");
    assert!(object["status"]["releasedAt"].is_string());
    assert_eq!(object["status"]["criuLock"], lock, "it stays for who restores later");
    eventually("the pod speaks", || (!is_silent(&uid)).then_some(()));
    assert!(!is_planted(&uid));
    let told = events("NetCheckpoint", "holding");
    for reason in ["TrafficHeld", "Released"] {
        assert!(told.contains(&reason.to_owned()), "{told:?}");
    }
}

#[test]
fn it_ends_in_time_without_an_agent_and_is_told_by_the_next() {
    let mut node = Node::start("lonely-node");
    node.pod("lonely-pod");
    let spec = json!({"storageName": "lonely-node", "traffic": "Held", "holdTimeoutSeconds": 5});
    let start = Instant::now();
    checkpoint("lonely", "lonely-pod", &spec);
    ready("lonely", "True", "CheckpointCompleted");
    let uid = uid("lonely");
    node.kill_agent();
    assert!(is_silent(&uid));
    eventually("the pod speaks", || (!is_silent(&uid)).then_some(()));
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(condition(&seen("lonely").unwrap(), "Held").unwrap().0, "True", "nobody told");
    node.start_agent();
    held("lonely", "False", "TimedOut");
    eventually("its table is swept", || (!is_planted(&uid)).then_some(()));
}

#[test]
fn a_restarted_agent_finds_it_again() {
    let mut node = Node::start("again-node");
    node.pod("again-pod");
    checkpoint("again", "again-pod", &json!({"storageName": "again-node", "traffic": "Held"}));
    ready("again", "True", "CheckpointCompleted");
    let uid = uid("again");
    node.kill_agent();
    node.start_agent();
    assert!(is_silent(&uid));
    shared().0.kubectl(&["delete", "nckpt", "again", "--timeout=30s"]).succeeds();
    eventually("the pod speaks", || (!is_silent(&uid)).then_some(()));
}

#[test]
fn who_has_claimed_is_not_spoken_against_and_who_is_live_fences_for_good() {
    let node = Node::start("fenced-node");
    node.pod("fenced-pod");
    let spec = json!({"storageName": "fenced-node", "traffic": "Held", "holdTimeoutSeconds": 8});
    checkpoint("fenced", "fenced-pod", &spec);
    ready("fenced", "True", "CheckpointCompleted");
    let uid = uid("fenced");
    takeover("fenced", "Claimed");
    patch("fenced", &json!({"spec": {"traffic": "Running"}}));
    std::thread::sleep(Duration::from_secs(2));
    assert!(is_silent(&uid), "released against a claim");
    takeover("fenced", "Live");
    let object = held("fenced", "True", "SourceFenced");
    assert!(object["status"]["heldUntil"].is_null());
    std::thread::sleep(Duration::from_secs(8));
    assert!(is_silent(&uid), "the hold has no end");
    // The successor gives up after all.
    takeover("fenced", "Withdrawn");
    held("fenced", "False", "Released");
    eventually("the pod speaks", || (!is_silent(&uid)).then_some(()));
}

#[test]
fn a_pod_that_is_deleted_stays_silent_until_it_is_gone() {
    let node = Node::start("dying-node");
    let pod = node.pod("dying-pod");
    let spec = json!({"storageName": "dying-node", "traffic": "Held", "holdTimeoutSeconds": 4});
    checkpoint("dying", "dying-pod", &spec);
    ready("dying", "True", "CheckpointCompleted");
    let uid = uid("dying");
    // Nobody ends it here: the object stays until it is forced.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/wait"]}}).to_string();
    let merge = ["patch", "pod", "dying-pod", "--type=merge", "-p", &finalizer];
    shared().0.kubectl(&merge).succeeds();
    let delete = ["delete", "pod", "dying-pod", "--grace-period=0", "--force", "--wait=false"];
    shared().0.kubectl(&delete).succeeds();
    held("dying", "True", "SourceFenced");
    std::thread::sleep(Duration::from_secs(5));
    assert!(is_silent(&uid), "the hold outlives its time");
    wait_for(shared().1.stop(&pod.sandbox));
    held("dying", "False", "SourceGone");
    let none = json!({"metadata": {"finalizers": null}}).to_string();
    shared().0.kubectl(&["patch", "pod", "dying-pod", "--type=merge", "-p", &none]).succeeds();
}

#[test]
fn a_hold_that_cannot_be_is_a_failure_and_nothing_is_captured() {
    let node = Node::start("unheld-node");
    let pod = node.pod("unheld-pod");
    // The pod's namespace has a table of a process in the hold's place.
    let path = netns(&pod);
    let inside = format!("--net={}", path.display());
    node.file_storage("unheld");
    checkpoint("unheld", "unheld-pod", &json!({"storageName": "not-yet", "traffic": "Held"}));
    ready("unheld", "Unknown", "StorageNotFound");
    let table = format!("add table netdev netckpt-hold-{} {{ flags owner; }}\n", uid("unheld"));
    let mut owner = shared()
        .1
        .command(Path::new("nsenter"))
        .args([&inside, "nft", "-i"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(owner.stdin.as_mut().unwrap(), table.as_bytes()).unwrap();
    eventually("nft owns the table", || {
        on_node(&["nsenter", &inside, "nft", "list", "tables"]).1.contains("hold").then_some(())
    });
    node.file_storage("not-yet");
    let message = failed("unheld", "HoldFailed");
    assert!(message.contains("can't be held"), "{message}");
    let object = seen("unheld").unwrap();
    assert!(condition(&object, "Captured").is_none_or(|captured| captured.0 != "True"));
    assert_eq!(condition(&object, "Held").unwrap().0, "False");
    drop(owner.stdin.take());
    owner.wait().unwrap();
    assert!(!is_silent(&uid("unheld")), "the pod goes on undisturbed");
}

/// Of a pod that an early capture stands by for, only what has changed since is read when it is held.
#[test]
fn a_held_pod_is_read_by_the_capture_that_stood_by() {
    let mut node = Node::start("standing-node");
    let folder = node.file_storage("standing");
    let pod = node.pod("standing-pod");
    let inside = format!("--net={}", netns(&pod).display());
    let change = |address: &str| {
        let add = ["nsenter", &inside, "ip", "addr", "add", address, "dev", "eth0"];
        assert!(on_node(&add).0, "{address}");
    };
    let image = |name: &str| {
        let object = ready(name, "True", "CheckpointCompleted");
        let key = object["status"]["image"]["key"].as_str().unwrap().to_owned();
        let file = images(&folder).into_iter().find(|file| file.ends_with(&key)).unwrap();
        Image::from_bytes(&std::fs::read(file).unwrap(), &Limits::DEFAULT).unwrap()
    };
    let early = |name: &str| {
        let stand_by = json!({"netckpt.io/stand-by": "true"});
        annotated(name, "standing-pod", &stand_by, &json!({"storageName": "standing"}));
        image(name)
    };
    let held = json!({"storageName": "standing", "traffic": "Held"});

    let first = early("standing-early");
    change("10.99.0.1/32");
    checkpoint("standing-held", "standing-pod", &held);
    let second = image("standing-held");
    assert!(second.manifest.evidence.standing.is_some(), "{:?}", second.manifest.evidence);
    let addresses = |image: &Image| image.manifest.counts["addresses"];
    assert_eq!(addresses(&second), addresses(&first) + 1);
    patch("standing-held", &json!({"spec": {"traffic": "Running"}}));

    // It stands by once. One that ended with its agent, or with its checkpoint, is made up for.
    let whole = |name: &str, expected: u64| {
        checkpoint(name, "standing-pod", &held);
        let image = image(name);
        assert!(image.manifest.evidence.standing.is_none(), "{name}");
        assert_eq!(addresses(&image), expected, "{name}");
        patch(name, &json!({"spec": {"traffic": "Running"}}));
    };
    let expected = addresses(&second);
    whole("standing-again", expected);
    early("standing-restarted");
    node.kill_agent();
    node.start_agent();
    change("10.99.0.2/32");
    whole("standing-after", expected + 1);
    early("standing-deleted");
    shared().0.kubectl(&["delete", "nckpt", "standing-deleted", "--timeout=30s"]).succeeds();
    whole("standing-without", expected + 1);
}
