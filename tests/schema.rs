//! The schemas of the custom resources, against a real API server: what it accepts, refuses (and with
//! which words), fills in, selects by and explains.

#[allow(dead_code, reason = "shared with other test binaries")]
mod apiserver;

use std::collections::BTreeSet;
use std::sync::Once;

use apiserver::ApiServer;
use serde_json::{Value, json};

/// The API server with the definitions in it.
fn server() -> &'static ApiServer {
    static INSTALLED: Once = Once::new();
    let server = ApiServer::get();
    INSTALLED.call_once(|| {
        let crds = netckpt::api::crds().unwrap();
        let said = server.feed(&["apply", "--server-side", "-f", "-"], &crds);
        // The API server warns of schemas that it takes and does not like.
        assert_eq!(said.err, "", "warnings");
        said.succeeds();
        let crds = ["crd/netcheckpoints.netckpt.io", "crd/netcheckpointstorages.netckpt.io"];
        let mut wait = vec!["wait", "--for=condition=Established", "--timeout=30s"];
        wait.extend(crds);
        server.kubectl(&wait).succeeds();
    });
    server
}

fn checkpoint(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
    .to_string()
}

fn storage(name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpointStorage",
        "metadata": {"name": name}, "spec": spec,
    })
    .to_string()
}

fn create(object: &str) -> apiserver::Answer {
    server().feed(&["create", "-o", "json", "-f", "-"], object)
}

fn patch(what: &str, patch: &Value) -> apiserver::Answer {
    server().kubectl(&["patch", what, "--type=merge", "-o", "json", "-p", &patch.to_string()])
}

fn patch_status(name: &str, status: &Value) -> apiserver::Answer {
    let patch = json!({"status": status}).to_string();
    server().kubectl(&[
        "patch",
        "nckpt",
        name,
        "--subresource=status",
        "--type=merge",
        "-o",
        "json",
        "-p",
        &patch,
    ])
}

/// Every rule of every schema is seen to refuse, with its message. A rule that no case here breaks
/// fails the test.
#[test]
fn each_rule_refuses_with_its_message() {
    let mut seen = BTreeSet::new();
    let mut refused = |answer: apiserver::Answer, message: &'static str| {
        answer.refused(message);
        seen.insert(message.to_owned());
    };

    // Changes of what is fixed.
    let full = json!({
        "sourcePodName": "web", "sourcePodUID": "u-1", "storageName": "here",
        "onUnsupported": "Fail", "timeoutSeconds": 30, "holdTimeoutSeconds": 30,
    });
    create(&checkpoint("fixed", &full)).succeeds();
    create(&checkpoint("bare", &json!({"sourcePodName": "web"}))).succeeds();
    for (name, change, message) in [
        (
            "fixed",
            json!({"sourcePodName": "other"}),
            "sourcePodName is fixed: create another NetCheckpoint for another pod",
        ),
        (
            "fixed",
            json!({"sourcePodUID": "u-2"}),
            "sourcePodUID is fixed: create another NetCheckpoint for another incarnation of the pod",
        ),
        (
            "fixed",
            json!({"storageName": "there"}),
            "storageName is fixed: create another NetCheckpoint to store the image elsewhere",
        ),
        (
            "fixed",
            json!({"timeoutSeconds": 31}),
            "timeoutSeconds is fixed: create another NetCheckpoint with the time it needs",
        ),
        (
            "fixed",
            json!({"holdTimeoutSeconds": 31}),
            "holdTimeoutSeconds is fixed: set traffic: Running to release the pod earlier",
        ),
        (
            "fixed",
            json!({"onUnsupported": "Report"}),
            "onUnsupported is fixed: create another NetCheckpoint with the policy you want",
        ),
        (
            "fixed",
            json!({"traffic": "Held"}),
            "traffic can only go from Held to Running, which releases the pod: to hold it, create another NetCheckpoint with traffic: Held",
        ),
        (
            "fixed",
            json!({"sourcePodUID": null}),
            "sourcePodUID can't be added or removed later: create another NetCheckpoint",
        ),
        (
            "bare",
            json!({"sourcePodUID": "u-1"}),
            "sourcePodUID can't be added or removed later: create another NetCheckpoint",
        ),
        (
            "fixed",
            json!({"storageName": null}),
            "storageName can't be added or removed later: create another NetCheckpoint",
        ),
        (
            "bare",
            json!({"storageName": "here"}),
            "storageName can't be added or removed later: create another NetCheckpoint",
        ),
    ] {
        refused(patch(&format!("nckpt/{name}"), &json!({"spec": change})), message);
    }
    refused(
        create(&checkpoint("name", &json!({"sourcePodName": "Web_1"}))),
        "sourcePodName must be the name of a pod: lower-case letters, digits, '-' and '.'",
    );

    // The claim.
    patch_status("fixed", &json!({"nodeName": "node-a"})).succeeds();
    for node in [json!("node-b"), Value::Null] {
        refused(
            patch_status("fixed", &json!({"nodeName": node})),
            "nodeName is claimed: an agent can't take over or drop the work of another node's agent",
        );
    }

    // Storages.
    let s3 = json!({"bucket": "images", "prefix": "a/b"});
    for (spec, message) in [
        (json!({"type": "S3"}), "s3 must be set when type is S3, and only then"),
        (
            json!({"type": "File", "s3": s3, "file": {"path": "/x"}}),
            "s3 must be set when type is S3, and only then",
        ),
        (json!({"type": "File"}), "file must be set when type is File, and only then"),
        (
            json!({"type": "S3", "s3": s3, "file": {"path": "/x"}}),
            "file must be set when type is File, and only then",
        ),
        (
            json!({"type": "S3", "s3": {"bucket": "images", "prefix": "/a"}}),
            "prefix must not begin or end with a slash",
        ),
        (
            json!({"type": "S3", "s3": {"bucket": "images", "endpoint": "ftp://x"}}),
            "endpoint must be a URL that begins with https:// or http://",
        ),
        (
            json!({"type": "S3", "s3": {"bucket": "images", "endpoint": "http://x:9000"}}),
            "endpoint is http://, which sends images and signatures unencrypted: use https:// or set allowHTTP: true",
        ),
        (
            json!({"type": "S3", "s3": {"bucket": "images", "caBundle": "x"}}),
            "caBundle must hold certificates in PEM (-----BEGIN CERTIFICATE-----)",
        ),
        (
            json!({"type": "File", "file": {"path": "/a/../b"}}),
            "path must be absolute and without '..'",
        ),
        (
            json!({"type": "File", "file": {"path": "a/b"}}),
            "path must be absolute and without '..'",
        ),
    ] {
        refused(create(&storage("refused", &spec)), message);
    }
    create(&storage("s3", &json!({"type": "S3", "s3": s3}))).succeeds();
    create(&storage("file", &json!({"type": "File", "file": {"path": "/x"}}))).succeeds();
    for (name, change, message) in [
        (
            "s3",
            json!({"type": "File", "s3": null, "file": {"path": "/x"}}),
            "type is fixed: images would be lost from sight; create another NetCheckpointStorage",
        ),
        (
            "s3",
            json!({"s3": {"bucket": "others"}}),
            "bucket is fixed: images would be lost from sight; create another NetCheckpointStorage",
        ),
        (
            "s3",
            json!({"s3": {"prefix": "c"}}),
            "prefix is fixed: images would be lost from sight; create another NetCheckpointStorage",
        ),
        (
            "s3",
            json!({"s3": {"prefix": null}}),
            "prefix can't be added or removed later: images would be lost from sight; create another NetCheckpointStorage",
        ),
        (
            "file",
            json!({"file": {"path": "/y"}}),
            "path is fixed: images would be lost from sight; create another NetCheckpointStorage",
        ),
    ] {
        refused(patch(&format!("nckptstorage/{name}"), &json!({"spec": change})), message);
    }

    let mut rules = BTreeSet::new();
    for definition in netckpt::api::definitions() {
        messages(&serde_json::to_value(definition).unwrap(), &mut rules);
    }
    assert_eq!(rules, seen, "every rule is tried, and every message is a rule's");
}

/// The messages of all validation rules below.
fn messages(schema: &Value, into: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            for rule in
                map.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                into.insert(rule["message"].as_str().expect("each rule has a message").to_owned());
            }
            map.values().for_each(|below| messages(below, into));
        }
        Value::Array(list) => list.iter().for_each(|below| messages(below, into)),
        _ => {}
    }
}

#[test]
fn bounds_and_enums_are_kept() {
    for (field, value, words) in [
        ("timeoutSeconds", json!(0), "should be greater than or equal to 1"),
        ("timeoutSeconds", json!(3601), "should be less than or equal to 3600"),
        ("holdTimeoutSeconds", json!(0), "should be greater than or equal to 1"),
        ("holdTimeoutSeconds", json!(3601), "should be less than or equal to 3600"),
        ("traffic", json!("Stopped"), "supported values: \"Running\", \"Held\""),
        ("onUnsupported", json!("Ignore"), "supported values: \"Report\", \"Fail\""),
        ("deletionPolicy", json!("Keep"), "supported values: \"Delete\", \"Retain\""),
        ("sourcePodName", json!(""), "should be at least 1 chars long"),
        ("sourcePodName", Value::Null, "Required value"),
        ("url", json!("s3://bucket"), "unknown field \"spec.url\""),
    ] {
        let mut spec = json!({"sourcePodName": "web"});
        spec[field] = value;
        create(&checkpoint("bounds", &spec)).refused(words);
    }
    create(&checkpoint("bounds", &json!({"sourcePodName": "web"}))).succeeds();
    let image = |digest: &str| {
        json!({"image": {
            "storageName": "s", "key": "k", "digest": digest, "sizeBytes": 1, "formatVersion": 1,
        }})
    };
    patch_status("bounds", &image("md5:1")).refused("status.image.digest");
    patch_status("bounds", &image(&format!("sha256:{}", "0".repeat(64)))).succeeds();
    let restores: Vec<_> = (0..=netckpt::api::MAX_RESTORES)
        .map(|n| {
            json!({"podUID": n.to_string(), "podName": "p", "nodeName": "n",
                   "state": "Restored", "reason": "Restored"})
        })
        .collect();
    patch_status("bounds", &json!({"restores": restores})).refused("must have at most 16 items");
    patch_status("bounds", &json!({"restores": restores[1..]})).succeeds();
    let twice = [&restores[0], &restores[0]];
    patch_status("bounds", &json!({"restores": twice})).refused("Duplicate value");
}

#[test]
fn the_server_fills_in_what_the_types_do() {
    let made = create(&checkpoint("defaults", &json!({"sourcePodName": "web"}))).succeeds();
    let made: netckpt::api::NetCheckpoint = serde_json::from_str(&made).unwrap();
    assert_eq!(made.spec, netckpt::api::NetCheckpointSpec::of_pod("web"));

    let spec = json!({"type": "S3", "s3": {"bucket": "images"}});
    let made = create(&storage("defaults", &spec)).succeeds();
    let made: netckpt::api::NetCheckpointStorage = serde_json::from_str(&made).unwrap();
    assert!(!made.spec.is_default);
    let s3 = made.spec.s3.unwrap();
    assert_eq!((s3.region.as_str(), s3.allow_http), ("us-east-1", false));
}

/// A status with everything in it comes back as it was written.
#[test]
fn a_full_status_comes_back() {
    let now = "2026-11-30T12:00:00.123456Z";
    let status = json!({
        "observedGeneration": 1, "nodeName": "node-a", "sourcePodUID": "u", "podIPs": ["10.0.0.1", "fd00::1"],
        "image": {"storageName": "s", "key": "k", "digest": format!("sha256:{}", "a".repeat(64)), "sizeBytes": 4096, "formatVersion": 1},
        "counts": {"links": 2, "host/links": 1},
        "notCarried": [{"class": "links", "object": "wg0 (wireguard)", "why": "kind", "matters": true}],
        "notCarriedTotal": 1, "evidence": {"passes": 2, "readAgain": 1},
        "claimedAt": now, "heldAt": now, "heldUntil": now, "releasedAt": now, "capturedAt": now, "storedAt": now,
        "timings": {"holdMs": 1, "captureMs": 2, "uploadMs": 3, "totalMs": 6},
        "restores": [{"podUID": "u2", "podName": "web2", "nodeName": "node-b", "state": "Restored", "reason": "Restored",
            "message": "equal", "startedAt": now, "completedAt": now, "downloadMs": 1, "rebuildMs": 1, "verifyMs": 1, "totalMs": 3}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "CheckpointCompleted", "message": "",
            "lastTransitionTime": "2026-11-30T12:00:00Z", "observedGeneration": 1}],
    });
    create(&checkpoint("status", &json!({"sourcePodName": "web"}))).succeeds();
    patch_status("status", &status).succeeds();
    let read = server().kubectl(&["get", "nckpt", "status", "-o", "json"]).succeeds();
    let read: netckpt::api::NetCheckpoint = serde_json::from_str(&read).unwrap();
    assert_eq!(serde_json::to_value(read.status.unwrap()).unwrap(), status);

    let table = server().kubectl(&["get", "nckpt", "status"]).succeeds();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let titles = lines.next().unwrap();
    assert_eq!(titles, ["NAME", "POD", "NODE", "READY", "REASON", "SIZE", "AGE"]);
    let row = lines.next().unwrap();
    assert_eq!(row[..6], ["status", "web", "node-a", "True", "CheckpointCompleted", "4096"]);
    let wait = ["wait", "--for=condition=Ready", "nckpt/status", "--timeout=5s"];
    server().kubectl(&wait).succeeds();
}

#[test]
fn agents_can_select_by_node_and_unclaimed() {
    let spec = json!({"sourcePodName": "selected"});
    create(&checkpoint("claimed", &spec)).succeeds();
    create(&checkpoint("unclaimed", &spec)).succeeds();
    patch_status("claimed", &json!({"nodeName": "node-x"})).succeeds();
    let select = |selector: &str| {
        let selector = format!("{selector},spec.sourcePodName=selected");
        server().kubectl(&["get", "nckpt", "-o", "name", "--field-selector", &selector]).succeeds()
    };
    assert_eq!(select("status.nodeName=node-x"), "netcheckpoint.netckpt.io/claimed\n");
    assert_eq!(select("status.nodeName="), "netcheckpoint.netckpt.io/unclaimed\n");
}

#[test]
fn kubectl_explains_every_field_of_the_spec() {
    let explain = |path: &str| server().kubectl(&["explain", path]).succeeds();
    for (path, words) in [
        ("nckpt", "asks for the network of a running pod"),
        ("nckpt.spec.traffic", "Held keeps the pod's traffic off"),
        ("nckpt.spec.deletionPolicy", "Retain"),
        ("nckpt.status.notCarried", "not in the image"),
        ("nckpt.status.restores", "by the UID of the pod"),
        ("nckptstorage.spec.s3.secretRef", "accessKeyID"),
    ] {
        let said = explain(path);
        assert!(said.contains(words), "{path}: {said}");
    }
    for path in ["nckpt.spec", "nckpt.status", "nckptstorage.spec", "nckptstorage.spec.s3"] {
        assert!(!explain(path).contains("<no description>"), "{path}");
    }
}

#[test]
fn categories_hold_the_kinds() {
    let kinds =
        server().kubectl(&["api-resources", "--categories=netckpt", "-o", "name"]).succeeds();
    assert_eq!(
        kinds.lines().collect::<BTreeSet<_>>(),
        ["netcheckpoints.netckpt.io", "netcheckpointstorages.netckpt.io", "podroutes.netckpt.io"]
            .into()
    );
}
