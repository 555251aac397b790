//! The CNI plugin as a runtime runs it: the real binary, its environment, standard input and output.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netckpt::gate::protocol::{Answer, Attachment, Refused};
use netckpt::gate::server::{Attachments, Server};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const PLUGIN: &str = env!("CARGO_BIN_EXE_netckpt-cni");
const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// What one run left: exit status and the JSON on standard output.
#[derive(Debug)]
struct Ran {
    status: i32,
    output: Value,
    took: Duration,
}

/// Runs the plugin as containerd does.
fn run(command: &str, config: &Value) -> Ran {
    run_with(command, &config.to_string(), &[])
}

fn run_with(command: &str, input: &str, change: &[(&str, &str)]) -> Ran {
    let started = Instant::now();
    let mut plugin = Command::new(PLUGIN);
    plugin
        .env_clear()
        .env("CNI_COMMAND", command)
        .env("CNI_CONTAINERID", "c0ffee")
        .env("CNI_NETNS", "/run/netns/cni-none")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .env(
            "CNI_ARGS",
            "K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_UID=6f1b-1;K8S_POD_NAMESPACE=shop",
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in change {
        if value.is_empty() {
            plugin.env_remove(name);
        } else {
            plugin.env(name, value);
        }
    }
    let mut child = plugin.spawn().unwrap();
    // A plugin that has judged by its environment alone may have closed its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let took = started.elapsed();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = output.stdout;
    let output_json =
        if text.is_empty() { Value::Null } else { serde_json::from_slice(&text).unwrap() };
    Ran { status: output.status.code().unwrap(), output: output_json, took }
}

fn previous(version: &str) -> Value {
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "cni0", "mac": "aa:aa:aa:aa:aa:aa"},
            {"name": "veth1", "mac": "bb:bb:bb:bb:bb:bb"},
            {"name": "eth0", "mac": "cc:cc:cc:cc:cc:cc", "sandbox": "/run/netns/cni-none"},
        ],
        "ips": [{"address": "10.244.2.5/24", "gateway": "10.244.2.1", "interface": 2}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    })
}

/// A configuration as the runtime makes it of our entry, the previous result and the annotations.
fn config(version: &str, annotations: Option<Value>, socket: &Path) -> Value {
    let mut config = json!({
        "cniVersion": version, "name": "lab", "type": "netckpt-cni",
        "socket": socket, "timeoutSeconds": 2,
        "prevResult": previous(version),
    });
    if let Some(annotations) = annotations {
        config["runtimeConfig"] = json!({ANNOTATIONS: annotations});
    }
    config
}

fn wanted() -> Option<Value> {
    Some(json!({"netckpt.io/restore-from": "web"}))
}

fn nowhere() -> PathBuf {
    PathBuf::from("/run/netckpt-test-nobody-listens-here.sock")
}

#[test]
fn pods_without_the_annotation_pass_without_an_agent() {
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        for annotations in [json!({}), Value::Null, json!({"other": "x"})] {
            let ran = run("ADD", &config(version, Some(annotations), &nowhere()));
            assert_eq!((ran.status, &ran.output), (0, &previous(version)));
        }
        let ran = run("CHECK", &config(version, Some(json!({})), &nowhere()));
        assert_eq!((ran.status, &ran.output), (0, &Value::Null));
    }
    // A runtime outside Kubernetes knows of no pod, and so of no annotation.
    let text = config("1.0.0", None, &nowhere()).to_string();
    let ran = run_with("ADD", &text, &[("CNI_ARGS", "")]);
    assert_eq!((ran.status, &ran.output), (0, &previous("1.0.0")));
}

#[test]
fn passing_is_quick() {
    let config = config("1.1.0", Some(json!({"a": "b"})), &nowhere());
    let mut took: Vec<_> = (0..200).map(|_| run("ADD", &config).took).collect();
    took.sort();
    println!("ADD without the annotation: median {:?}, worst {:?}", took[100], took[199]);
    // With the start of the process; far above what is measured, so that a busy machine passes.
    assert!(took[100] < Duration::from_millis(50), "{:?}", took[100]);
}

#[test]
fn versions_are_told_without_anything_else() {
    let text = r#"{"cniVersion":"1.1.0"}"#;
    let unset = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];
    let ran = run_with("VERSION", text, &unset.map(|name| (name, "")));
    assert_eq!(ran.status, 0);
    let versions = ran.output["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("1.0.0")) && versions.contains(&json!("1.1.0")));
    let ran = run_with("STATUS", text, &unset.map(|name| (name, "")));
    assert_eq!((ran.status, ran.output), (0, Value::Null));
}

#[test]
fn taking_down_never_fails() {
    for annotations in [wanted(), None, Some(json!({}))] {
        let config = config("1.0.0", annotations, &nowhere());
        for netns in ["/run/netns/cni-none", ""] {
            let ran = run_with("DEL", &config.to_string(), &[("CNI_NETNS", netns)]);
            assert_eq!((ran.status, ran.output), (0, Value::Null));
        }
    }
    let gc = json!({"cniVersion": "1.1.0", "name": "lab", "type": "netckpt-cni", "socket": nowhere(),
        "cni.dev/valid-attachments": [{"containerID": "a", "ifname": "eth0"}]});
    assert_eq!(run("GC", &gc).status, 0);
}

#[track_caller]
fn fails(ran: &Ran, code: u64, says: &[&str]) {
    assert_eq!((ran.status, ran.output["code"].as_u64()), (1, Some(code)), "{}", ran.output);
    assert!(ran.output["cniVersion"].is_string(), "{}", ran.output);
    let text = ran.output.to_string();
    for word in says {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let known = config("1.0.0", wanted(), &nowhere());
    fails(&run("ADD", &known), 11, &["shop/web", "does not listen", "netckpt agent"]);
    let unknown = config("1.0.0", None, &nowhere());
    fails(&run("ADD", &unknown), 11, &["shop/web", "cni-install"]);
    fails(&run_with("ADD", "{", &[]), 6, &["standard input"]);
    fails(&run_with("ADD", &known.to_string(), &[("CNI_NETNS", "")]), 4, &["CNI_NETNS"]);
    fails(&run_with("NONSENSE", &known.to_string(), &[]), 4, &["NONSENSE"]);
    let mut future = known.clone();
    future["cniVersion"] = json!("9.0.0");
    fails(&run("ADD", &future), 1, &["9.0.0", "1.1.0"]);
    let mut first = known;
    first.as_object_mut().unwrap().remove("prevResult");
    fails(&run("ADD", &first), 7, &["prevResult", "last"]);
}

/// An agent that answers every ADD alike; what a test of the wire needs of it.
struct Fixed {
    answer: Answer,
    delay: Duration,
    seen: std::sync::Mutex<Vec<String>>,
}

impl Attachments for Fixed {
    async fn add(&self, attachment: Attachment, _end: tokio::time::Instant) -> Answer {
        self.seen.lock().unwrap().push(format!("{attachment:?}"));
        tokio::time::sleep(self.delay).await;
        self.answer.clone()
    }
    async fn check(&self, _: Attachment, _: tokio::time::Instant) -> Answer {
        self.answer.clone()
    }
    async fn del(&self, attachment: Attachment) {
        self.seen.lock().unwrap().push(format!("del {}", attachment.container_id));
    }
    async fn gc(&self) {
        self.seen.lock().unwrap().push("gc".into());
    }
}

/// Serves on a socket in `folder` while `work` runs; answers what the agent saw.
fn serving(answer: Answer, delay: Duration, work: impl FnOnce(&Path)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agent = Arc::new(Fixed { answer, delay, seen: Default::default() });
    let (stop, stopped) = oneshot::channel::<()>();
    let server = runtime.block_on(async { Server::bind(&socket).unwrap() });
    let served = runtime.spawn(server.serve(
        agent.clone(),
        async { drop(stopped.await) },
        Duration::from_secs(5),
    ));
    work(&socket);
    drop(stop);
    runtime.block_on(served).unwrap();
    // The file stays, lest an agent that ends takes away the socket of the one that follows it.
    let away = std::os::unix::net::UnixStream::connect(&socket).unwrap_err();
    assert_eq!(away.kind(), std::io::ErrorKind::ConnectionRefused, "nobody listens any more");
    agent.seen.lock().unwrap().clone()
}

#[test]
fn the_agents_word_is_passed_on() {
    let refused = Answer::Refused(Refused {
        transient: false,
        message: "the NetCheckpoint shop/web is not ready".into(),
        details: "CheckpointInProgress".into(),
    });
    let seen = serving(refused, Duration::ZERO, |socket| {
        let ran = run("ADD", &config("1.0.0", wanted(), socket));
        fails(&ran, 100, &["is not ready", "CheckpointInProgress"]);
        fails(&run("CHECK", &config("1.0.0", wanted(), socket)), 100, &[]);
        // Unknown annotations: the agent is asked, and knows.
        fails(&run("ADD", &config("1.0.0", None, socket)), 100, &[]);
        assert_eq!(run("ADD", &config("1.0.0", Some(json!({})), socket)).status, 0);
        assert_eq!(run("DEL", &config("1.0.0", wanted(), socket)).status, 0);
        assert_eq!(run("DEL", &config("1.0.0", Some(json!({})), socket)).status, 0);
    });
    // Of the end of every pod it is told: the addresses of one that was captured stay reserved.
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[0].contains("web") && seen[0].contains("6f1b-1") && seen[0].contains("cni-none"));
    assert_eq!(seen[2], "del c0ffee");

    serving(Answer::Untouched, Duration::ZERO, |socket| {
        let ran = run("ADD", &config("1.1.0", None, socket));
        assert_eq!((ran.status, ran.output), (0, previous("1.1.0")));
        assert_eq!(run("CHECK", &config("1.1.0", wanted(), socket)).status, 0);
        // The annotation is there, whatever the agent sees: no other network in its place.
        fails(&run("ADD", &config("1.1.0", wanted(), socket)), 11, &["shop/web", "restore-from"]);
    });
}

#[test]
fn a_slow_agent_ends_in_the_agents_own_words() {
    serving(Answer::Untouched, Duration::from_secs(30), |socket| {
        let ran = run("ADD", &config("1.0.0", wanted(), socket));
        fails(&ran, 11, &["did not finish within the 2 s"]);
        assert!(ran.took < Duration::from_secs(3), "{:?}", ran.took);
    });
}

#[test]
fn taking_down_does_not_wait_for_restores() {
    let seen = serving(Answer::Untouched, Duration::from_secs(30), |socket| {
        std::thread::scope(|scope| {
            // As many as are worked on at once.
            for _ in 0..16 {
                scope.spawn(|| run("ADD", &config("1.0.0", wanted(), socket)));
            }
            std::thread::sleep(Duration::from_millis(700));
            let ran = run("DEL", &config("1.0.0", wanted(), socket));
            assert!(ran.took < Duration::from_secs(1), "{:?}", ran.took);
        });
    });
    assert_eq!(seen.len(), 17);
    assert_eq!(seen.last().map(String::as_str), Some("del c0ffee"));
}

#[test]
fn an_agent_that_hangs_or_talks_nonsense_does_not_hold_a_pod_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let ran = run("ADD", &config("1.0.0", wanted(), &socket));
    fails(&ran, 11, &["gave no answer within 2 s"]);
    assert!(ran.took < Duration::from_secs(4), "{:?}", ran.took);
    for answer in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02{}", b"\0\0\0\x09{\"a\":", b""] {
        let listener = listener.try_clone().unwrap();
        let talk = std::thread::spawn(move || {
            // The first connection is the one that was given up.
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(answer);
            std::io::copy(&mut &stream, &mut std::io::sink()).ok();
        });
        let ran = run("ADD", &config("1.0.0", wanted(), &socket));
        assert_eq!((ran.status, ran.output["code"].as_u64()), (1, Some(11)), "{}", ran.output);
        talk.join().unwrap();
    }
}

#[test]
fn the_socket_is_roots_and_bounded() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    let seen = serving(Answer::Untouched, Duration::ZERO, |socket| {
        assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);
        // A length that is not to be believed, a question that is none, and a connection that says
        // nothing: each is closed, and the next is served.
        let idle = UnixStream::connect(socket).unwrap();
        for (question, answered) in
            [(&b"\xff\xff\xff\xff"[..], false), (b"\0\0\0\x02[]", true), (b"\0", false)]
        {
            let mut stream = UnixStream::connect(socket).unwrap();
            stream.write_all(question).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(!answer.is_empty(), answered, "{question:?}");
        }
        assert_eq!(run("ADD", &config("1.0.0", None, socket)).status, 0);
        drop(idle);
    });
    assert_eq!(seen.len(), 1, "{seen:?}");
}

#[test]
fn another_user_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    // Everyone may come as far as the socket; the peer's credentials still say no.
    let seen = serving(Answer::Untouched, Duration::ZERO, |socket| {
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(socket.parent().unwrap(), open.clone()).unwrap();
        std::fs::set_permissions(folder.path(), open).unwrap();
        let plugin = folder.path().join("plugin");
        std::fs::copy(PLUGIN, &plugin).unwrap();
        let mut child = Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&plugin)
            .env_clear()
            .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "a"), ("CNI_NETNS", "/run/netns/a")])
            .envs([
                ("CNI_IFNAME", "eth0"),
                ("CNI_ARGS", "K8S_POD_NAME=web"),
                ("PATH", "/usr/bin:/bin"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = config("1.0.0", wanted(), socket).to_string();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("\"code\":11"), "{text}");
    });
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn a_later_agent_takes_the_socket_over() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agent = || {
        let answer = Answer::Untouched;
        Arc::new(Fixed { answer, delay: Duration::ZERO, seen: Default::default() })
    };
    let start = |agent: Arc<Fixed>| {
        let server = runtime.block_on(async { Server::bind(&socket).unwrap() });
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        (stop, runtime.spawn(server.serve(agent, stopped, Duration::from_secs(1))))
    };
    // What a killed agent left.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (old, new) = (agent(), agent());
    let (stop_old, old_served) = start(old.clone());
    let (stop_new, new_served) = start(new.clone());
    // The old one's end does not take the new one's socket away.
    drop(stop_old);
    runtime.block_on(old_served).unwrap();
    assert_eq!(run("ADD", &config("1.0.0", None, &socket)).status, 0);
    assert_eq!((old.seen.lock().unwrap().len(), new.seen.lock().unwrap().len()), (0, 1));
    drop(stop_new);
    runtime.block_on(new_served).unwrap();
}
