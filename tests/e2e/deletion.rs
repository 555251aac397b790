//! Deleting a checkpoint deletes its image, unless it is retained.

use serde_json::json;

use crate::lab::{Namespace, stored};

#[test]
fn the_image_goes_with_its_checkpoint_unless_it_is_retained() {
    let namespace = Namespace::new();
    namespace.pod("web", "node-b", "true");
    namespace.checkpoint("goes", "web", &json!({}));
    namespace.checkpoint("stays", "web", &json!({"deletionPolicy": "Retain"}));
    let goes = stored(&namespace.ready("goes", "True", "CheckpointCompleted"));
    let stays = stored(&namespace.ready("stays", "True", "CheckpointCompleted"));
    assert!(goes.exists() && stays.exists());
    namespace.kubectl(&["delete", "nckpt", "goes", "stays", "--timeout=30s"]).succeeds();
    assert!(!goes.exists(), "{}", goes.display());
    assert!(stays.exists(), "{}", stays.display());
    std::fs::remove_file(stays).unwrap();
}

/// At every moment of its course: nothing is left, and nothing hangs.
#[test]
fn a_checkpoint_can_be_deleted_at_any_moment() {
    let namespace = Namespace::new();
    namespace.pod("web", "node-a", "true");
    for moment in 0..10 {
        let name = format!("c{moment}");
        namespace.checkpoint(&name, "web", &json!({"timeoutSeconds": 30}));
        std::thread::sleep(std::time::Duration::from_millis(20 * moment));
        namespace.kubectl(&["delete", "nckpt", &name, "--timeout=45s"]).succeeds();
    }
    let left = crate::lab::run_folder().join("store/images/netckpt").join(namespace.name());
    let left: Vec<_> = std::fs::read_dir(left)
        .into_iter()
        .flatten()
        .flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).into_iter().flatten())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
