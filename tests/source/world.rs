//! What the tests share: one API server, one containerd, and an agent for each test, as the agent of
//! a node of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::apiserver::{self, ApiServer};
use crate::containerd::Containerd;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The API server with the definitions in it, and containerd.
pub fn shared() -> (&'static ApiServer, &'static Containerd) {
    static SHARED: OnceLock<(&'static ApiServer, Containerd)> = OnceLock::new();
    let (api, containerd) = SHARED.get_or_init(|| {
        let api = ApiServer::get();
        let crds = netckpt::api::crds().unwrap();
        api.feed(&["apply", "--server-side", "-f", "-"], &crds).succeeds();
        let names = ["crd/netcheckpoints.netckpt.io", "crd/netcheckpointstorages.netckpt.io"];
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", names[0], names[1]];
        api.kubectl(&wait).succeeds();
        let cache = apiserver::bin();
        (api, Containerd::start(cache.parent().unwrap()))
    });
    (api, containerd)
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
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A node with its agent.
pub struct Node {
    /// Also the name of its storage, and the prefix of its objects.
    pub name: &'static str,
    agent: Option<Child>,
    port: u16,
}

impl Node {
    /// With a ready agent. Several agents stop the whole cluster's checkpoints from being nobody's.
    pub fn start(name: &'static str) -> Self {
        let mut node = Self { name, agent: None, port: free_port() };
        // Agents are ready once there is a store that answers.
        std::fs::create_dir_all(node.folder()).unwrap();
        node.file_storage(name);
        node.start_agent();
        node
    }

    pub fn folder(&self) -> PathBuf {
        shared().1.folder().join(self.name)
    }

    pub fn start_agent(&mut self) {
        let (api, containerd) = shared();
        std::fs::create_dir_all(self.folder()).unwrap();
        let mut log = std::fs::File::options();
        let log = log.create(true).append(true).open(self.folder().join("agent.log")).unwrap();
        let agent = containerd
            .command(Path::new(env!("CARGO_BIN_EXE_netckpt")))
            .args(["agent", "--node-name", self.name, "--namespace", "default", "--cri-socket"])
            .arg(containerd.socket())
            .arg("--state-dir")
            .arg(self.folder().join("state"))
            .arg("--socket")
            .arg(self.folder().join("agent.sock"))
            .args(["--listen", &format!("127.0.0.1:{}", self.port), "--registry-port", "0"])
            .env("KUBECONFIG", api.kubeconfig())
            .env("NETCKPT_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("nsenter runs");
        self.agent = Some(agent);
        eventually("the agent is ready", || (self.get("/readyz").0).then_some(()));
    }

    /// Whether the answer was 200, and its body.
    pub fn get(&self, path: &str) -> (bool, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let output = Command::new("curl")
            .args(["--silent", "--fail", "--max-time", "5", &url])
            .output()
            .expect("curl runs");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends the agent as a crash does.
    pub fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            signal(&agent, "KILL");
            agent.wait().unwrap();
        }
    }

    /// Ends the agent as kubelet does; answers whether it went well, and how long it took.
    pub fn stop_agent(&mut self) -> (bool, Duration) {
        let mut agent = self.agent.take().expect("it runs");
        let start = Instant::now();
        signal(&agent, "TERM");
        (agent.wait().unwrap().success(), start.elapsed())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("agent.log")).unwrap_or_default()
    }

    /// A storage of files; answers its folder.
    pub fn file_storage(&self, name: &str) -> PathBuf {
        let folder = self.folder().join(format!("images-{name}"));
        storage(name, &json!({"type": "File", "file": {"path": folder}}));
        folder
    }

    /// A pod of this node that runs.
    pub fn pod(&self, name: &str) -> Pod {
        let uid = self.pod_object(name, "Running", &json!({}));
        let sandbox = wait_for(shared().1.sandbox(name, &uid, false));
        Pod { uid, sandbox }
    }

    /// The object alone; answers its UID.
    pub fn pod_object(&self, name: &str, phase: &str, more: &Value) -> String {
        let api = shared().0;
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": self.name, "containers": [{"name": "c", "image": "none"}]},
        });
        merge(&mut pod["spec"], more);
        api.feed(&["create", "-f", "-"], &pod.to_string()).succeeds();
        let status =
            json!({"status": {"phase": phase, "podIPs": [{"ip": "10.88.0.2"}]}}).to_string();
        let patch = ["patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status];
        api.kubectl(&patch).succeeds();
        api.kubectl(&["get", "pod", name, "-o", "jsonpath={.metadata.uid}"]).succeeds()
    }
}

/// To the agent itself: nsenter, which waits for it, is the process that was started.
fn signal(nsenter: &Child, signal: &str) {
    let parent = nsenter.id().to_string();
    let sent = Command::new("pkill").args(["--signal", signal, "--parent", &parent]).status();
    assert!(sent.expect("pkill runs").success(), "no agent to signal");
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_agent();
        if std::thread::panicking() {
            eprintln!("the agent of {}:\n{}", self.name, self.log());
        }
    }
}

#[derive(Debug, Clone)]
pub struct Pod {
    pub uid: String,
    pub sandbox: String,
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
}

pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

pub fn storage(name: &str, spec: &Value) {
    let object = json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpointStorage",
        "metadata": {"name": name}, "spec": spec,
    });
    shared().0.feed(&["apply", "-f", "-"], &object.to_string()).succeeds();
}

/// An S3 storage at an endpoint of the loopback.
pub fn s3_storage(name: &str, port: u16) {
    let endpoint = format!("http://127.0.0.1:{port}");
    let s3 = json!({
        "bucket": "images", "endpoint": endpoint, "allowHTTP": true,
        "secretRef": {"name": format!("{name}-keys")},
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("{name}-keys"), "namespace": "default"},
        "stringData": {"accessKeyID": "someone", "secretAccessKey": "hush-hush"},
    });
    shared().0.feed(&["apply", "-f", "-"], &secret.to_string()).succeeds();
    storage(name, &json!({"type": "S3", "s3": s3}));
}

/// Asks for a checkpoint.
pub fn checkpoint(name: &str, pod: &str, more: &Value) {
    annotated(name, pod, &json!({}), more);
}

/// Asks for a checkpoint with annotations.
pub fn annotated(name: &str, pod: &str, annotations: &Value, more: &Value) {
    let mut object = json!({
        "apiVersion": "netckpt.io/v1alpha1", "kind": "NetCheckpoint",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"sourcePodName": pod},
    });
    merge(&mut object["spec"], more);
    shared().0.feed(&["create", "-f", "-"], &object.to_string()).succeeds();
}

/// The object, if it is there.
pub fn seen(name: &str) -> Option<Value> {
    let said = shared().0.kubectl(&["get", "nckpt", name, "--ignore-not-found", "-o", "json"]);
    let text = said.succeeds();
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

/// A condition's status, reason and message.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

/// Waits until Ready has this status and reason; answers the object.
#[track_caller]
pub fn ready(name: &str, status: &str, reason: &str) -> Value {
    eventually(&format!("{name} becomes Ready={status} {reason}"), || {
        let object = seen(name)?;
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
pub fn failed(name: &str, reason: &str) -> String {
    condition(&ready(name, "False", reason), "Ready").unwrap().2
}

/// Reasons of the events on an object.
pub fn events(kind: &str, name: &str) -> Vec<String> {
    let selector = format!("regarding.kind={kind},regarding.name={name}");
    let said = shared().0.kubectl(&[
        "get",
        "events.events.k8s.io",
        "--field-selector",
        &selector,
        "-o",
        "jsonpath={range .items[*]}{.reason}{\"\\n\"}{end}",
    ]);
    said.succeeds().lines().map(str::to_owned).collect()
}

/// Image files below a folder.
pub fn images(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(images(&path));
        } else if path.extension().is_some_and(|end| end == "netckpt") {
            found.push(path);
        }
    }
    found
}
