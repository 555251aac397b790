//! The Helm chart and the plain manifests: that they are what the types and templates make, that a
//! real API server takes them, and that an agent installed by them may do its work and no more.

#[path = "../apiserver/mod.rs"]
#[allow(dead_code, reason = "shared with other test binaries")]
mod apiserver;
mod installed;
mod removal;
mod rights;

use std::path::{Path, PathBuf};
use std::process::Command;

use apiserver::tool;
use installed::installed;
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
