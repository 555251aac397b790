//! The agent is killed and deleted in the middle: every checkpoint ends as if it had not been.

use serde_json::json;

use crate::lab::{AGENTS, Namespace, agent_pod, eventually, kill_agent, kubectl, stored};

#[test]
fn checkpoints_end_well_though_their_agent_is_killed() {
    let namespace = Namespace::alone();
    namespace.pod("web", "node-b", "true");
    let names: Vec<_> = (0..12).map(|number| format!("c{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        namespace.checkpoint(name, "web", &json!({"timeoutSeconds": 120}));
        match number {
            3 => kill_agent("node-b"),
            7 => {
                let pod = agent_pod("node-b");
                kubectl(&["-n", AGENTS, "delete", "pod", &pod, "--wait=false"]).succeeds();
            }
            _ => {}
        }
    }
    for name in &names {
        let object = namespace.ready(name, "True", "CheckpointCompleted");
        assert!(stored(&object).exists());
    }
    // One image each: none was forgotten in the store.
    let all = crate::lab::run_folder().join("store/images/netckpt").join(namespace.name());
    let mut images = 0;
    for folder in std::fs::read_dir(all).unwrap() {
        images += std::fs::read_dir(folder.unwrap().path()).unwrap().count();
    }
    assert_eq!(images, names.len());
    eventually("the agents are ready again", || {
        let ready = ["-n", AGENTS, "rollout", "status", "daemonset/netckpt", "--timeout=5s"];
        kubectl(&ready).ok.then_some(())
    });
}
