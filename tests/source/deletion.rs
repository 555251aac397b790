//! Checkpoints that are deleted: their images go with them, or are retained.

use std::net::TcpListener;

use serde_json::json;

use crate::world::{
    Node, checkpoint, condition, events, eventually, images, ready, s3_storage, seen, shared,
};

#[test]
fn the_image_goes_with_its_checkpoint_unless_it_is_retained() {
    let node = Node::start("deleting-node");
    let folder = node.file_storage("deleting");
    node.pod("deleting-pod");
    checkpoint("goes", "deleting-pod", &json!({"storageName": "deleting"}));
    ready("goes", "True", "CheckpointCompleted");
    checkpoint(
        "stays",
        "deleting-pod",
        &json!({"storageName": "deleting", "deletionPolicy": "Retain"}),
    );
    ready("stays", "True", "CheckpointCompleted");
    assert_eq!(images(&folder).len(), 2);
    let stays = seen("stays").unwrap()["status"]["image"]["key"].as_str().unwrap().to_owned();
    let delete = ["delete", "nckpt", "goes", "stays", "--timeout=30s"];
    shared().0.kubectl(&delete).succeeds();
    assert_eq!(images(&folder), [folder.join(stays)]);
}

#[test]
fn an_unclaimed_checkpoint_goes_at_once() {
    let _node = Node::start("idle-node");
    checkpoint("unclaimed", "no-such-pod", &json!({}));
    shared().0.kubectl(&["delete", "nckpt", "unclaimed", "--timeout=5s"]).succeeds();
}

#[test]
fn a_deletion_in_the_middle_ends_within_the_checkpoint_s_time() {
    let node = Node::start("middle-node");
    node.pod("middle-pod");
    let silence = TcpListener::bind("127.0.0.1:0").unwrap();
    s3_storage("middle", silence.local_addr().unwrap().port());
    checkpoint("middle", "middle-pod", &json!({"storageName": "middle", "timeoutSeconds": 10}));
    eventually("it is captured", || {
        (condition(&seen("middle")?, "Captured")?.0 == "True").then_some(())
    });
    shared().0.kubectl(&["delete", "nckpt", "middle", "--timeout=40s"]).succeeds();
    assert!(images(&node.folder().join("state/captures")).is_empty());
}

/// The store is away when an image is to be deleted: the object says so, and goes once it is retained.
#[test]
fn an_image_that_can_t_be_deleted_is_not_forgotten() {
    let node = Node::start("keeping-node");
    let folder = node.file_storage("keeping");
    node.pod("keeping-pod");
    checkpoint("keeping", "keeping-pod", &json!({"storageName": "keeping"}));
    ready("keeping", "True", "CheckpointCompleted");
    let api = shared().0;
    api.kubectl(&["delete", "nckptstorage", "keeping"]).succeeds();
    api.kubectl(&["delete", "nckpt", "keeping", "--wait=false"]).succeeds();
    let object = ready_or_deleting("keeping");
    let (_, _, message) = condition(&object, "Ready").unwrap();
    assert!(message.contains("deletionPolicy: Retain"), "{message}");
    eventually("an event tells it", || {
        events("NetCheckpoint", "keeping").contains(&"Deleting".to_owned()).then_some(())
    });
    let retain = json!({"spec": {"deletionPolicy": "Retain"}}).to_string();
    api.kubectl(&["patch", "nckpt", "keeping", "--type=merge", "-p", &retain]).succeeds();
    eventually("it is gone", || seen("keeping").is_none().then_some(()));
    assert_eq!(images(&folder).len(), 1);
}

fn ready_or_deleting(name: &str) -> serde_json::Value {
    eventually("it says that it can't be deleted", || {
        let object = seen(name)?;
        (condition(&object, "Ready")?.1 == "Deleting").then_some(object)
    })
}
