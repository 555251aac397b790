//! The good course.

use netckpt::image::{Image, Limits};
use serde_json::json;

use crate::world::{Node, checkpoint, condition, events, eventually, images, ready, shared};

#[test]
fn a_running_pod_becomes_an_image_in_the_store() {
    let node = Node::start("course-node");
    let folder = node.file_storage("course");
    let pod = node.pod("course-pod");
    checkpoint("course", "course-pod", &json!({"storageName": "course"}));
    let object = ready("course", "True", "CheckpointCompleted");
    let status = &object["status"];

    assert_eq!(status["nodeName"], "course-node");
    assert_eq!(status["sourcePodUID"], pod.uid.as_str());
    assert_eq!(condition(&object, "Captured").unwrap().0, "True");
    assert_eq!(condition(&object, "Stored").unwrap().0, "True");
    for stamp in ["claimedAt", "capturedAt", "storedAt"] {
        assert!(status[stamp].is_string(), "{stamp}: {status}");
    }
    for time in ["captureMs", "uploadMs", "totalMs"] {
        assert!(status["timings"][time].is_number(), "{time}: {status}");
    }

    let found = images(&folder);
    assert_eq!(found.len(), 1, "{found:?}");
    let bytes = std::fs::read(&found[0]).unwrap();
    assert_eq!(status["image"]["sizeBytes"], bytes.len());
    assert_eq!(status["image"]["digest"], netckpt::image::digest(&bytes));
    assert!(found[0].ends_with(status["image"]["key"].as_str().unwrap()));
    let image = Image::from_bytes(&bytes, &Limits::DEFAULT).unwrap();
    let origin = &image.manifest.origin;
    assert_eq!((origin.pod.as_str(), origin.pod_uid.as_str()), ("course-pod", pod.uid.as_str()));
    // lo and eth0; their two addresses each and the link-local one.
    assert_eq!(image.manifest.counts["links"], 2);
    assert!(image.manifest.counts["addresses"] >= 4, "{:?}", image.manifest.counts);
    assert_eq!(status["counts"]["links"], 2);

    let told = events("NetCheckpoint", "course");
    assert!(told.contains(&"CheckpointInProgress".to_owned()), "{told:?}");
    assert!(told.contains(&"CheckpointCompleted".to_owned()), "{told:?}");
    assert!(events("Pod", "course-pod").contains(&"CheckpointCompleted".to_owned()));
    let metrics = node.get("/metrics").1;
    assert!(
        metrics.contains("netckpt_captures_total{reason=\"CheckpointCompleted\"} 1"),
        "{metrics}"
    );
    // What was kept on the node for a restart has served.
    let spool = node.folder().join("state/captures");
    eventually("the node keeps no image", || images(&spool).is_empty().then_some(()));
}

#[test]
fn a_pod_is_waited_for_until_it_runs() {
    let node = Node::start("early-node");
    node.file_storage("early");
    checkpoint("early", "early-pod", &json!({"storageName": "early"}));
    let object = ready("early", "Unknown", "SourcePodNotFound");
    assert!(object["status"]["nodeName"].is_null());
    node.pod("early-pod");
    let object = ready("early", "True", "CheckpointCompleted");
    assert_eq!(object["status"]["nodeName"], "early-node");
}

#[test]
fn one_pod_can_be_checkpointed_twice_at_once() {
    let node = Node::start("twice-node");
    let folder = node.file_storage("twice");
    node.pod("twice-pod");
    checkpoint("twice-1", "twice-pod", &json!({"storageName": "twice"}));
    checkpoint("twice-2", "twice-pod", &json!({"storageName": "twice"}));
    ready("twice-1", "True", "CheckpointCompleted");
    ready("twice-2", "True", "CheckpointCompleted");
    assert_eq!(images(&folder).len(), 2);
    // The same name again is refused by the API itself.
    let again = json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
        "metadata": {"name": "twice-1", "namespace": "default"},
        "spec": {"sourcePodName": "twice-pod"},
    });
    shared().0.feed(&["create", "-f", "-"], &again.to_string()).refused("already exists");
}
