//! Agents that end in the middle.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use crate::world::{
    Node, checkpoint, condition, eventually, images, ready, s3_storage, seen, storage,
};

/// The image that was captured before the crash is the one that is stored: no second capture.
#[test]
fn a_crash_between_capture_and_store_loses_and_repeats_nothing() {
    let mut node = Node::start("crash-node");
    node.pod("crash-pod");
    // Takes every connection and never answers.
    let silence = TcpListener::bind("127.0.0.1:0").unwrap();
    s3_storage("crash", silence.local_addr().unwrap().port());
    checkpoint("crash", "crash-pod", &json!({"storageName": "crash", "timeoutSeconds": 120}));
    let captured = eventually("it is captured", || {
        let object = seen("crash")?;
        (condition(&object, "Captured")?.0 == "True").then_some(object)
    });
    node.kill_agent();
    let kept = images(&node.folder().join("state/captures"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    let digest = netckpt::image::digest(&std::fs::read(&kept[0]).unwrap());

    // The storage by that name is another now; its kind is fixed, so that it is made anew.
    let folder = node.folder().join("images");
    crate::world::shared().0.kubectl(&["delete", "nckptstorage", "crash"]).succeeds();
    storage("crash", &json!({"type": "File", "file": {"path": folder}}));
    node.start_agent();
    let stored = ready("crash", "True", "CheckpointCompleted");
    assert_eq!(stored["status"]["image"]["digest"], digest);
    assert_eq!(stored["status"]["capturedAt"], captured["status"]["capturedAt"]);
    assert_eq!(images(&folder).len(), 1);
}

#[test]
fn a_crash_before_the_capture_is_gone_on_from() {
    let mut node = Node::start("early-crash-node");
    node.pod("early-crash-pod");
    checkpoint("early-crash", "early-crash-pod", &json!({"storageName": "early-crash"}));
    ready("early-crash", "Unknown", "StorageNotFound");
    node.kill_agent();
    node.file_storage("early-crash");
    node.start_agent();
    ready("early-crash", "True", "CheckpointCompleted");
}

#[test]
fn time_that_runs_out_while_the_agent_is_away_is_over() {
    let mut node = Node::start("over-node");
    node.pod("over-pod");
    checkpoint("over", "over-pod", &json!({"storageName": "over", "timeoutSeconds": 5}));
    ready("over", "Unknown", "StorageNotFound");
    node.kill_agent();
    node.file_storage("over");
    std::thread::sleep(Duration::from_secs(5));
    node.start_agent();
    ready("over", "False", "StorageNotFound");
}

#[test]
fn a_stop_lets_the_work_in_hand_end() {
    let mut node = Node::start("stopped-node");
    node.file_storage("stopped");
    node.pod("stopped-pod");
    let (well, took) = node.stop_agent();
    assert!(well, "{}", node.log());
    assert!(took < Duration::from_secs(5), "an idle agent took {took:?} to end");
    node.start_agent();
    for n in 0..8 {
        let name = format!("stopped-{n}");
        checkpoint(&name, "stopped-pod", &json!({"storageName": "stopped"}));
    }
    eventually("some work is in hand", || {
        seen("stopped-0")?["status"]["nodeName"].as_str().map(drop)
    });
    let (well, _) = node.stop_agent();
    assert!(well, "{}", node.log());
    node.start_agent();
    for n in 0..8 {
        ready(&format!("stopped-{n}"), "True", "CheckpointCompleted");
    }
    assert_eq!(images(&node.folder().join("images-stopped")).len(), 8, "one image each");
}
