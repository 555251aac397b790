//! What an agent finds out about its own end.

use netckpt::controller::uninstall::is_removed;
use serde_json::json;

use super::NAMESPACE;
use super::installed::{installed, token, until};

/// An agent's plugin goes with the DaemonSet, and with nothing else.
#[test]
fn removal_is_told_from_an_update() {
    let server = installed();
    let ask = |url: &str, token: &str, daemonset: &str| {
        let mut config = kube::Config::new(url.parse().unwrap());
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(token.to_owned().into());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = kube::Client::try_from(config).unwrap();
            is_removed(client, daemonset).await
        })
    };
    let (url, agent) = (server.url(), token(server, "node-a"));
    let ours = format!("{NAMESPACE}/netckpt");
    assert!(!ask(&url, &agent, &ours).unwrap(), "it is there");
    assert!(ask(&url, "of a deleted account", &ours).unwrap(), "401");
    assert!(ask(&url, &agent, &format!("{NAMESPACE}/other")).unwrap(), "403");
    ask("https://127.0.0.1:1", &agent, &ours).unwrap_err();
    ask(&url, &agent, "netckpt").unwrap_err();

    // One that waits for its pods to end, and one that is gone.
    let other = token(server, "node-b");
    let other = other.as_str();
    let daemonset = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "netckpt", "namespace": "default", "finalizers": ["netckpt.io/test"]},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    server.feed(&["create", "-f", "-"], &daemonset.to_string()).succeeds();
    server.kubectl(&["create", "role", "test", "--verb=get", "--resource=daemonsets"]).succeeds();
    let bound = ["--role=test", "--serviceaccount=netckpt-system:netckpt"];
    server.kubectl(&[&["create", "rolebinding", "test"][..], &bound].concat()).succeeds();
    let allowed = || server.kubectl_as(other, &["auth", "can-i", "get", "daemonsets"]).ok;
    until(allowed, "the role is in force");
    assert!(!ask(&url, other, "default/netckpt").unwrap(), "it is there");
    server.kubectl(&["delete", "ds", "netckpt", "--wait=false"]).succeeds();
    assert!(ask(&url, other, "default/netckpt").unwrap(), "it is being deleted");
    let none = json!({"metadata": {"finalizers": null}}).to_string();
    server.kubectl(&["patch", "ds", "netckpt", "--type=merge", "-p", &none]).succeeds();
    assert!(ask(&url, other, "default/netckpt").unwrap(), "it is gone");
}
