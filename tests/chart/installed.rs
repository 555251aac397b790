//! An API server with the chart in it, and what an agent's pod has there.

use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::apiserver::{Answer, ApiServer, tool};
use super::{NAMESPACE, repository};

/// The API server with the chart in it, installed by helm as users do.
pub fn installed() -> &'static ApiServer {
    static INSTALLED: Once = Once::new();
    let server = ApiServer::get();
    INSTALLED.call_once(|| {
        let helm = |verb: &str| {
            let output = Command::new(tool("helm"))
                .args([verb, "netckpt"])
                .arg(repository("charts/netckpt"))
                .args(["--set-json", "rbac.secretNames=[\"store-keys\"]"])
                .args(["--create-namespace", "--namespace", NAMESPACE, "--kubeconfig"])
                .arg(server.kubeconfig())
                .env("HELM_CACHE_HOME", server.kubeconfig().with_file_name("helm"))
                .output()
                .expect("helm runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        helm("install");
        helm("upgrade");
        for node in ["node-a", "node-b"] {
            agent_pod(server, node);
        }
        create_checkpoint(server, "canary");
        let agent = token(server, "node-a");
        let forbidden = json!({"spec": {"deletionPolicy": "Retain"}});
        let in_force = || {
            let said = patch(server, &agent, "nckpt/canary", &forbidden);
            said.err.contains("ValidatingAdmissionPolicy")
        };
        until(in_force, "the policies are in force");
    });
    server
}

/// Waits: the API server sees roles and policies some time after they were made.
pub fn until(holds: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A node with an agent's pod, as the scheduler and kubelet would have made them.
pub fn agent_pod(server: &ApiServer, node: &str) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}},
        pod(NAMESPACE, &format!("agent-{node}"), node, "netckpt"),
        pod("default", &format!("pod-{node}"), node, "default"),
    ]});
    server.feed(&["create", "-f", "-"], &list.to_string()).succeeds();
}

pub fn pod(namespace: &str, name: &str, node: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node, "serviceAccountName": account,
                 "containers": [{"name": "c", "image": "i"}]},
    })
}

/// The token that kubelet would give to the agent's pod of that node.
pub fn token(server: &ApiServer, node: &str) -> String {
    let pod = format!("agent-{node}");
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", &pod];
    let mut arguments = vec!["create", "token", "netckpt", "-n", NAMESPACE];
    arguments.extend(bound);
    server.kubectl(&arguments).succeeds().trim_end().to_owned()
}

pub fn create_checkpoint(server: &ApiServer, name: &str) {
    let object = json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"sourcePodName": "web"},
    });
    server.feed(&["create", "-f", "-"], &object.to_string()).succeeds();
}

pub fn patch(server: &ApiServer, token: &str, what: &str, patch: &Value) -> Answer {
    server.kubectl_as(token, &["patch", what, "--type=merge", "-p", &patch.to_string()])
}

/// A patch of a NetCheckpoint's status.
pub fn report(server: &ApiServer, token: &str, name: &str, status: &Value) -> Answer {
    let path = format!("/apis/netckpt.io/v1alpha1/namespaces/default/netcheckpoints/{name}/status");
    server.patch_as(token, &path, "merge", &json!({"status": status}).to_string())
}
