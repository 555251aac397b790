//! Storages that are missing or away.

use serde_json::json;

use crate::lab::{Namespace, Storage, eventually, kubectl};

#[test]
fn a_missing_storage_is_named() {
    let namespace = Namespace::new();
    namespace.pod("web", "node-a", "true");
    let more = json!({"storageName": "there-is-none", "timeoutSeconds": 8});
    namespace.checkpoint("unstored", "web", &more);
    let message = namespace.failed("unstored", "StorageNotFound");
    assert!(message.contains("NetCheckpointStorage there-is-none"), "{message}");
}

#[test]
fn a_store_that_is_away_is_told_everywhere() {
    let namespace = Namespace::new();
    namespace.pod("web", "node-a", "true");
    // Nothing listens there, on either node.
    let s3 = json!({"bucket": "images", "endpoint": "http://127.0.0.1:9", "allowHTTP": true,
                    "secretRef": {"name": "netckpt-store"}});
    let storage = Storage::new("e2e-away", &json!({"type": "S3", "s3": s3}));
    namespace.checkpoint("away", "web", &json!({"storageName": "e2e-away", "timeoutSeconds": 40}));
    namespace.ready("away", "Unknown", "StorageUnreachable");
    let message = namespace.failed("away", "StorageUnreachable");
    assert!(message.contains("127.0.0.1:9"), "{message}");
    assert!(namespace.events("NetCheckpoint", "away").contains(&"StorageUnreachable".to_owned()));
    // The storage itself says so, too, and the checkpoint keeps nobody from deleting it.
    eventually("the storage is not ready", || {
        let reason = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
        let said = kubectl(&["get", "nckptstorage", "e2e-away", "-o", reason]).succeeds();
        (said == "Unreachable").then_some(())
    });
    namespace.kubectl(&["delete", "netcheckpoint", "away", "--timeout=30s"]).succeeds();
    drop(storage);
}
