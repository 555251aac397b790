//! Storages that are missing, away, or refuse.

use serde_json::json;

use crate::world::{
    Node, checkpoint, condition, events, eventually, failed, free_port, images, ready, s3_storage,
    seen, storage,
};

#[test]
fn a_missing_storage_is_waited_for_and_named() {
    let node = Node::start("unstored-node");
    node.pod("unstored-pod");
    let short = json!({"storageName": "never", "timeoutSeconds": 6});
    checkpoint("unstored", "unstored-pod", &short);
    checkpoint("late-storage", "unstored-pod", &json!({"storageName": "late"}));
    ready("late-storage", "Unknown", "StorageNotFound");
    node.file_storage("late");
    ready("late-storage", "True", "CheckpointCompleted");
    let message = failed("unstored", "StorageNotFound");
    assert!(message.contains("NetCheckpointStorage never"), "{message}");
    // Nothing was read for nothing.
    assert!(seen("unstored").unwrap()["status"]["capturedAt"].is_null());
}

#[test]
fn a_store_that_is_away_is_tried_in_bounds_and_told() {
    let node = Node::start("away-node");
    node.pod("away-pod");
    s3_storage("away", free_port());
    checkpoint("away", "away-pod", &json!({"storageName": "away", "timeoutSeconds": 40}));
    ready("away", "Unknown", "StorageUnreachable");
    assert!(events("NetCheckpoint", "away").contains(&"StorageUnreachable".to_owned()));
    let message = failed("away", "StorageUnreachable");
    assert!(message.contains("127.0.0.1"), "{message}");
    let object = seen("away").unwrap();
    assert_eq!(condition(&object, "Stored").unwrap().0, "False");
    assert!(object["status"]["image"].is_null(), "nothing that may not be there is named");
    // Of the image its place stays, in case that the upload came there after all.
    let captures = node.folder().join("state/captures");
    eventually("the image leaves the node's memory", || images(&captures).is_empty().then_some(()));
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let place = std::fs::read_to_string(captures.join(format!("{uid}.key"))).unwrap();
    assert!(place.contains(uid) && place.contains("away"), "{place}");
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let node = Node::start("keyless-node");
    node.pod("keyless-pod");
    let s3 = json!({
        "bucket": "images", "endpoint": "http://127.0.0.1:1", "allowHTTP": true,
        "secretRef": {"name": "no-such-secret"},
    });
    storage("keyless", &json!({"type": "S3", "s3": s3}));
    checkpoint("keyless", "keyless-pod", &json!({"storageName": "keyless", "timeoutSeconds": 6}));
    let message = failed("keyless", "StorageRefused");
    assert!(message.contains("Secret default/no-such-secret"), "{message}");
}
