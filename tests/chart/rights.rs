//! What an agent and people may do, by roles and admission policies.

use serde_json::{Value, json};

use super::NAMESPACE;
use super::installed::{create_checkpoint, installed, patch, report, token};

#[test]
fn an_agent_may_do_its_work_and_no_more() {
    let server = installed();
    let token = token(server, "node-a");
    let can = |namespace: &str, verb: &str, what: &str| {
        let mut arguments = vec!["auth", "can-i", verb, what, "-n", namespace];
        if let Some((resource, subresource)) = what.split_once('/')
            && !["daemonsets", "secrets"].contains(&resource)
        {
            arguments[3] = resource;
            arguments.extend(["--subresource", subresource]);
        }
        server.kubectl_as(&token, &arguments).out.trim() == "yes"
    };
    for (namespace, verb, what) in [
        ("default", "watch", "netcheckpoints"),
        ("default", "patch", "netcheckpoints"),
        ("default", "patch", "netcheckpoints/status"),
        ("default", "watch", "netcheckpointstorages"),
        ("default", "watch", "podroutes"),
        ("default", "create", "podroutes"),
        ("default", "delete", "podroutes"),
        ("default", "watch", "pods"),
        ("default", "patch", "pods/status"),
        ("default", "create", "events.events.k8s.io"),
        (NAMESPACE, "get", "secrets/store-keys"),
        (NAMESPACE, "get", "daemonsets/netckpt"),
    ] {
        assert!(can(namespace, verb, what), "may not {verb} {what} in {namespace}");
    }
    for (namespace, verb, what) in [
        ("default", "get", "secrets/store-keys"),
        (NAMESPACE, "get", "secrets"),
        (NAMESPACE, "get", "secrets/other"),
        (NAMESPACE, "list", "secrets"),
        ("default", "create", "netcheckpoints"),
        ("default", "delete", "netcheckpoints"),
        ("default", "patch", "netcheckpointstorages"),
        ("default", "delete", "pods"),
        ("default", "patch", "pods"),
        ("default", "create", "pods/exec"),
        ("default", "get", "nodes"),
        (NAMESPACE, "delete", "daemonsets/netckpt"),
        (NAMESPACE, "get", "daemonsets/other"),
    ] {
        assert!(!can(namespace, verb, what), "may {verb} {what} in {namespace}");
    }
}

#[test]
fn people_get_their_rights_by_the_clusters_roles() {
    let server = installed();
    // The aggregation itself is the controller manager's; here it is the labels and rules.
    for (role, aggregate, writes) in
        [("viewer", "view", false), ("editor", "edit", true), ("admin", "admin", true)]
    {
        let role = server
            .kubectl(&["get", "clusterrole", &format!("netckpt-{role}"), "-o", "json"])
            .succeeds();
        let role: Value = serde_json::from_str(&role).unwrap();
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{aggregate}");
        assert_eq!(role["metadata"]["labels"][label], "true");
        let creates = role["rules"].as_array().unwrap().iter().any(|rule| {
            rule["verbs"].as_array().unwrap().contains(&json!("create"))
                && rule["resources"].as_array().unwrap().contains(&json!("netcheckpoints"))
        });
        assert_eq!(creates, writes, "{aggregate}");
    }
}

#[test]
fn an_agent_is_held_to_its_node() {
    let server = installed();
    let (a, b) = (token(server, "node-a"), token(server, "node-b"));
    let (name, what) = ("held-to-node", "nckpt/held-to-node");
    create_checkpoint(server, name);

    // Before the claim.
    let ready = json!({"conditions": [{"type": "Ready", "status": "False", "reason": "NodeHasNoAgent",
        "message": "", "lastTransitionTime": "2026-11-30T12:00:00Z"}]});
    report(server, &b, name, &ready).succeeds();
    let no_result = "a checkpoint that no agent has claimed has no image and is not ready";
    let done = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "CheckpointCompleted",
        "message": "", "lastTransitionTime": "2026-11-30T12:00:00Z"}]});
    report(server, &b, name, &done).refused(no_result);
    let image = json!({"image": {"storageName": "s", "key": "k", "sizeBytes": 1, "formatVersion": 1,
        "digest": format!("sha256:{}", "0".repeat(64))}});
    report(server, &b, name, &image).refused(no_result);
    report(server, &b, name, &json!({"nodeName": "node-a"}))
        .refused("the agent of node-b can claim for its own node only, not for node-a");
    report(server, &a, name, &json!({"nodeName": "node-a", "podIPs": ["10.0.0.1"]})).succeeds();

    // What was asked for is not an agent's to change, the finalizer is.
    patch(server, &a, what, &json!({"spec": {"deletionPolicy": "Retain"}}))
        .refused("an agent does not change what was asked for");
    patch(server, &a, what, &json!({"metadata": {"labels": {"x": "y"}}}))
        .refused("an agent changes nothing of the metadata but its own finalizer");
    patch(server, &a, what, &json!({"metadata": {"finalizers": ["else.io/x"]}}))
        .refused("an agent changes nothing of the metadata but its own finalizer");
    patch(server, &a, what, &json!({"metadata": {"finalizers": ["netckpt.io/image"]}})).succeeds();

    // Another node's agent reports its restores and nothing else.
    let restore = |uid: &str, node: &str| {
        json!({"podUID": uid, "podName": "p", "nodeName": node, "state": "InProgress",
               "reason": "RestoreInProgress"})
    };
    report(server, &b, name, &json!({"podIPs": ["10.0.0.2"]})).refused(
        "the agent of node-b can report restores only: the checkpoint is the work of the agent of node-a",
    );
    report(server, &b, name, &json!({"podIPs": null})).refused("can report restores only");
    report(server, &b, name, &json!({"restores": [restore("1", "node-b")]})).succeeds();
    let only_own = "can report restores of its own node only";
    report(
        server,
        &b,
        name,
        &json!({"restores": [restore("1", "node-b"), restore("2", "node-a")]}),
    )
    .refused(only_own);
    report(server, &a, name, &json!({"restores": []})).refused(only_own);
    report(
        server,
        &a,
        name,
        &json!({"restores": [restore("1", "node-b"), restore("2", "node-a")]}),
    )
    .succeeds();
    report(server, &a, name, &json!({"podIPs": ["10.0.0.3"]})).succeeds();

    // A full list makes room.
    let full: Vec<_> = (0..16).map(|n| restore(&n.to_string(), "node-b")).collect();
    let list = |restores: &[Value]| json!({"status": {"restores": restores}}).to_string();
    let admin = ["patch", what, "--subresource=status", "--type=merge", "-p"];
    server.kubectl(&[&admin[..], &[&list(&full)]].concat()).succeeds();
    let mut next = full[1..].to_vec();
    next.push(restore("16", "node-a"));
    report(server, &a, name, &json!({"restores": next})).succeeds();

    // A token that names no node is nobody's.
    let unbound = server.kubectl(&["create", "token", "netckpt", "-n", NAMESPACE]).succeeds();
    report(server, unbound.trim_end(), name, &json!({"podIPs": ["10.0.0.4"]}))
        .refused("an agent's token must name its node");
}

#[test]
fn an_agent_leads_to_its_own_pods_only() {
    let server = installed();
    let (a, b) = (token(server, "node-a"), token(server, "node-b"));
    let route = |name: &str, uid: &str, node: &str| {
        json!({"apiVersion": "netckpt.io/v1alpha1", "kind": "PodRoute",
               "metadata": {"name": name, "namespace": "default"},
               "spec": {"podUID": uid, "podName": "web", "nodeName": node,
                        "addresses": ["10.244.1.7"], "sequence": 1}})
        .to_string()
    };
    let file = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    };
    let create = |token: &str, text: &str| {
        let file = file(text);
        server.kubectl_as(token, &["create", "-f", file.path().to_str().unwrap()])
    };
    let only_own = "can lead to pods of its own node only";
    create(&a, &route("u1", "u1", "node-b")).refused(only_own);
    create(&a, &route("other", "u1", "node-a"))
        .refused("the name of a PodRoute is the UID of its pod");
    create(&a, &route("u1", "u1", "node-a")).succeeds();
    patch(server, &b, "podroute/u1", &json!({"spec": {"sequence": 2}})).refused(only_own);
    patch(server, &b, "podroute/u1", &json!({"spec": {"nodeName": "node-b"}})).refused(only_own);
    server.kubectl_as(&b, &["delete", "podroute", "u1"]).refused(only_own);
    server.kubectl_as(&a, &["delete", "podroute", "u1"]).succeeds();
}

#[test]
fn an_agent_sets_one_condition_of_its_own_pods() {
    let server = installed();
    let a = token(server, "node-a");
    let patch = |pod: &str, status: &Value| {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/status");
        let patch = json!({"status": status}).to_string();
        server.patch_as(&a, &path, "strategic-merge", &patch)
    };
    let condition = |type_: &str| {
        json!({"conditions": [{"type": type_, "status": "True", "reason": "Restored", "message": "equal",
                               "lastTransitionTime": "2026-11-30T12:00:00Z"}]})
    };
    patch("pod-node-a", &condition("netckpt.io/NetworkRestored")).succeeds();
    patch("pod-node-a", &condition("Ready")).refused("nothing else of its status");
    patch("pod-node-a", &json!({"podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}))
        .refused("nothing else of its status");
    patch("pod-node-a", &json!({"phase": "Failed"})).refused("nothing else of its status");
    patch("pod-node-b", &condition("netckpt.io/NetworkRestored"))
        .refused("the agent of node-a can report on pods of its own node only");
}
