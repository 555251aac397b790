//! The Helm chart and the plain manifests: that they are what the types and templates make, that a
//! real API server takes them, and that an agent installed by them may do its work and no more.

#[allow(dead_code, reason = "shared with other test binaries")]
mod apiserver;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use apiserver::{Answer, ApiServer, tool};
use netckpt::controller::uninstall::is_removed;
use serde_json::{Value, json};

const NAMESPACE: &str = "netckpt-system";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The file holds that text; with `NETCKPT_UPDATE=1` it is made so.
fn holds(path: &str, text: &str) {
    let path = repository(path);
    if std::env::var_os("NETCKPT_UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let advice = "is not what the sources make: NETCKPT_UPDATE=1 cargo test --test chart";
    assert!(found == text, "{} {advice}", path.display());
}

/// The chart's objects, rendered with these settings.
fn render(settings: &[&str]) -> Result<String, String> {
    let mut helm = Command::new(tool("helm"));
    helm.args(["template", "netckpt"]).arg(repository("charts/netckpt"));
    helm.args(["--namespace", NAMESPACE, "--kube-version", "1.37.2"]);
    for setting in settings {
        helm.args(["--set-json", setting]);
    }
    let output = helm.output().expect("helm runs");
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

fn objects(yaml: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .filter(|object: &Value| !object.is_null())
        .collect()
}

#[test]
fn definitions_are_the_types() {
    let crds = netckpt::api::crds().unwrap();
    holds("manifests/crds.yaml", &crds);
    holds("charts/netckpt/crds/crds.yaml", &crds);
}

#[test]
fn the_plain_manifest_is_the_chart() {
    let rendered = render(&["namespace.create=true"]).unwrap();
    let own: String = rendered
        .lines()
        .filter(|line| !line.starts_with("# Source:"))
        .fold(String::new(), |text, line| text + line + "\n");
    let text = format!(
        "# The chart charts/netckpt with its default values, for `kubectl apply --server-side -f`.\n{}{own}",
        netckpt::api::crds()
            .unwrap()
            .lines()
            .skip(1)
            .fold(String::new(), |text, line| text + line + "\n"),
    );
    holds("manifests/install.yaml", &text);
}

#[test]
fn wrong_values_are_refused() {
    for (setting, words) in [
        ("image.pullPolicy=\"Sometimes\"", "pullPolicy"),
        ("agent.criSocket=\"unix:///run/x.sock\"", "criSocket"),
        ("agent.port=0", "port"),
        ("agnet={}", "agnet"),
        ("storage={\"create\":true,\"spec\":{}}", "type"),
    ] {
        let said = render(&[setting]).unwrap_err();
        assert!(said.contains(words), "{setting}: {said}");
    }
}

#[test]
fn values_reach_the_objects() {
    let yaml = render(&[
        "storage={\"create\":true,\"name\":\"here\",\"spec\":{\"type\":\"File\",\"file\":{\"path\":\"/x\"}}}",
        "rbac={\"secretNames\":[\"s3\"],\"aggregate\":false}",
        "admissionPolicy.enabled=false",
        "agent.criSocket=\"/var/run/crio/crio.sock\"",
        "image={\"repository\":\"registry.example.com/netckpt\",\"tag\":\"v1\"}",
    ])
    .unwrap();
    let objects = objects(&yaml);
    let of = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("NetCheckpointStorage")[0]["spec"]["file"]["path"], "/x");
    assert_eq!(of("Role")[0]["rules"][0]["resourceNames"], json!(["s3"]));
    assert!(!yaml.contains("aggregate-to"));
    assert!(of("ValidatingAdmissionPolicy").is_empty() && of("Namespace").is_empty());
    let pod = &of("DaemonSet")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "registry.example.com/netckpt:v1");
    assert!(yaml.contains("hostPath: {path: /var/run/crio, type: Directory}"));
}

/// Secrets are readable by name only: those named, and the one of the release's storage.
#[test]
fn agents_read_no_secret_that_is_not_named() {
    let secrets = |settings: &[&str]| {
        let objects = objects(&render(settings).unwrap());
        let role = objects.iter().find(|object| object["kind"] == "Role").unwrap().clone();
        let rules = role["rules"].as_array().unwrap().clone();
        let rule = rules.into_iter().find(|rule| rule["resources"] == json!(["secrets"]));
        rule.map(|rule| rule["resourceNames"].clone())
    };
    let storage = |create: bool, reference: &Value| {
        let s3 = json!({"bucket": "images", "secretRef": reference});
        format!("storage={}", json!({"create": create, "spec": {"type": "S3", "s3": s3}}))
    };
    let own = storage(true, &json!({"name": "own"}));
    assert_eq!(secrets(&[]), None);
    assert_eq!(secrets(&[&own]), Some(json!(["own"])));
    let named = "rbac.secretNames=[\"other\",\"own\"]";
    assert_eq!(secrets(&[&own, named]), Some(json!(["other", "own"])));
    assert_eq!(secrets(&[&storage(false, &json!({"name": "own"}))]), None);
    let elsewhere = json!({"name": "own", "namespace": "elsewhere"});
    assert_eq!(secrets(&[&storage(true, &elsewhere)]), None);
    let anonymous =
        "storage={\"create\":true,\"spec\":{\"type\":\"S3\",\"s3\":{\"bucket\":\"abc\"}}}";
    assert_eq!(secrets(&[anonymous]), None);
}

/// The API server with the chart in it, installed by helm as users do.
fn installed() -> &'static ApiServer {
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
fn until(holds: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A node with an agent's pod, as the scheduler and kubelet would have made them.
fn agent_pod(server: &ApiServer, node: &str) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}},
        pod(NAMESPACE, &format!("agent-{node}"), node, "netckpt"),
        pod("default", &format!("pod-{node}"), node, "default"),
    ]});
    server.feed(&["create", "-f", "-"], &list.to_string()).succeeds();
}

fn pod(namespace: &str, name: &str, node: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": node, "serviceAccountName": account,
                 "containers": [{"name": "c", "image": "i"}]},
    })
}

/// The token that kubelet would give to the agent's pod of that node.
fn token(server: &ApiServer, node: &str) -> String {
    let pod = format!("agent-{node}");
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", &pod];
    let mut arguments = vec!["create", "token", "netckpt", "-n", NAMESPACE];
    arguments.extend(bound);
    server.kubectl(&arguments).succeeds().trim_end().to_owned()
}

fn create_checkpoint(server: &ApiServer, name: &str) {
    let object = json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"sourcePodName": "web"},
    });
    server.feed(&["create", "-f", "-"], &object.to_string()).succeeds();
}

fn patch(server: &ApiServer, token: &str, what: &str, patch: &Value) -> Answer {
    server.kubectl_as(token, &["patch", what, "--type=merge", "-p", &patch.to_string()])
}

/// A patch of a NetCheckpoint's status.
fn report(server: &ApiServer, token: &str, name: &str, status: &Value) -> Answer {
    let path = format!("/apis/netckpt.io/v1alpha1/namespaces/default/netcheckpoints/{name}/status");
    server.patch_as(token, &path, "merge", &json!({"status": status}).to_string())
}

#[test]
fn an_api_server_takes_the_manifests() {
    let server = installed();
    let install = repository("manifests/install.yaml");
    for file in ["checkpoint", "checkpoint-held", "restore", "storage-s3", "storage-file"] {
        let file = repository(&format!("manifests/examples/{file}.yaml"));
        let arguments =
            ["apply", "--dry-run=server", "--validate=strict", "-f", file.to_str().unwrap()];
        server.kubectl(&arguments).succeeds();
    }
    let arguments = ["apply", "--server-side", "--force-conflicts", "--dry-run=server"];
    let mut arguments = arguments.to_vec();
    arguments.extend(["--validate=strict", "-f", install.to_str().unwrap()]);
    let said = server.kubectl(&arguments);
    assert_eq!(said.err, "", "warnings");
    said.succeeds();
}

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

/// The chart starts the binary with verbs and flags that it has.
#[test]
fn the_binary_knows_the_charts_flags() {
    let objects = objects(&render(&[]).unwrap());
    let daemonset = objects.iter().find(|object| object["kind"] == "DaemonSet").unwrap();
    let pod = &daemonset["spec"]["template"]["spec"];
    let commands = [
        &pod["initContainers"][0]["command"],
        &pod["containers"][0]["command"],
        &pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"],
    ];
    for command in commands {
        let words: Vec<_> =
            command.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let help = Command::new(env!("CARGO_BIN_EXE_netckpt"))
            .args([words[1], "--help"])
            .output()
            .expect("netckpt runs");
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for word in &words[2..] {
            let flag = word.split('=').next().unwrap();
            assert!(help.contains(flag), "netckpt {} has no {flag}: {help}", words[1]);
        }
    }
}
