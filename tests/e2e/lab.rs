//! The cluster of `tests/cluster`, by kubectl.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::turns::Turn;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// As `tests/cluster/images.sh` builds it.
const IMAGE: &str = "localhost/netckpt-test:latest";

/// Where the chart's agents are.
pub const AGENTS: &str = "netckpt-system";

fn variable(name: &str, otherwise: impl FnOnce() -> PathBuf) -> PathBuf {
    std::env::var_os(name).map_or_else(otherwise, PathBuf::from)
}

/// The cluster's folder.
pub fn run_folder() -> PathBuf {
    let folder = variable("NETCKPT_RUN", || "/run/netckpt-lab".into());
    assert!(folder.join("complete").exists(), "the cluster is not up: make cluster deploy");
    folder
}

/// What a command said.
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert!(self.ok, "{}{}", self.out, self.err);
        self.out
    }
}

/// kubectl as an administrator.
pub fn kubectl(arguments: &[&str]) -> Said {
    feed(arguments, "")
}

/// With something on its standard input.
pub fn feed(arguments: &[&str], input: &str) -> Said {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set"));
    let cache = variable("NETCKPT_CACHE", || home().join(".cache/netckpt"));
    let mut child = Command::new(cache.join("bin/kubectl"))
        .arg("--kubeconfig")
        .arg(run_folder().join("kubeconfig"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    // One that reads no input has closed it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("kubectl ends");
    Said {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Asks again until there is an answer.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A namespace of one test.
pub struct Namespace {
    name: String,
    turn: Turn,
}

impl Namespace {
    pub fn new() -> Self {
        Self::of(Turn::shared())
    }

    /// While no other test runs: for tests that break what all share. It must be the test's only one.
    pub fn alone() -> Self {
        Self::of(Turn::alone())
    }

    fn of(turn: Turn) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("e2e-{}-{number}", std::process::id());
        kubectl(&["create", "namespace", &name]).succeeds();
        let namespace = Self { name, turn };
        eventually("the default service account", || {
            namespace.kubectl(&["get", "serviceaccount", "default"]).ok.then_some(())
        });
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        self.feed(arguments, "")
    }

    pub fn feed(&self, arguments: &[&str], input: &str) -> Said {
        feed(&[&["--namespace", &self.name], arguments].concat(), input)
    }

    /// A pod on a node that has run its commands; answers its UID.
    pub fn pod(&self, name: &str, node: &str, commands: &str) -> String {
        self.create_pod(name, node, commands, &json!({}));
        let wait = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", name];
        self.kubectl(&wait).succeeds();
        self.kubectl(&["get", "pod", name, "-o", "jsonpath={.metadata.uid}"]).succeeds()
    }

    pub fn create_pod(&self, name: &str, node: &str, commands: &str, more: &Value) {
        let script = format!("set -e; {commands}\ntouch /tmp/done; exec sleep infinity");
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "shell", "image": IMAGE, "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
                    "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1},
                }],
            },
        });
        merge(&mut pod["spec"], more);
        self.feed(&["create", "-f", "-"], &pod.to_string()).succeeds();
    }

    /// A pod that is to get the network of a checkpoint, and what its first container does.
    pub fn create_successor(&self, name: &str, node: &str, checkpoint: &str, commands: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "annotations": {"netckpt.io/restore-from": checkpoint}},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "shell", "image": IMAGE, "imagePullPolicy": "Never",
                    "command": ["sh", "-c", format!("{commands}\nexec sleep infinity")],
                }],
            },
        });
        self.feed(&["create", "-f", "-"], &pod.to_string()).succeeds();
    }

    /// Waits until a pod runs; answers it.
    #[track_caller]
    pub fn running(&self, name: &str) -> Value {
        eventually(&format!("{name} runs"), || {
            let text = self.kubectl(&["get", "pod", name, "-o", "json"]).succeeds();
            let pod: Value = serde_json::from_str(&text).expect("JSON");
            (condition(&pod, "Ready")?.0 == "True").then_some(pod)
        })
    }

    pub fn delete_pod(&self, name: &str) {
        self.kubectl(&["delete", "pod", name, "--wait=true", "--timeout=60s"]).succeeds();
    }

    pub fn checkpoint(&self, name: &str, pod: &str, more: &Value) {
        let mut object = json!({
            "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
            "metadata": {"name": name}, "spec": {"sourcePodName": pod},
        });
        merge(&mut object["spec"], more);
        self.feed(&["create", "-f", "-"], &object.to_string()).succeeds();
    }

    /// The checkpoint, if it is there.
    pub fn seen(&self, name: &str) -> Option<Value> {
        let get = ["get", "netcheckpoint", name, "--ignore-not-found", "-o", "json"];
        let text = self.kubectl(&get).succeeds();
        (!text.trim().is_empty()).then(|| serde_json::from_str(&text).expect("JSON"))
    }

    /// Waits until Ready has this status and reason; answers the object.
    #[track_caller]
    pub fn ready(&self, name: &str, status: &str, reason: &str) -> Value {
        eventually(&format!("{name} becomes Ready={status} {reason}"), || {
            let object = self.seen(name)?;
            let (is, why, message) = condition(&object, "Ready")?;
            if is == status && why == reason {
                return Some(object);
            }
            assert!(is == "Unknown", "{name} is Ready={is} {why}: {message}");
            None
        })
    }

    /// Waits until it has ended without an image; answers the message.
    #[track_caller]
    pub fn failed(&self, name: &str, reason: &str) -> String {
        condition(&self.ready(name, "False", reason), "Ready").expect("it is there").2
    }

    /// Reasons of the events on an object.
    pub fn events(&self, kind: &str, name: &str) -> Vec<String> {
        self.of_events(kind, name, "reason")
    }

    /// What the events on an object say.
    pub fn notes(&self, kind: &str, name: &str) -> Vec<String> {
        self.of_events(kind, name, "note")
    }

    fn of_events(&self, kind: &str, name: &str, field: &str) -> Vec<String> {
        let selector = format!("regarding.kind={kind},regarding.name={name}");
        let shown = &format!("jsonpath={{range .items[*]}}{{.{field}}}{{\"\\n\"}}{{end}}");
        let get = ["get", "events.events.k8s.io", "--field-selector", &selector, "-o", shown];
        self.kubectl(&get).succeeds().lines().map(str::to_owned).collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let story = self.kubectl(&["describe", "pods,netcheckpoints"]);
            eprintln!("{}", story.out);
        }
        // Its checkpoints go with their images, in the background.
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        if self.turn.is_alone() {
            fresh_agents();
        }
    }
}

/// Agents that have never died: kubelet waits the longer before it starts one again the more often it
/// has died, and the next test is not to wait for that.
fn fresh_agents() {
    let label = "app.kubernetes.io/name=netckpt";
    let _ = kubectl(&["-n", AGENTS, "delete", "pods", "-l", label, "--timeout=60s"]);
    let _ = kubectl(&["-n", AGENTS, "rollout", "status", "daemonset/netckpt", "--timeout=60s"]);
}

/// A storage of one test.
pub struct Storage(String);

impl Storage {
    pub fn new(name: &str, spec: &Value) -> Self {
        let object = json!({
            "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpointStorage",
            "metadata": {"name": name}, "spec": spec,
        });
        feed(&["apply", "-f", "-"], &object.to_string()).succeeds();
        Self(name.to_owned())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "netcheckpointstorage", &self.0, "--wait=false"]);
    }
}

/// A condition's status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// The file of an image in the embedded store.
pub fn stored(object: &Value) -> PathBuf {
    let key = object["status"]["image"]["key"].as_str().expect("it is stored");
    run_folder().join("store/images/netckpt").join(key)
}

/// Name of the agent's pod on a node.
pub fn agent_pod(node: &str) -> String {
    let on = format!("spec.nodeName={node}");
    let label = "app.kubernetes.io/name=netckpt";
    let name = "jsonpath={.items[0].metadata.name}";
    kubectl(&["-n", AGENTS, "get", "pods", "-l", label, "--field-selector", &on, "-o", name])
        .succeeds()
}

/// Ends a node's agent as a crash does.
pub fn kill_agent(node: &str) {
    let on = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/on.sh");
    let kill = "kill -KILL $(pgrep -x netckpt)";
    let killed = Command::new(on).args([node, "sh", "-c", kill]).status();
    assert!(killed.expect("bash runs").success(), "no agent to kill on {node}");
}

/// What a command on a machine of the lab says.
#[track_caller]
pub fn on_node(node: &str, command: &[&str]) -> String {
    try_on_node(node, command).unwrap_or_else(|error| panic!("{node} {command:?}: {error}"))
}

/// As [`on_node`], or what it says of its failure.
pub fn try_on_node(node: &str, command: &[&str]) -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/on.sh");
    assert!(run_folder().exists());
    let output = Command::new(script).arg(node).args(command).output().expect("the script runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
}
